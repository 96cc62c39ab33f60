"""What scores an audit's test images, and what another process needs to score as this one does."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from gsc_core import __version__
from gsc_core.audit.inputs import device_of, network_of
from gsc_core.audit.spec import AuditSpec
from gsc_core.classifier.load import load_classifier
from gsc_core.classifier.spec import ModelSpec
from gsc_core.detectors.base import Detector, Need
from gsc_core.errors import SpecError
from gsc_core.run.layout import CALIBRATION_FILE
from gsc_core.scoring.batch import Engine
from gsc_core.scoring.calibration import Calibrated, fit_again
from gsc_core.scoring.calibration_file import load
from gsc_core.scoring.local import score_sets
from gsc_core.scoring.scorer import Scorer


@dataclass(frozen=True)
class Recipe:
    """All that makes the fitted scorer of an audit in another process, on another machine.

    The checkpoint and the calibration travel as bytes. A model that is a folder, and images that
    are files, lie at the same path on each machine.

    Attributes:
        detectors: not fitted, with settings that leave nothing to choose, in the audit's order.
        scores: what the parts of ensembles gave to the calibration images, `[N]` by name.
        also: what of the one pass is wanted beside what the detectors read.
    """

    spec: AuditSpec
    split: str | None
    detectors: tuple[Detector, ...]
    checkpoint: bytes | None
    calibration: bytes
    scores: Mapping[str, Tensor]
    also: Need
    version: str = __version__

    @classmethod
    def of(cls, spec: AuditSpec, scorer: Scorer, calibrated: Calibrated, out: Path) -> Recipe:
        """As the audit that writes into `out` has just calibrated it."""
        split, checkpoint = scorer.network.split, spec.model.checkpoint
        is_file = checkpoint is not None and checkpoint.is_file()
        return cls(
            spec,
            None if split is None else split.name,
            tuple(type(d).configured(d.frozen()) for d in scorer.detectors),
            checkpoint.read_bytes() if is_file and checkpoint is not None else None,
            (out / CALIBRATION_FILE).read_bytes(),
            calibrated.scores.outlier,
            scorer.also,
        )

    def __call__(self) -> Scorer:
        """The scorer. Raises GscError as loading a model and a calibration does."""
        if self.version != __version__:
            raise SpecError(
                f"The cluster has GSC Audit {__version__}, and this machine {self.version}: "
                "install the same version on both."
            )
        with tempfile.TemporaryDirectory() as folder:
            classifier = load_classifier(self._model(Path(folder)))
            network = network_of(self.spec, classifier, self.split, device_of(self.spec.device))
            file = Path(folder, CALIBRATION_FILE)
            file.write_bytes(self.calibration)
            calibration = load(file, network).calibration
        scorer = Scorer(network, classifier.preprocessing, self.detectors, also=self.also)
        fit_again(scorer, calibration, self.scores)
        return scorer

    def _model(self, folder: Path) -> ModelSpec:
        """The model, from the bytes that travelled; how its classes are called is not needed."""
        named = self.spec.model.model_copy(update={"class_names": None})
        if self.checkpoint is None or named.checkpoint is None:
            return named
        copy = folder / named.checkpoint.name
        copy.write_bytes(self.checkpoint)
        return named.model_copy(update={"checkpoint": copy})


@contextmanager
def engine_of(spec: AuditSpec, recipe: Callable[[], Recipe]) -> Iterator[Engine]:
    """The engine that a specification names; `recipe` is asked for when detectors are fitted.

    Raises MissingExtra or SpecError where it cannot be had, before any work is done.
    """
    if spec.engine == "local":
        yield score_sets
        return
    from gsc_core.scoring.ray import RayEngine  # noqa: PLC0415 - comes with an extra

    on_cpu = spec.device not in ("auto", "cuda") and not spec.device.startswith("cuda:")
    with RayEngine(recipe, spec.ray_address, spec.workers, False if on_cpu else None) as engine:
        yield engine
