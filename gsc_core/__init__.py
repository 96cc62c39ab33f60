"""GSC Audit: what an image classifier does with images it was never meant to see.

What others build on has its name here, and is imported when it is first used. An audit of the demo
that the package carries, in the folder where one is:

>>> from pathlib import Path
>>> from gsc_core import AuditSpec, DetectorSpec, ModelSpec, run_audit
>>> from gsc_core.demo import DEMO_WEIGHTS, Sizes, render_demo
>>> signs = render_demo(Path("signs"), sizes=Sizes(calibration=64, id=32, ood=16))
>>> spec = AuditSpec(
...     model=ModelSpec(checkpoint=DEMO_WEIGHTS),
...     id=signs["id"],
...     calibration=signs["calibration"],
...     ood={"textures": signs["textures"], "noise": signs["noise"]},
...     detectors=(DetectorSpec(name="gsc"), DetectorSpec(name="energy")),
...     repeats=20,
... )
>>> result = run_audit(spec, Path("result"))
>>> Path("result/metrics.json").is_file()
True

The examples of the other names go on from this folder.
"""

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from gsc_core.audit.reopen import reopen
    from gsc_core.audit.run import run_audit
    from gsc_core.audit.spec import AuditSpec, DetectorSpec
    from gsc_core.classifier import ModelSpec, Preprocessing
    from gsc_core.classifier.load import load_classifier
    from gsc_core.deploy.export import export_detector
    from gsc_core.deploy.loading import load_detector
    from gsc_core.detectors.base import Detector
    from gsc_core.detectors.catalogue import CATALOGUE
    from gsc_core.errors import GscError
    from gsc_core.run.stored import Run
    from gsc_core.scoring.drop_in import PytorchOodDetector

__all__ = (
    "CATALOGUE",
    "AuditSpec",
    "Detector",
    "DetectorSpec",
    "GscError",
    "ModelSpec",
    "Preprocessing",
    "PytorchOodDetector",
    "Run",
    "export_detector",
    "load_classifier",
    "load_detector",
    "reopen",
    "run_audit",
)

_MODULES = MappingProxyType(
    {
        "CATALOGUE": "gsc_core.detectors.catalogue",
        "AuditSpec": "gsc_core.audit.spec",
        "Detector": "gsc_core.detectors.base",
        "DetectorSpec": "gsc_core.audit.spec",
        "GscError": "gsc_core.errors",
        "ModelSpec": "gsc_core.classifier",
        "Preprocessing": "gsc_core.classifier",
        "PytorchOodDetector": "gsc_core.scoring.drop_in",
        "Run": "gsc_core.run.stored",
        "export_detector": "gsc_core.deploy.export",
        "load_classifier": "gsc_core.classifier.load",
        "load_detector": "gsc_core.deploy.loading",
        "reopen": "gsc_core.audit.reopen",
        "run_audit": "gsc_core.audit.run",
    }
)

if not TYPE_CHECKING:  # a type checker would believe any name of a module with `__getattr__`

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module 'gsc_core' has no attribute {name!r}")
        return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
