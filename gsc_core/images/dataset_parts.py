"""A data set's root: folders called train and test, which are its parts and no classes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

_KINDS: Final = {
    "test": "test tests testing testset tst eval evaluation holdout",
    "validation": "val valid validation validate valset dev devel",
    "training": "train training trainset trn trainval",
}
_KIND_OF: Final = {word: kind for kind, words in _KINDS.items() for word in words.split()}
_FILLERS: Final = frozenset({"set", "data", "images", "image", "imgs", "img", "split", "folder"})


@dataclass(frozen=True)
class Parts:
    """The parts of a data set: folders by their paths, the one to audit first."""

    folders: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """What the folders are called."""
        return tuple(PurePosixPath(folder).name for folder in self.folders)


def parts_of(names: Sequence[str]) -> Parts | None:
    """The parts that images called `names`, paths relative to one root, lie in; None if in none.

    Two folders beside each other must be called as different parts are, in any of the usual
    spellings and with the same words around (`seg_train`, `seg_test`): a class may be called train.
    They count where most of the images are in them, and where they are the only such folders: below
    each of several classes they say nothing of the classes.
    """
    below: defaultdict[PurePosixPath, set[str]] = defaultdict(set)
    for name in names:
        path = PurePosixPath(name)
        for folder in (parent for parent in path.parents if parent.name):
            below[folder.parent].add(folder.name)
    candidates = [
        [(parent / folder).as_posix() for folder in folders]
        for parent, children in below.items()
        if (folders := _parts_among(children))
    ]
    if len(candidates) != 1:
        return None
    within = sum(name.startswith(tuple(f"{folder}/" for folder in candidates[0])) for name in names)
    return Parts(tuple(candidates[0])) if 2 * within > len(names) else None


def _parts_among(folders: set[str]) -> list[str]:
    """Folders called as parts, test before validation before training; none of a single kind."""
    by_words: defaultdict[frozenset[str], dict[str, str]] = defaultdict(dict)
    for folder in sorted(folders):
        words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", folder)]
        kinds = [_KIND_OF[word] for word in words if word in _KIND_OF]
        around = frozenset(word for word in words if word not in _KIND_OF and word not in _FILLERS)
        if len(kinds) == 1:
            by_words[around][folder] = kinds[0]
    order = list(_KINDS)
    for named in by_words.values():
        if len(set(named.values())) > 1:
            return sorted(named, key=lambda folder: order.index(named[folder]))
    return []


def repeated_folders(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Folders that hold the same folders, and those: the classes may be the ones or the others.

    Folders common to all images are passed by. None unless there are two or more of both.
    """
    paths = [PurePosixPath(name).parts[:-1] for name in names]
    while paths and all(len(path) > 1 for path in paths) and len({path[0] for path in paths}) == 1:
        paths = [path[1:] for path in paths]
    if not paths or not all(len(path) > 1 for path in paths):
        return None
    inner: defaultdict[str, set[str]] = defaultdict(set)
    for path in paths:
        inner[path[0]].add(path[1])
    every = set().union(*inner.values())
    same = (
        len(inner) > 1 and len(every) > 1 and all(2 * len(s) > len(every) for s in inner.values())
    )
    return (tuple(sorted(inner)), tuple(sorted(every))) if same else None
