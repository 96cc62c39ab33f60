"""A set of images: its members by digest, what was left out and why, and how to divide it."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from gsc_core.errors import ImageError, SpecError
from gsc_core.errors.questions import Question, Setting
from gsc_core.images.sources.address import BytesAt


@dataclass(frozen=True)
class ImageFile:
    """One image: where it lies, its POSIX name in the set, the digest of its bytes, its label.

    It lies in a file, or at an address in a bucket, a tar shard or a Parquet table.

    `width` and `height` in pixels are those of the header, unturned; `bytes` are the file's. They
    are 0 where nobody looked.
    """

    path: BytesAt
    name: str
    sha256: str
    label: str | None = None
    width: int = 0
    height: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Broken:
    """A file that should be an image and cannot be read, and the reason in plain words."""

    name: str
    reason: str


@dataclass(frozen=True)
class Duplicate:
    """An image with the very bytes of another."""

    name: str
    same_as: str


@dataclass(frozen=True)
class ImageSet:
    """Images in the order of their names, each content once.

    `broken` and `duplicates` tell what reading left out. They belong to the set as it was read:
    `without` and `split` give sets with none. `label_source` says in a sentence where the labels
    come from, and which tables were not used, empty where there is nothing to say; `label_question`
    what has to be asked before they are used, in words that go on from the set's name.
    """

    name: str
    images: tuple[ImageFile, ...]
    broken: tuple[Broken, ...] = field(default=())
    duplicates: tuple[Duplicate, ...] = field(default=())
    label_source: str = ""
    label_question: Question | None = None

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 over the sorted digests of the images, whatever they are called."""
        members = "\n".join(sorted(image.sha256 for image in self.images))
        return hashlib.sha256(members.encode()).hexdigest()

    def with_sure_labels(
        self, called: str | None = None, instead: dict[Setting, Setting] | None = None
    ) -> "ImageSet":
        """The set itself; raises ImageError, with the question, where its labels are doubtful.

        `called` is how the set is named there, usually by its own name; `instead` the settings that
        answer for it, where they are not those of the ID images.
        """
        if self.label_question is not None:
            raise ImageError.asking(self.label_question.about(called or self.name, instead))
        return self

    def without(self, names: Iterable[str]) -> "ImageSet":
        """Leave out the images of these names."""
        gone = set(names)
        return self._with(image for image in self.images if image.name not in gone)

    def split(self, share: float, seed: int) -> tuple["ImageSet", "ImageSet"]:
        """Divide at random into a calibration set with this share of the images, and the rest.

        Each label keeps the share as nearly as whole images allow, and a label of two or more
        images is in both. The same set, share and seed always divide alike.

        Raises SpecError when the share is not between 0 and 1, ImageError with fewer than two
        images.
        """
        if not 0 < share < 1:
            raise SpecError(f"The calibration share is {share:g}: give one between 0 and 1.")
        if len(self) < 2:
            raise ImageError(f"{self.name} holds too few images to divide: give at least two.")
        drawn = self._drawn(share, np.random.default_rng(seed))
        return (
            self._with(image for image in self.images if image.name in drawn),
            self._with(image for image in self.images if image.name not in drawn),
        )

    def _with(self, images: Iterable[ImageFile]) -> "ImageSet":
        return replace(self, images=tuple(images), broken=(), duplicates=())

    def _drawn(self, share: float, random: np.random.Generator) -> set[str]:
        """Draw from each label in turn; the fraction a label leaves over is carried to the next."""
        groups: defaultdict[str | None, list[str]] = defaultdict(list)
        for image in self.images:
            groups[image.label].append(image.name)
        strata = [groups[label] for label in sorted(groups, key=lambda text: (text is None, text))]
        random.shuffle(strata)
        ends = np.cumsum([len(names) for names in strata])
        counts = np.diff(np.floor(ends * share + 0.5), prepend=0).astype(int)
        drawn: set[str] = set()
        for names, count in zip(strata, counts, strict=True):
            both = 1 if len(names) > 1 else 0
            order = random.permutation(len(names))
            drawn.update(names[at] for at in order[: np.clip(count, both, len(names) - both)])
        return self._neither_empty(drawn)

    def _neither_empty(self, drawn: set[str]) -> set[str]:
        if not drawn:
            return {self.images[0].name}
        return drawn - {self.images[0].name} if len(drawn) == len(self) else drawn


def shared(a: ImageSet, b: ImageSet) -> tuple[Duplicate, ...]:
    """List the images of `a` that are in `b` too, byte for byte.

    `name` is the name in `a`, `same_as` the one in `b`: to part them,
    `a.without(each.name for each in shared(a, b))`.
    """
    names = {image.sha256: image.name for image in b.images}
    return tuple(
        Duplicate(image.name, names[image.sha256]) for image in a.images if image.sha256 in names
    )
