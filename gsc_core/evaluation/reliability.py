"""How many accepted images are answered wrongly, from either cause, against the share accepted.

A wrong answer that is accepted is a mistake on an ID image, or any answer to an OOD image: there is
no right one. Both count alike, at a stated share of OOD images (prevalence). What is refused may be
decided by the confidence, by the detector, or by both: an image is then accepted when neither
objects.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gsc_core.errors import GscError
from gsc_core.evaluation.effects import LEVEL, Acceptance
from gsc_core.evaluation.interval import Interval
from gsc_core.evaluation.metrics import Floats, checked

GRID = 100  # limits of each of two, and shares accepted that are aimed at
DRAWS = 20_000  # of shares that may be the true ones
_ROUNDING = 1e-9  # shares that differ by less are the same


@dataclass(frozen=True)
class Objections:
    """What stands against accepting some images of one kind `[N]`: higher is worse, both.

    doubt: 1 − confidence. outlier: the detector's score.
    """

    doubt: Floats
    outlier: Floats

    @classmethod
    def of(cls, confidence: ArrayLike, outlier: ArrayLike) -> Self:
        """Raises GscError where a value is not finite, or there is none."""
        return cls(1 - checked(confidence, "confidence"), checked(outlier, "detector"))


@dataclass(frozen=True)
class Answers:
    """Images of a stream that is a mix of ID and OOD images, `[N]`.

    weight: each image's part in the stream, 1 in total. wrong: whether accepting it is a mistake.
    """

    doubt: Floats
    outlier: Floats
    wrong: NDArray[np.bool_]
    weight: Floats

    @classmethod
    def mixed(
        cls,
        id_images: Objections,
        id_correct: ArrayLike,
        ood: Mapping[str, Objections],
        prevalence: float,
    ) -> Self:
        """A stream of which a share `prevalence` is OOD, each OOD set weighing the same."""
        parts = [id_images, *ood.values()]
        sizes = [len(part.doubt) for part in parts]
        shares = [1 - prevalence, *[prevalence / max(1, len(ood))] * len(ood)]
        correct = np.asarray(id_correct, dtype=bool)
        return cls(
            np.concatenate([part.doubt for part in parts]),
            np.concatenate([part.outlier for part in parts]),
            np.concatenate([~correct, np.ones(sum(sizes[1:]), dtype=bool)]),
            np.repeat(np.divide(shares, sizes), sizes),
        )


@dataclass(frozen=True)
class Limits:
    """The highest doubt and outlier score that are accepted; inf where one does not matter."""

    doubt: float
    outlier: float


@dataclass(frozen=True)
class Curve:
    """Points `[T]` along the share of the stream that is accepted, rising.

    wrong: of what is accepted, the share that is wrong. limits: what leads to each point.
    """

    accepted: Floats
    wrong: Floats
    limits: tuple[Limits, ...]


@dataclass(frozen=True)
class Frontier:
    """The best that three ways to refuse can do; limits come from one half, shares from another.

    confidence, detector: one limit each. both: two.
    """

    confidence: Curve
    detector: Curve
    both: Curve


def outcome(answers: Answers, limits: Limits) -> tuple[float, float]:
    """The share of the stream that is accepted, and of that the share that is wrong (0 of none)."""
    accepted = (answers.doubt <= limits.doubt) & (answers.outlier <= limits.outlier)
    whole = float(answers.weight[accepted].sum())
    wrong = float(answers.weight[accepted & answers.wrong].sum())
    return whole, wrong / whole if whole else 0.0


def accepted_errors(
    right: int, wrong: int, images: int, ood: Sequence[Acceptance], prevalence: float
) -> Interval:
    """Of what is accepted of a stream, the share that is wrong, with a 95 % interval.

    Of `images` labelled ID images, `right` and `wrong` are accepted. `ood` are the OOD sets, each
    weighing the same; `prevalence` of the stream are OOD.

    The share rises with each set's share accepted and with the mistakes among accepted ID images,
    and falls with the ID images accepted, all of them independent. Each end is a percentile of what
    comes of drawing all of these from the distributions whose percentiles are their exact bounds,
    as for a weighted sum of rare events (Fay and Feuer, 1997): of one share it is the exact bound.

    Raises GscError without ID images, and where nothing is accepted.
    """
    if not images:
        raise GscError("There are no labelled familiar images: run the audit with labels.")
    accepted = right + wrong
    if not (accepted or any(of_set.accepted for of_set in ood)):
        raise GscError("Nothing is accepted at this threshold: choose a higher one.")

    def share(of_id: Floats, mistakes: Floats, of_ood: Floats) -> Floats:
        bad = (1 - prevalence) * of_id * mistakes + prevalence * of_ood
        return np.asarray(bad / ((1 - prevalence) * of_id + prevalence * of_ood))

    shares = [of_set.share for of_set in ood]
    counts = (accepted / images, wrong / max(accepted, 1), float(np.mean(shares)))
    value = float(share(*map(np.asarray, counts)))
    rng, ends = np.random.default_rng(0), []
    for upper, quantile in ((0, (1 - LEVEL) / 2), (1, (1 + LEVEL) / 2)):
        of_id = _likely(rng, accepted, images, 1 - upper)
        mistakes = _likely(rng, wrong, accepted, upper)
        of_ood = np.mean([_likely(rng, s.accepted, s.total, upper) for s in ood], axis=0)
        ends.append(float(np.quantile(share(of_id, mistakes, of_ood), quantile)))
    return Interval(value, min(ends[0], value), max(ends[1], value))


def _likely(rng: np.random.Generator, k: int, n: int, upper: int) -> Floats:
    """Shares `[DRAWS]` whose percentiles are the exact upper or lower bounds of `k` of `n`."""
    if k == (n if upper else 0):
        return np.full(DRAWS, float(upper))
    return rng.beta(k + upper, n - k + 1 - upper, DRAWS)


def frontier(choosing: Answers, testing: Answers) -> Frontier:
    """For many shares accepted the limits with the fewest wrong, and what they do on other images.

    Limits are compared on `choosing` alone, and every share is measured on `testing`: the best of
    many pairs of limits looks better than it is on the images that it was compared on.
    """
    doubts, outliers = _steps(choosing.doubt), _steps(choosing.outlier)
    accepted, wrong = _shares(choosing, doubts, outliers)
    pairs = {
        "confidence": (slice(None), slice(-1, None)),  # the last step accepts every score
        "detector": (slice(-1, None), slice(None)),
        "both": (slice(None), slice(None)),
    }
    curves = {}
    for name, part in pairs.items():
        limits = [
            Limits(float(doubts[part[0]][row]), float(outliers[part[1]][column]))
            for row, column in _best(accepted[part], wrong[part])
        ]
        curves[name] = _tested(testing, limits)
    return Frontier(**curves)


def _steps(values: Floats) -> Floats:
    """Limits between which about equally many images lie `[T]`; the last accepts all."""
    shares = np.arange(1, GRID) / GRID
    return np.append(np.unique(np.quantile(values, shares, method="inverted_cdf")), np.inf)


def _shares(answers: Answers, doubts: Floats, outliers: Floats) -> tuple[Floats, Floats]:
    """What every pair of limits accepts of the stream, and what of that is wrong `[D,O]`."""
    row = np.searchsorted(doubts, answers.doubt)
    column = np.searchsorted(outliers, answers.outlier)
    flat = row * len(outliers) + column

    def accepted(weight: Floats) -> Floats:
        cells = np.bincount(flat, weight, minlength=len(doubts) * len(outliers))
        return cells.reshape(len(doubts), -1).cumsum(axis=0).cumsum(axis=1)

    return accepted(answers.weight), accepted(answers.weight * answers.wrong)


def _best(accepted: Floats, wrong: Floats) -> list[tuple[int, int]]:
    """The pairs `[D,O]` with the least wrong among those that accept at least each share of a grid.

    Of equally good pairs the one that accepts most.
    """
    risk = np.divide(wrong, accepted, out=np.full_like(wrong, np.inf), where=accepted > 0)
    pairs: dict[tuple[int, int], None] = {}
    for share in np.arange(1, GRID + 1) / GRID:
        allowed = np.where(accepted >= share - _ROUNDING, risk, np.inf)
        equally_good = allowed <= allowed.min() + _ROUNDING
        place = int(np.where(equally_good, accepted, -1.0).argmax())
        pairs[place // accepted.shape[1], place % accepted.shape[1]] = None
    return list(pairs)


def _tested(answers: Answers, limits: list[Limits]) -> Curve:
    """What limits do, in the order of what they accept; those that accept nothing are left out."""
    points = [(*outcome(answers, one), one) for one in limits]
    points = sorted((p for p in points if p[0] > 0), key=lambda point: point[:2])
    return Curve(
        np.array([accepted for accepted, _, _ in points]),
        np.array([wrong for _, wrong, _ in points]),
        tuple(one for _, _, one in points),
    )
