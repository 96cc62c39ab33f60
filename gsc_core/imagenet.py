"""ImageNet-1k's thousand classes, which ship with the product: WordNet ids and English names.

`imagenet_classes.tsv` has a line a class in the order of every library's outputs. The ids are the
synsets of ILSVRC 2012 (WordNet 3.0), the names the short ones that torchvision gives its trained
models (BSD-3-Clause), in the order of timm's ImageNet tables (Apache-2.0).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

CLASSES = 1000
_WORDNET_ID = re.compile(r"(?<![A-Za-z0-9])n\d{8}(?!\d)")


def wordnet_ids() -> tuple[str, ...]:
    """Such as `n04275548`, in order of the outputs."""
    return _columns()[0]


def class_names() -> tuple[str, ...]:
    """Such as `spider web`, in order of the outputs; all different."""
    return _columns()[1]


def readable(names: Sequence[str] | None) -> tuple[str, ...] | None:
    """English names where `names` are the WordNet ids in their order, else the same names."""
    if names is None:
        return None
    return class_names() if tuple(names) == wordnet_ids() else tuple(names)


def is_meant_by(labels: Iterable[str | None], num_classes: int) -> bool:
    """Whether a model of so many classes is ImageNet's, as labels or file names of images show.

    They do where one holds a WordNet id of these classes.
    """
    if num_classes != CLASSES:
        return False
    classes = frozenset(wordnet_ids())
    return any(classes.intersection(_WORDNET_ID.findall(label)) for label in labels if label)


@functools.cache
def _columns() -> tuple[tuple[str, ...], tuple[str, ...]]:
    text = (Path(__file__).parent / "imagenet_classes.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()]
    return tuple(row[0] for row in rows), tuple(row[1] for row in rows)
