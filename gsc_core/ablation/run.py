"""Run an ablation: every image is decoded once and passes the network once for each layer."""

from __future__ import annotations

import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from gsc_core.ablation.consistency import GREY_LEVELS, around_feature, around_image, compare
from gsc_core.ablation.cut import Memory, detector_of
from gsc_core.ablation.grid import Layer, layers_of, trials
from gsc_core.ablation.measure import Measured, rank_correlation, rows_of
from gsc_core.ablation.settings import IMAGES_PER_SET
from gsc_core.ablation.table import Ablation, Facts, ImagesUsed, LayerFacts, write_ablation
from gsc_core.audit.inputs import (
    batch_size,
    decoders_of,
    device_of,
    in_use,
    labels_of,
    network_of,
    read_sets,
    unpacking,
)
from gsc_core.audit.measure import versions
from gsc_core.audit.spec import AuditSpec
from gsc_core.classifier.load import Classifier, load_classifier
from gsc_core.classifier.network import Network
from gsc_core.classifier.split import splits
from gsc_core.detectors.gsc import GSC
from gsc_core.errors import ImageError, SpecError
from gsc_core.files import sole_writer_in
from gsc_core.images import ImageFile, ImageSet, Partition
from gsc_core.log import RunLog, logged_to
from gsc_core.progress import Progress
from gsc_core.run.layout import LOG_FILE
from gsc_core.scoring.calibration import Calibrated, calibrate
from gsc_core.scoring.loading import Pace, read_batches
from gsc_core.scoring.scorer import Scorer, Scores

CONSISTENCY_IMAGES = 96


def ablate(
    spec: AuditSpec,
    out: Path,
    on_progress: Callable[[Progress], None] = lambda _: None,
    *,
    images_per_set: int = IMAGES_PER_SET,
    layers: Sequence[str] | None = None,
) -> Ablation:
    """Measure what each part of GSC brings on the model and images of `spec`, into `out`.

    Of a set with more than `images_per_set` images a random part is taken, the same for a seed.
    Directions and truncation levels are learned on calibration images, as in an audit. `layers`
    are named from shallow to deep; else the audit's own and one two blocks before it.
    `on_progress` is called after every batch and may raise Cancelled; nothing is left then.

    What went wrong is added to `log.txt`. Raises GscError for whatever the user can fix.
    """
    with sole_writer_in(out, in_use(out)), logged_to(out / LOG_FILE, at_fault=True) as log:
        return _ablated(spec, out, on_progress, images_per_set, layers, log)


def _ablated(
    spec: AuditSpec,
    out: Path,
    on_progress: Callable[[Progress], None],
    images_per_set: int,
    layers: Sequence[str] | None,
    log: RunLog,
) -> Ablation:
    started = time.perf_counter()

    @log.phases
    def step(phase: str, done: int, total: int) -> None:
        on_progress(Progress(phase, done, total))

    step("opening the model", 0, 1)
    classifier = load_classifier(spec.model)
    device = device_of(spec.device)
    runs = [
        _LayerRun(layer, network_of(spec, classifier, layer.name, device), classifier)
        for layer in layers_of(splits(classifier.program), spec.split, layers)
    ]
    if not runs:
        raise SpecError(
            "This network cannot be cut at any layer, so there are no settings of GSC to compare."
        )
    step("reading the images", 0, 1)
    with unpacking(out / "ablation-unpacked") as unpacked:
        sets = read_sets(spec, unpacked)
        labels = labels_of(spec, sets, classifier).indices
        used = {name: _some(s, images_per_set, spec.seed) for name, s in sets.every().items()}
        if len(sets.calibration) <= images_per_set:  # in the audit's order: it learns the same
            used["calibration"] = list(sets.calibration.images)
        of_images = [labels[image.sha256] for image in used["calibration"]]
        with decoders_of(spec, device, sum(map(len, used.values()))) as decoders:
            pace = Pace(batch_size(spec, device), spec.threads, step, decoders)
            for run in runs:
                run.calibrate(used["calibration"], of_images, spec.seed, pace)
            _pass_over(used, runs, labels, spec.seed, pace)
    shutil.rmtree(out / "ablation-unpacked", ignore_errors=True)

    step("measuring", 0, 1)
    rows = rows_of([run.measured() for run in runs], step)
    facts = _facts(spec, classifier, runs, sets, used, started, rows)
    ablation = Ablation(pd.DataFrame(rows), facts)
    write_ablation(ablation, out)
    return ablation


@dataclass
class _LayerRun:
    """A layer's detectors, and the scores they gave so far: by set, a batch after another."""

    layer: Layer
    network: Network
    classifier: Classifier
    calibrated: Calibrated | None = None
    scores: dict[str, list[Scores]] = field(default_factory=lambda: defaultdict(list))
    labels: list[int] = field(default_factory=list)
    memory: Memory = field(default_factory=Memory)
    steady: dict[str, dict[str, list[Tensor]]] = field(
        default_factory=lambda: {"feature": defaultdict(list), "picture": defaultdict(list)}
    )

    def __post_init__(self) -> None:
        self.trials = trials(self.layer)
        once = {trial.detector: trial for trial in self.trials}
        detectors = [detector_of(trial, self.memory) for trial in once.values()]
        self.scorer = Scorer(self.network, self.classifier.preprocessing, detectors)

    def calibrate(
        self, images: Sequence[ImageFile], labels: Sequence[int], seed: int, pace: Pace
    ) -> None:
        """Learn directions and truncation levels."""

        def step(phase: str, done: int, total: int) -> None:
            pace.step(f"{phase} at {self.layer.name}", done, total)

        here = replace(pace, step=step)
        calibrated = calibrate(self.scorer, images, labels, seed=seed, pace=here)
        self.calibrated = replace(calibrated, calibration=None)  # large, and read no more
        self.memory.forget()
        if not any(isinstance(detector, GSC) for detector in self.scorer.detectors):
            reason = next(iter(self.scorer.excused.values()))
            raise SpecError(f"No setting of GSC can run here: it {reason}.")

    def score(self, name: str, pixels: Tensor) -> None:
        """One pass over a batch; of ID images also the classes after the short-circuit."""
        batch = self.scorer.represent(pixels)
        self.scores[name].append(self.scorer.score(batch, after=name == "id"))

    def look_around(self, name: str, pixels: Tensor, seed: int) -> None:
        """How steady the gradients of a batch are."""
        preprocessing = self.classifier.preprocessing
        images = preprocessing.normalise(pixels.to(self.network.device))
        spread = GREY_LEVELS / 255 / torch.tensor(preprocessing.std, device=self.network.device)
        feature = around_feature(self.network, self.network.body(images), seed=seed)
        steadiness = around_image(self.network, images, spread, seed=seed)
        self.steady["feature"][name].append(feature.cpu())
        self.steady["picture"][name].append(steadiness.cpu())

    def measured(self) -> Measured:
        """What the pass over the images gave."""
        assert self.calibrated is not None
        joined = {name: Scores.cat(parts) for name, parts in self.scores.items()}
        flipped = {
            detector.name: detector.flipped_
            for detector in self.scorer.detectors
            if isinstance(detector, GSC)
        }
        return Measured(self.layer, self.trials, joined, self.labels, flipped, self.calibrated)


def _some(images: ImageSet, most: int, seed: int) -> list[ImageFile]:
    """At most so many images of a set in a random order, the same for a seed."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed)).tolist()
    return [images.images[i] for i in order[:most]]


def _pass_over(
    used: Mapping[str, Sequence[ImageFile]],
    runs: Sequence[_LayerRun],
    labels: Mapping[str, int],
    seed: int,
    pace: Pace,
) -> None:
    """Decode the test images, and let each layer's detectors score them."""
    around = _where_gradients_vary(runs)
    preprocessing = around.classifier.preprocessing
    for name in (set_name for set_name in used if set_name != "calibration"):
        done = good = 0
        for batch in read_batches(
            used[name], preprocessing, pace.batch_size, pace.threads, pace.decoders
        ):
            for run in runs if batch.images else ():
                run.score(name, batch.pixels)
            if batch.images and good < CONSISTENCY_IMAGES:
                around.look_around(name, batch.pixels, seed)
            if name == "id":
                calibrated = [labels[image.sha256] for image in batch.images]
                for run in runs:
                    run.labels.extend(calibrated)
            good += len(batch.images)
            done += len(batch.images) + len(batch.broken)
            pace.step(f"scoring {name}", done, len(used[name]))
        if not good:
            raise ImageError(f"None of the images of {name} can be read: check the files.")


def _where_gradients_vary(runs: Sequence[_LayerRun]) -> _LayerRun:
    """The deepest layer with a non-linear head: before a linear one no gradient ever turns."""
    return next((run for run in reversed(runs) if not run.layer.linear), runs[-1])


def _facts(
    spec: AuditSpec,
    classifier: Classifier,
    runs: Sequence[_LayerRun],
    sets: Partition,
    used: Mapping[str, Sequence[ImageFile]],
    started: float,
    rows: Sequence[Mapping[str, object]],
) -> Facts:
    around, steady = _where_gradients_vary(runs), []
    for where, by_set in around.steady.items():
        joined = {name: torch.cat(parts) for name, parts in by_set.items()}
        steady += compare(where, joined.pop("id"), joined)
    return Facts(
        layers=tuple(
            LayerFacts(name=a.name, depth=a.depth, shape=a.shape, linear=a.linear)
            for a in (run.layer for run in runs)
        ),
        images={
            name: ImagesUsed(used=len(used[name]), of=len(whole))
            for name, whole in sets.every().items()
        },
        consistency=tuple(steady),
        consistency_layer=around.layer.name,
        id_accuracy=runs[-1].measured().id_accuracy,
        surrogate_correlation=rank_correlation(rows),
        excused={
            f"{name} at {run.layer.name}": reason
            for run in runs
            for name, reason in run.scorer.excused.items()
        },
        seed=spec.seed,
        seconds=round(time.perf_counter() - started, 2),
        model_sha256=classifier.sha256,
        versions=versions(),
    )
