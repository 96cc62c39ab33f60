"""A finished audit opened again: its classifier and its detectors, fitted as they were.

For what is asked after the audit: explain an image, judge a new one, look for near ones.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor

from gsc_core.audit.inputs import device_of, network_of
from gsc_core.audit.spec import AuditSpec
from gsc_core.classifier.load import Classifier, load_classifier
from gsc_core.classifier.network import Network
from gsc_core.detectors.auto import AutoGSC
from gsc_core.detectors.base import Detector, Need, Representation
from gsc_core.detectors.catalogue import find
from gsc_core.detectors.ensemble import Ensemble, with_parts
from gsc_core.detectors.gsc import GSC
from gsc_core.detectors.layers import Layers
from gsc_core.errors import SpecError
from gsc_core.explanation import DepthReading, Explanation
from gsc_core.explanation.channels import ChannelNormals
from gsc_core.explanation.depths import depths
from gsc_core.explanation.one_image import explain
from gsc_core.images.decode import decode, decode_bytes
from gsc_core.images.sources.address import BytesAt
from gsc_core.log import LOGGER, logged_to
from gsc_core.progress import Progress
from gsc_core.run.detector_names import name_in
from gsc_core.run.document import RunDocument
from gsc_core.run.layout import (
    CALIBRATION_FILE,
    CHANNELS_FILE,
    LOG_FILE,
    METRICS_FILE,
    SCORES_FILE,
    SPEC_FILE,
)
from gsc_core.scoring.calibration import fit_again
from gsc_core.scoring.calibration_file import StoredCalibration, load
from gsc_core.scoring.faults import checked, in_words, is_fault
from gsc_core.scoring.onepass import represent
from gsc_core.scoring.scorer import Scorer

_TO_EXPLAIN = GSC.needs | Need.FEATURES


@dataclass(frozen=True)
class Seen:
    """One image after its pass: uint8 `pixels [3,h,w]` as the model saw it, a batch of one."""

    pixels: Tensor
    batch: Representation


@dataclass(frozen=True)
class Neighbour:
    """A calibration image with its cosine similarity, −1 to 1.

    `row` counts calibration images in the order of `kept.files`, which is also its row in
    `scores.parquet`.
    """

    row: int
    name: str
    similarity: float


ImageSource = BytesAt | bytes | Seen
"""An image's file or address, its bytes, or one that was looked at, which costs no further pass."""


@dataclass(frozen=True)
class Reopened:
    """A finished audit, ready to look at images; see `reopen`.

    `scorer` holds the fitted detectors, `stored` what they were fitted on, `normals` the usual
    range of each channel where the audit looked at channels.
    """

    folder: Path
    spec: AuditSpec
    classifier: Classifier
    scorer: Scorer
    stored: StoredCalibration
    normals: ChannelNormals | None

    @property
    def network(self) -> Network:
        """The classifier, cut where the audit cut it, on the device of the audit."""
        return self.scorer.network

    @property
    def detectors(self) -> dict[str, Detector]:
        """The fitted detectors by name."""
        return {detector.name: detector for detector in self.scorer.detectors}

    def look(self, source: BytesAt | bytes, name: str = "The image") -> Seen:
        """Send one image through the network; `name` is what bytes are called in an error.

        Raises ImageError when it is not an image that can be read.
        """
        image = decode_bytes(source, name) if isinstance(source, bytes) else decode(source)
        preprocessing = self.classifier.preprocessing
        pixels = preprocessing.resize_crop(image)
        images = preprocessing.normalise(pixels[None].to(self.network.device))
        needs = self.scorer.needs | _TO_EXPLAIN
        return Seen(pixels, represent(self.network, images, needs))

    def score(self, source: ImageSource) -> dict[str, float]:
        """Outlier scores by detector, as `scores.parquet` has them of test images.

        A detector that fails on this image, or gives no number for it, is left out.
        """
        batch = self._seen(source).batch
        scores = {name: self._score(detector, batch) for name, detector in self.detectors.items()}
        return {name: score for name, score in scores.items() if math.isfinite(score)}

    def _score(self, detector: Detector, batch: Representation) -> float:
        """A detector's score of one image; NaN where it fails, which the log describes."""
        try:
            return float(checked(detector.score(batch), 1))
        except Exception as error:
            if not is_fault(error):
                raise
            with _logged(self.folder):
                LOGGER.exception("%s gives no score", detector.name)
            return math.nan

    def gsc(self, name: str = GSC.name, k: float | None = None) -> GSC:
        """The audit's GSC detector of that name, with another share `k` where one is given.

        Of `gsc-auto` it is the one that was chosen. Where the audit had none of that name, or the
        chosen cuts elsewhere, it is the usual one, with the published direction.
        Raises SpecError when `name` is not such a detector, or no layer of the network can be cut.
        """
        if self.network.split is None:
            raise SpecError(
                "This network cannot be cut at any layer, so GSC has nothing to explain."
            )
        detector = self.detectors.get(name_in(self.detectors, name))
        if isinstance(detector, AutoGSC):
            at_split = detector.short_circuit_.layer == "split"
            detector = detector.cut_ if at_split else None
        kind = find(name)
        if detector is None and kind.explains:
            # its direction, all that the audit could have taught it, changes no explanation
            kind = kind if issubclass(kind, GSC) else GSC
            detector = kind.configured({"direction": "published"}).fit(self.stored.calibration)
        if not isinstance(detector, GSC) or not detector.explains:
            raise SpecError(
                f"{name} short-circuits nothing that can be shown: choose another GSC detector."
            )
        if k is not None:
            detector = copy.copy(detector)  # with what it has learned
            detector.share = next(knob for knob in detector.knobs() if knob.name == "share").parse(
                k
            )
        return detector

    def explain(
        self, source: ImageSource, detector: str = GSC.name, k: float | None = None
    ) -> Explanation:
        """What the short-circuit does to an image; raises as `look` and `gsc` do."""
        gsc = self.gsc(detector, k)
        batch = self._seen(source).batch
        try:
            return explain(batch, gsc, self.normals, self.classifier.class_names)
        except Exception as error:
            if not is_fault(error):
                raise
            with _logged(self.folder):
                LOGGER.exception("%s explains nothing", detector)
            raise SpecError(f"{detector} {in_words(error)}.") from error

    def depths(
        self, source: ImageSource, calibration_row: int | None = None
    ) -> tuple[DepthReading, ...]:
        """How unusual an image is at each depth, the earliest first; empty without `layers`.

        A calibration image is named by its row, and measured without itself.
        """
        layers = self.detectors.get(Layers.name)
        if not isinstance(layers, Layers):
            return ()
        return depths(self._seen(source).batch, self.network, layers, calibration_row)

    def nearest(self, source: ImageSource, n: int = 8) -> tuple[Neighbour, ...]:
        """The calibration images most alike, by the cosine of the features, else of the logits.

        The logits stand in where the network has no last linear layer, or no detector of the audit
        read its input.
        """
        batch, calibration = self._seen(source).batch, self.stored.calibration
        query, bank = batch.features, calibration.features
        if query is None or bank is None:
            query, bank = batch.logits, calibration.logits
        similarity = torch.cosine_similarity(bank, query, dim=1)
        best = similarity.topk(min(n, len(similarity)))
        return tuple(
            Neighbour(row, self.stored.files[row].name, value)
            for row, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        )

    def _seen(self, source: ImageSource) -> Seen:
        return source if isinstance(source, Seen) else self.look(source)


def reopen(
    folder: Path,
    on_progress: Callable[[Progress], None] = lambda _: None,
    device: str | None = None,
) -> Reopened:
    """Open the finished audit in a run folder, on its own `device` or another.

    Detectors that were excused stay out, and those that fail now are. `on_progress` may raise to
    stop. Raises SpecError when the folder holds no finished audit, or one made before calibrations
    were kept, and when the model's file has changed since; CheckpointError when it cannot be loaded
    any more.

    >>> from gsc_core import reopen
    >>> audit = reopen(Path("result"))
    >>> image = next(Path("signs/id").rglob("*.jpg"))
    >>> sorted(audit.score(image))
    ['energy', 'gsc']
    """
    on_progress(Progress("opening the model", 0, 1))
    spec, document = _stored(folder)
    classifier = load_classifier(spec.model)
    if classifier.sha256 != document.provenance.model_sha256:
        raise SpecError(
            f"The model file {classifier.source} has changed since this audit: put the audited one "
            "back, or run the audit again."
        )
    if classifier.class_names is None:  # those that the audit saw in its labels
        classifier = replace(classifier, class_names=document.settings.class_names)
    split = spec.split or document.settings.split  # the default is not that of every version
    network = network_of(spec, classifier, split, device_of(device or spec.device))
    on_progress(Progress("fitting the detectors", 0, 1))
    stored = load(folder / CALIBRATION_FILE, network)
    scorer = Scorer(network, classifier.preprocessing, _as_set(spec, document))
    with _logged(folder):
        fit_again(scorer, stored.calibration, _calibration_scores(folder, scorer.ensembles))
    return Reopened(folder, spec, classifier, scorer, stored, _normals(folder))


@contextmanager
def _logged(folder: Path) -> Iterator[None]:
    """What goes wrong after the audit is told in its log."""
    with logged_to(folder / LOG_FILE) as log:
        log.begin()
        yield


def _stored(folder: Path) -> tuple[AuditSpec, RunDocument]:
    """The specification of the audit and what it found."""
    if not (folder / METRICS_FILE).is_file() or not (folder / SPEC_FILE).is_file():
        raise SpecError(f"{folder.name} holds no finished audit: run it first.")
    return AuditSpec.of_run(folder), RunDocument.read(folder)


def _as_set(spec: AuditSpec, document: RunDocument) -> list[Detector]:
    """The detectors that ran in the audit, with the settings they had and those they chose.

    A knob that the run does not name did not exist then: it means what was done at the time.
    """
    asked = {detector.name: detector.settings for detector in spec.detectors}
    recorded = {record.name: record.settings or {} for record in document.detectors}

    def as_set(detector: Detector) -> Detector:
        settings = type(detector).former_settings()
        for by_name in (asked, recorded, document.chosen):
            settings.update(by_name.get(detector.name, {}))
        return type(detector).configured(settings)

    built = {one.name: one for one in (detector.build() for detector in spec.detectors)}
    measured = dict.fromkeys(result.detector for result in document.results)
    # the parts of ensembles are measured as well, those that an earlier version had too
    return with_parts([as_set(built.get(name) or find(name)()) for name in measured])


def _calibration_scores(folder: Path, ensembles: Sequence[Ensemble]) -> dict[str, Tensor]:
    """What the parts of ensembles gave to calibration images in the audit, `[N]` by detector."""
    names = sorted({part.name for ensemble in ensembles for part in ensemble.required()})
    if not names:
        return {}
    try:
        with (folder / SCORES_FILE).open("rb") as file:
            table = pq.ParquetFile(file).read(columns=["role", *names])
    except (OSError, pa.ArrowException) as error:
        raise SpecError(f"{SCORES_FILE} of this run is damaged: run the audit again.") from error
    rows = table.filter(pc.equal(table["role"], "calibration"))
    return {name: torch.tensor(rows[name].to_numpy()) for name in names}


def _normals(folder: Path) -> ChannelNormals | None:
    path = folder / CHANNELS_FILE
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            return ChannelNormals.of_table(pq.ParquetFile(file).read())
    except (OSError, KeyError, pa.ArrowException) as error:
        raise SpecError(f"{CHANNELS_FILE} of this run is damaged: run the audit again.") from error
