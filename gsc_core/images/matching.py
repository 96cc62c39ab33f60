"""From labels to the classifier's class indices, and in plain words how they were matched."""

import functools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gsc_core.errors import SpecError
from gsc_core.extras import require
from gsc_core.images.labels import WORDNET_ID

_WHOLE_NUMBER = re.compile(r"(\d{1,9})(?:\.0)?", re.ASCII)  # pandas writes 3 as 3.0 beside gaps


@dataclass(frozen=True)
class LabelMatch:
    """For each image its class index, or -1 when unknown, and in plain words how it was found."""

    indices: tuple[int, ...]
    how: str


def class_indices(
    labels: Sequence[str | None], class_names: Sequence[str] | None, num_classes: int
) -> LabelMatch:
    """Find the classifier's class of each label; -1 where it is unknown.

    The first rule that fits any label (or, for whole numbers and the order, all of them) decides:

    1. the class names, letter for letter, else without regard to case, spaces, `_` and `-`;
    2. whole numbers in 0..K-1;
    3. WordNet ids (`n01440764`, `n01440764_tench`) of ImageNet-1k, when K is 1000;
    4. as many labels as classes: their alphabetical order, as in torchvision's ImageFolder.

    Raises SpecError when the number of class names is not K.
    """
    if class_names is not None and len(class_names) != num_classes:
        raise SpecError(
            f"There are {len(class_names)} class names for {num_classes} classes: give one each."
        )
    if not any(labels):
        return LabelMatch(
            (-1,) * len(labels),
            "The images carry no labels: sort them into one folder for each class, or add a CSV "
            "table with the columns file and label.",
        )
    distinct = sorted({label for label in labels if label})
    for rule in (_by_name, _by_number, _by_wordnet_id, _by_order):
        index, how = rule(distinct, class_names, num_classes)
        if index:
            return _match(labels, index, how)
    return LabelMatch(
        (-1,) * len(labels),
        f"None of the {len(distinct)} labels (such as {distinct[0][:40]!r}) is one of the classes: "
        "rename the folders to its class names, or use the class numbers "
        f"0 to {num_classes - 1} as labels.",
    )


_Rule = tuple[dict[str, int], str]


def _match(labels: Sequence[str | None], index: dict[str, int], how: str) -> LabelMatch:
    indices = tuple(index.get(label, -1) if label else -1 for label in labels)
    missing = indices.count(-1)
    rest = f"; {missing} of {len(indices)} images have no class" if missing else ""
    return LabelMatch(indices, f"{how}{rest}.")


def _by_name(labels: Sequence[str], names: Sequence[str] | None, _: int) -> _Rule:
    exact = _numbered(names or (), str)
    loose = _numbered(names or (), _loosely)
    index = {label: exact.get(label, loose.get(_loosely(label), -1)) for label in labels}
    return {k: v for k, v in index.items() if v >= 0}, "Labels are the classifier's class names"


def _numbered(names: Sequence[str], key: Callable[[str], str]) -> dict[str, int]:
    """Number the names, less those that stand for two classes (ImageNet has two called crane)."""
    keys = [key(name) for name in names]
    counts = Counter(keys)
    return {text: at for at, text in enumerate(keys) if counts[text] == 1}


def _loosely(text: str) -> str:
    return re.sub(r"[\s_-]+", "", text.casefold())


def _by_number(labels: Sequence[str], _: Sequence[str] | None, num_classes: int) -> _Rule:
    index = {label: int(m[1]) for label in labels if (m := _WHOLE_NUMBER.fullmatch(label))}
    fits = len(index) == len(labels) and max(index.values()) < num_classes
    return index if fits else {}, "Labels are class numbers"


def _by_wordnet_id(labels: Sequence[str], _: Sequence[str] | None, num_classes: int) -> _Rule:
    ids = {label: m[0] for label in labels if (m := WORDNET_ID.match(label))}
    if num_classes != 1000 or not ids:
        return {}, ""
    numbers = _imagenet_1k()
    index = {label: numbers[wordnet] for label, wordnet in ids.items() if wordnet in numbers}
    return index, "Labels are WordNet ids of ImageNet-1k"


@functools.cache
def _imagenet_1k() -> dict[str, int]:
    require("timm")
    from timm.data.imagenet_info import ImageNetInfo  # noqa: PLC0415 (seconds to import, seldom needed)

    info = ImageNetInfo("imagenet-1k")
    return {info.index_to_label_name(at): at for at in range(1000)}


def _by_order(labels: Sequence[str], _: Sequence[str] | None, num_classes: int) -> _Rule:
    index = {label: at for at, label in enumerate(labels)}
    how = f"The {num_classes} labels in alphabetical order are the {num_classes} classes"
    return index if len(labels) == num_classes else {}, how
