"""Whether the labels stand for the classes in the order that was taken: the predictions tell."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from gsc_core.audit.checks.base import Evidence
from gsc_core.errors import SpecError
from gsc_core.errors.questions import Answer, Question, Setting
from gsc_core.images.class_orders import LabelOrder, order_called
from gsc_core.run.document import ModelCheck

RATIO = 3  # times as many images, and classes, must agree with another order
CERTAIN = 0.001  # level of the test at which the audit stops, over all orders together
DOUBTFUL = 0.05  # and at which it warns, where the images are too few for more
PERMUTATIONS = 9_999
MAX_IMAGES = 2_000  # of the test: more change nothing, and cost

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Comparison:
    """Two orders on the images to which they give different classes.

    `hits` are the images whose prediction agrees with the order, `classes` the labels that have
    more such images by this order than by the other; both for the taken one, then the other.
    """

    hits: tuple[int, int]
    classes: tuple[int, int]
    p_value: float = 1.0

    @property
    def is_large(self) -> bool:
        """Whether the other order leads by far, be it by chance or not."""
        return all(b > 1 and b >= RATIO * a for a, b in (self.hits, self.classes))

    def is_better(self, level: float) -> bool:
        """Whether the other order leads by far, and hardly by chance."""
        return self.is_large and self.p_value <= level


def compare(predicted: Indices, taken: Indices, other: Indices, seed: int = 0) -> Comparison:
    """Compare two orders by predictions `[N]`; `taken` and `other` are class indices `[N]` or −1.

    The p-value, sought where the lead is large and else 1, is of a permutation test: how often the
    other order would lead by as much if the predictions had nothing to do with the images. So a
    network that gives nearly every image the same class is no evidence for any order.
    """
    differ = taken != other
    predicted, taken, other = predicted[differ], taken[differ], other[differ]
    by_label: dict[tuple[int, int], int] = {}
    lead = (predicted == other).astype(np.int64) - (predicted == taken)
    for label, of_image in zip(zip(taken.tolist(), other.tolist(), strict=True), lead, strict=True):
        by_label[label] = by_label.get(label, 0) + int(of_image)
    leads = np.array(list(by_label.values()), dtype=np.int64)
    compared = Comparison(
        (int((predicted == taken).sum()), int((predicted == other).sum())),
        (int((leads < 0).sum()), int((leads > 0).sum())),
    )
    if not compared.is_large:  # the test costs, and would decide nothing
        return compared
    return replace(compared, p_value=_p_value(predicted, taken, other, np.random.default_rng(seed)))


def _p_value(
    predicted: Indices, taken: Indices, other: Indices, random: np.random.Generator
) -> float:
    if len(predicted) > MAX_IMAGES:
        some = random.choice(len(predicted), MAX_IMAGES, replace=False)
        predicted, taken, other = predicted[some], taken[some], other[some]

    def lead(of: Indices) -> int:
        return int((of == other).sum()) - int((of == taken).sum())

    seen = lead(predicted)
    as_good = sum(lead(random.permutation(predicted)) >= seen for _ in range(PERMUTATIONS))
    return (1 + as_good) / (1 + PERMUTATIONS)


def class_order(evidence: Evidence) -> ModelCheck | None:
    """Asks, by a SpecError, where another order of the labels fits far better than the taken."""
    labels = evidence.labels.numpy()
    if evidence.label_order is None or not (labels >= 0).any():
        return None
    predicted = evidence.logits.argmax(dim=1).numpy()
    compared = {
        name: compare(predicted, labels, other.numpy())
        for name, other in evidence.other_orders.items()
    }

    def agreeing(name: LabelOrder) -> int:
        return int((evidence.other_orders[name].numpy() == predicted).sum())

    for level in (CERTAIN, DOUBTFUL):
        better = [n for n, it in compared.items() if it.is_better(level / len(compared))]
        if not better:
            continue
        best = max(better, key=agreeing)
        doubt = _doubt(evidence, int((labels == predicted).sum()), best, agreeing(best))
        if level == CERTAIN:
            raise SpecError.asking(_question(doubt, evidence.label_order, best))
        sentence = f"{doubt}: if the model was trained that way, audit it with that label order."
        return ModelCheck(name="class order", outcome="warning", sentence=sentence)
    if said := _in_no_order(predicted, labels, evidence.logits.shape[1]):
        return ModelCheck(name="class order", outcome="warning", sentence=said)
    return ModelCheck(name="class order", outcome="fine", sentence=_said(evidence))


def _doubt(evidence: Evidence, right: int, other: LabelOrder, right_by_other: int) -> str:
    assert evidence.label_order is not None
    taken, better = order_called(evidence.label_order), order_called(other)
    return (
        f"With the labels as {taken.name} ({taken.title}), {right:,} of {len(evidence.images):,} "
        f"calibration images are classified correctly; as {better.name} ({better.title}), "
        f"{right_by_other:,} are"
    )


def _question(doubt: str, taken: LabelOrder, better: LabelOrder) -> Question:
    return Question(
        doubt=doubt,
        answers=(
            Answer.of(Setting.LABEL_ORDER, better, "if the model was trained that way"),
            Answer.of(Setting.LABEL_ORDER, taken, "if not"),
        ),
    )


def _in_no_order(predicted: Indices, labels: Indices, num_classes: int, seed: int = 0) -> str:
    """A sentence where the predictions follow the labels, but as other classes than any order says.

    Which class goes with which label is learned on one half of the labelled images, and compared
    with the taken order on the other.
    """
    labelled = np.random.default_rng(seed).permutation(np.flatnonzero(labels >= 0))
    seen, rest = np.array_split(labelled, 2)
    counts = 0.5 * np.eye(num_classes)  # a tie leaves a label where it is
    np.add.at(counts, (labels[seen], predicted[seen]), 1)
    _, class_of = linear_sum_assignment(counts, maximize=True)
    compared = compare(predicted[rest], labels[rest], class_of[labels[rest]])
    if not compared.is_better(CERTAIN):
        return ""
    moved = next(at for at in labels[rest] if class_of[at] != at)
    return (
        "The predictions fit the labels in another order better than in the one used: of "
        f"{len(rest):,} calibration images {compared.hits[1]:,} more agree with an order learned "
        f"from the rest, {compared.hits[0]:,} more with the one used (what counts as class {moved} "
        f"is predicted as class {class_of[moved]}): check the labels, or give the class names in "
        "the order used in training."
    )


def _said(evidence: Evidence) -> str:
    others = ", ".join(evidence.other_orders)
    if not others:
        return evidence.label_rule
    return f"{evidence.label_rule} No other order fits the predictions far better ({others})."
