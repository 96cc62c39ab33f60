"""The demo audit: rendered road signs, the committed network, every detector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec
from gsc_core.demo import DEMO_WEIGHTS, OOD_SETS, render_demo
from gsc_core.detectors.catalogue import CATALOGUE
from gsc_core.progress import Progress
from gsc_core.run.stored import Run


def run_demo(into: Path, out: Path, on_progress: Callable[[Progress], None]) -> Run:
    """Render the images into a folder, where they are kept, and audit the committed network."""

    def drawing(done: int, total: int) -> None:
        on_progress(Progress("drawing road signs", done, total))

    return run_audit(demo_spec(render_demo(into, progress=drawing)), out, on_progress)


def demo_spec(folders: Mapping[str, Path]) -> AuditSpec:
    """The demo's audit of the folders that `render_demo` made."""
    return AuditSpec(
        model=ModelSpec(checkpoint=DEMO_WEIGHTS),
        id=folders["id"],
        calibration=folders["calibration"],
        ood={name: folders[name] for name in OOD_SETS},
        detectors=tuple(DetectorSpec(name=detector.name) for detector in CATALOGUE),
    )
