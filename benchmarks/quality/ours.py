"""Our detectors on one division: fitted and scored by the code of an audit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from benchmarks.quality.fusion_parts import Floats, left_out
from benchmarks.quality.onepass import Division, Remembering, Seen, Shown
from benchmarks.quality.subjects import Subject
from gsc_core.ablation.cut import Memory, detector_of
from gsc_core.ablation.grid import Layer, trials
from gsc_core.classifier.network import Network
from gsc_core.detectors.base import Calibration, Detector, Fit, Need, Representation
from gsc_core.evaluation.metrics import metrics
from gsc_core.scoring.calibration import Calibrated, calibrate
from gsc_core.scoring.loading import Pace
from gsc_core.scoring.scorer import Scores

Make = Callable[[], Sequence[Detector]]


@dataclass(frozen=True)
class Judged:
    """What a division gave: outlier scores by detector and set, and what goes with them.

    surrogate_auroc: calibration images against surrogate outliers. after: ID accuracy after the
    short-circuit, where a detector has one. absent: why a detector has no scores. left_out: scores
    of auto-ensemble without one of its parts.
    """

    scores: Mapping[str, Mapping[str, Floats]]
    surrogate_auroc: Mapping[str, float]
    after: Mapping[str, float]
    absent: Mapping[str, str]
    left_out: Mapping[str, Mapping[str, Floats]]


class Bench:
    """A subject's network with all its images, each passed once."""

    def __init__(self, subject: Subject, pace: Pace) -> None:
        self.subject, self.pace = subject, pace
        self.network = Network(subject.classifier.program)
        self.seen: Seen = {}
        self.shown = Shown.read(subject, pace)
        scorer = self.scorer([])
        for _ in map(scorer.represent, self.in_turn("passing the network")):
            pass

    def in_turn(self, phase: str) -> Iterator[Tensor]:
        """Pixels of all images, a batch at a time, with progress told."""
        done, total = 0, len(self.shown.pixels)
        for pixels in torch.split(self.shown.pixels, self.pace.batch_size):
            yield pixels
            done += len(pixels)
            self.pace.step(phase, done, total)

    def scorer(self, detectors: Sequence[Detector]) -> Remembering:
        """A scorer of these detectors that knows all images."""
        return Remembering(self.subject, self.network, detectors, self.seen)

    def judge(self, make: Make, division: Division, without: Sequence[str] = ()) -> Judged:
        """Fit fresh detectors on the calibration half, score the other half and the OOD sets.

        `without` names detectors that are scored elsewhere.
        """
        scorer = self.scorer([each for each in make() if each.name not in without])
        files = division.calibration.images
        labels = [division.label_of[file.sha256] for file in files]
        calibrated = calibrate(scorer, files, labels, seed=division.seed, pace=self.pace)
        test = {name: self._score(scorer, name, rows) for name, rows in division.test.items()}
        kept = [each.name for each in scorer.detectors]
        known = division.id_labels
        return Judged(
            {n: {at: _floats(found.outlier[n]) for at, found in test.items()} for n in kept},
            {n: _surrogate_auroc(calibrated, n) for n in kept if calibrated.surrogates is not None},
            {n: _share(known, after) for n, after in test["id"].predicted_after.items()},
            dict(scorer.excused),
            left_out(
                calibrated.scores.outlier,
                None if calibrated.surrogates is None else calibrated.surrogates.outlier,
                {at: found.outlier for at, found in test.items()},
            ),
        )

    def on_pixels(self, detectors: Sequence[Detector]) -> dict[str, Floats]:
        """Scores of all images by detectors that learn nothing."""
        if not detectors:
            return {}
        scorer = self.scorer(detectors)
        some = scorer.represent(self.shown.pixels[:2])
        scorer.fit(detectors, _unlabelled(self.network, some))
        batches = self.in_turn(", ".join(each.name for each in detectors))
        scores = Scores.cat([scorer.score(scorer.represent(pixels)) for pixels in batches])
        return {name: _floats(each) for name, each in scores.outlier.items()}

    def correlation(self, division: Division) -> tuple[int, float | None]:
        """Spearman's of surrogate and mean real AUROC over the settings of GSC at this layer.

        Also how many settings. They are those of the ablation, directions learned.
        """
        if self.network.split is None:
            return 0, None
        memory = Memory()
        found = trials(Layer.of(self.network.split, "deep"))
        settings = {each.detector: each for each in found if each.settings is not None}
        judged = self.judge(lambda: [detector_of(t, memory) for t in settings.values()], division)
        return len(judged.scores), rank_correlation(judged)

    def id_accuracy(self, division: Division) -> float:
        """Share of the test half that the untouched network names correctly."""
        scorer = self.scorer([])
        parts = [scorer.represent(p).predicted for p in self.shown.batches(division.test["id"])]
        return _share(division.id_labels, torch.cat(parts))

    def _score(self, scorer: Remembering, name: str, rows: Tensor) -> Scores:
        known = name == "id"
        batches = self.shown.batches(rows)
        return Scores.cat([scorer.score(scorer.represent(p), after=known) for p in batches])


def of_pixels(detectors: Sequence[Detector]) -> list[Detector]:
    """Those that go back to the pixels: slow."""
    return [d for d in detectors if Need.IMAGES in d.needs]


def learning_nothing(detectors: Sequence[Detector]) -> list[Detector]:
    """Those whose scores are the same in every division."""
    return [d for d in detectors if d.fitted_with is Fit.NOTHING]


def rank_correlation(judged: Judged) -> float | None:
    """Spearman's, over detectors, of the AUROC on surrogates with the mean on the OOD sets."""
    names = [name for name in judged.scores if name in judged.surrogate_auroc]
    real = [_real_auroc(judged.scores[name]) for name in names]
    surrogate = [judged.surrogate_auroc[name] for name in names]
    if len(set(real)) < 3 or len(set(surrogate)) < 3:
        return None
    return float(spearmanr(surrogate, real).statistic)


def _real_auroc(scores: Mapping[str, Floats]) -> float:
    known = scores["id"]
    return float(np.mean([metrics(known, s).auroc for n, s in scores.items() if n != "id"]))


def _surrogate_auroc(found: Calibrated, name: str) -> float:
    assert found.surrogates is not None
    ours = found.scores.outlier[name][: found.sample]
    return metrics(ours.numpy(), found.surrogates.outlier[name].numpy()).auroc


def _floats(scores: Tensor) -> Floats:
    numbers: Floats = scores.double().numpy()
    return numbers


def _share(labels: Tensor, predicted: Tensor) -> float:
    known = labels >= 0
    return float((labels[known] == predicted.cpu()[known]).double().mean())


def _unlabelled(network: Network, some: Representation) -> Calibration:
    """What a detector that learns nothing takes the network from."""
    bare = replace(some, images=None)
    return Calibration(network, some.logits, some.features, torch.tensor([-1] * len(some)), bare)
