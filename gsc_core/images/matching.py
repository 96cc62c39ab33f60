"""From labels to the classifier's class indices, and in plain words how they were matched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gsc_core.errors import SpecError
from gsc_core.images.class_orders import ORDERS, ClassOrder, LabelOrder, order_called
from gsc_core.images.names import composed


@dataclass(frozen=True)
class LabelMatch:
    """For each image its class index, or -1 when unknown, and in plain words how it was found.

    `order` names the rule that was taken, None where none fits. `others` are the indices by every
    other order that the labels allow; none where the order was asked for.
    """

    indices: tuple[int, ...]
    how: str
    order: LabelOrder | None = None
    others: dict[LabelOrder, tuple[int, ...]] = field(default_factory=dict)


def class_indices(
    labels: Sequence[str | None],
    class_names: Sequence[str] | None,
    num_classes: int,
    order: LabelOrder | None = None,
) -> LabelMatch:
    """Find the classifier's class of each label; -1 where it is unknown.

    The `order` that is asked for decides, else the first that fits any label (or, for whole numbers
    and sorted labels, all of them):

    1. the class names, letter for letter, else without regard to case, spaces, `_` and `-`;
    2. whole numbers in 0..K-1;
    3. WordNet ids (`n01440764`, `n01440764_tench`) of ImageNet-1k, when K is 1000;
    4. as many labels as classes: their alphabetical order, as in torchvision's ImageFolder;
    5. whole numbers in 1..K.

    Raises SpecError when the number of class names is not K, or the labels do not allow `order`.
    """
    if class_names is not None and len(class_names) != num_classes:
        raise SpecError(
            f"There are {len(class_names)} class names for {num_classes} classes: give one per "
            "class."
        )
    if not any(labels):
        return LabelMatch(
            (-1,) * len(labels),
            "The images carry no labels: sort them into one folder for each class, or add a CSV "
            "table with the columns file and label.",
        )
    labels = [composed(label) if label else None for label in labels]
    distinct = sorted({label for label in labels if label})
    if order is not None:
        asked = order_called(order)
        index = asked.fit(distinct, class_names, num_classes)
        if not index:
            raise SpecError(_not_allowed(asked, distinct, num_classes))
        return _match(labels, {asked: index}, num_classes)
    fitting = {
        rule: index for rule in ORDERS if (index := rule.fit(distinct, class_names, num_classes))
    }
    if fitting:
        return _match(labels, fitting, num_classes)
    return LabelMatch(
        (-1,) * len(labels),
        f"None of the {len(distinct)} labels (such as {distinct[0][:40]!r}) is one of the classes: "
        "rename the folders to its class names, or use the class numbers "
        f"0 to {num_classes - 1} as labels.",
    )


def _match(
    labels: Sequence[str | None], fitting: dict[ClassOrder, dict[str, int]], num_classes: int
) -> LabelMatch:
    """The first order decides; of the others, those that differ from all before them."""
    taken = next(iter(fitting))
    by_order = {
        order.name: tuple(index.get(label, -1) if label else -1 for label in labels)
        for order, index in fitting.items()
    }
    indices = by_order.pop(taken.name)
    different: dict[tuple[int, ...], LabelOrder] = {}
    for name, other in by_order.items():
        if other != indices:
            different.setdefault(other, name)
    missing = indices.count(-1)
    rest = f"; {missing} of {len(indices)} images have no class" if missing else ""
    return LabelMatch(
        indices,
        f"{taken.rule.format(K=num_classes)}{rest}.",
        taken.name,
        {name: other for other, name in different.items()},
    )


def _not_allowed(order: ClassOrder, distinct: Sequence[str], num_classes: int) -> str:
    return (
        f"The {len(distinct)} labels (such as {distinct[0][:40]!r}) cannot be taken as "
        f"{order.name} ({order.title}) for {num_classes} classes: choose another label order."
    )
