"""The orders in which labels can stand for a classifier's classes; no file says which is right.

To a classifier a class is a number, which follows from how its training sorted the labels.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from gsc_core import imagenet
from gsc_core.images.labels import WORDNET_ID
from gsc_core.images.names import composed

LabelOrder = Literal[
    "names", "numeric", "wordnet", "text", "from-1", "natural", "text-from-1", "text-decomposed"
]
Fit = Callable[[Sequence[str], Sequence[str] | None, int], dict[str, int]]

_WHOLE_NUMBER = re.compile(r"(\d{1,9})(?:\.0)?", re.ASCII)  # pandas writes 3 as 3.0 beside gaps


@dataclass(frozen=True)
class ClassOrder:
    """One way from labels to class indices.

    `title` says it in a few words, `rule` in a sentence without its full stop. `fit(labels,
    class_names, K)` takes distinct labels, sorted, and gives the index of each that has one;
    nothing where the labels cannot be meant like this.
    """

    name: LabelOrder
    title: str
    rule: str
    fit: Fit


def _by_name(labels: Sequence[str], names: Sequence[str] | None, _: int) -> dict[str, int]:
    exact = _numbered(names or (), composed)
    loose = _numbered(names or (), _loosely)
    index = {label: exact.get(label, loose.get(_loosely(label), -1)) for label in labels}
    return {label: at for label, at in index.items() if at >= 0}


def _numbered(names: Sequence[str], key: Callable[[str], str]) -> dict[str, int]:
    """Number the names, less those that stand for two classes (ImageNet has two called crane)."""
    keys = [key(name) for name in names]
    counts = Counter(keys)
    return {text: at for at, text in enumerate(keys) if counts[text] == 1}


def _loosely(text: str) -> str:
    return re.sub(r"[\s_-]+", "", composed(text).casefold())


def _counted_from(
    start: int, labels: Sequence[str], _: Sequence[str] | None, num_classes: int
) -> dict[str, int]:
    numbers = {
        label: int(m[1]) - start for label in labels if (m := _WHOLE_NUMBER.fullmatch(label))
    }
    fits = len(numbers) == len(labels) and all(0 <= at < num_classes for at in numbers.values())
    return numbers if fits else {}


def _by_wordnet_id(
    labels: Sequence[str], _: Sequence[str] | None, num_classes: int
) -> dict[str, int]:
    ids = {label: m[0] for label in labels if (m := WORDNET_ID.match(label))}
    if num_classes != 1000 or not ids:
        return {}
    numbers = {wordnet: at for at, wordnet in enumerate(imagenet.wordnet_ids())}
    return {label: numbers[wordnet] for label, wordnet in ids.items() if wordnet in numbers}


def _sorted_by(
    key: Callable[[str], object],
    start: int,
    labels: Sequence[str],
    _: Sequence[str] | None,
    num_classes: int,
) -> dict[str, int]:
    """Rank the labels among those of all classes.

    Those are the labels themselves, or where some are absent, the numbers from `start` on.
    """
    every = list(labels)
    if len(labels) != num_classes:
        every = [str(number) for number in range(start, start + num_classes)]
        if not set(labels) <= set(every):
            return {}
    rank = {label: at for at, label in enumerate(sorted(every, key=key))}  # type: ignore[arg-type]
    return {label: rank[label] for label in labels}


def natural_key(label: str) -> list[tuple[int, int, str]]:
    """Sorts whole numbers inside a label by their value, and letters without regard to case."""
    parts = re.split(r"(\d+)", label.lower())
    return [_by_value(part) if part.isdecimal() else (1, 0, part) for part in parts]


def _by_value(digits: str) -> tuple[int, int, str]:
    """Of numbers without leading zeros, however long, the shorter is the smaller."""
    number = digits.lstrip("0")
    return (0, len(number), number)


def _decomposed(label: str) -> str:
    return unicodedata.normalize("NFD", label)


ORDERS: Final = (
    ClassOrder("names", "class names", "Labels are the classifier's class names", _by_name),
    ClassOrder(
        "numeric",
        "numbers from 0",
        "Labels are class numbers",
        functools.partial(_counted_from, 0),
    ),
    ClassOrder(
        "wordnet",
        "WordNet ids",
        "Labels are WordNet ids of ImageNet-1k",
        _by_wordnet_id,
    ),
    ClassOrder(
        "text",
        "sorted as text, as torchvision's ImageFolder does: 1, 10, 2",
        "The {K} labels in alphabetical order are the {K} classes",
        functools.partial(_sorted_by, str, 0),
    ),
    ClassOrder(
        "from-1",
        "numbers from 1",
        "Labels are class numbers that begin with 1",
        functools.partial(_counted_from, 1),
    ),
    ClassOrder(
        "natural",
        "sorted naturally, as timm does: 1, 2, 10",
        "The {K} labels in natural order (2 before 10) are the {K} classes",
        functools.partial(_sorted_by, natural_key, 0),
    ),
    ClassOrder(
        "text-from-1",
        "numbers from 1, sorted as text: 1, 10, 2",
        "The numbers 1 to {K} in alphabetical order are the {K} classes",
        functools.partial(_sorted_by, str, 1),
    ),
    ClassOrder(
        "text-decomposed",
        "sorted as text with accents as macOS stores them",
        "The {K} labels in the alphabetical order of macOS are the {K} classes",
        functools.partial(_sorted_by, _decomposed, 0),
    ),
)
"""The first that fits is taken where none is asked for."""


def order_called(name: str) -> ClassOrder:
    """The order of that name."""
    return next(order for order in ORDERS if order.name == name)
