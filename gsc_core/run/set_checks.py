"""What an audit noticed about its image sets, as the document of a run holds it."""

from __future__ import annotations

from collections.abc import Collection, Sized
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field

Share = Annotated[float, Field(ge=0, le=1)]


class CopyPair(BaseModel, frozen=True):
    """Two images that show the same, by their rows in `scores.parquet`.

    likeness: of their shapes, 0 to 1. mirrored: whether one is the other's mirror image.
    """

    row: int = Field(ge=0)
    of: int = Field(ge=0)
    likeness: Share
    mirrored: bool = False


class NearCopies(BaseModel, frozen=True):
    """The images of one set that show the same as one of another; of many, the pairs most alike.

    tested: images of the set. whole: whether all images of both sets were compared; of large sets
    a random part is. near: those whose coarse shapes are like one's of the other set; looked_at: of
    these, those that were compared more finely; images: the copies.
    """

    set: str
    of: str
    images: int = Field(ge=0)
    tested: int = Field(ge=0)
    whole: bool = True
    near: int = Field(ge=0)
    looked_at: int = Field(ge=0)
    pairs: tuple[CopyPair, ...] = ()

    def without(self, rows: Collection[int]) -> Self:
        """Without these images on either side."""
        left = tuple(pair for pair in self.pairs if pair.row not in rows and pair.of not in rows)
        return self.model_copy(update=_fewer(self.images, self.pairs, left) | {"pairs": left})


class FamiliarLooking(BaseModel, frozen=True):
    """OOD images that look familiar in every respect, the most familiar first; of many the first.

    The classifier is as sure of them as of the middle ID image, most detectors place them in the
    more familiar half of ID images, and so does their distance from calibration images, where these
    have some of the class.
    """

    set: str
    images: int = Field(ge=0)
    tested: int = Field(ge=0)
    rows: tuple[int, ...] = ()

    def without(self, rows: Collection[int]) -> Self:
        """Without these images."""
        left = tuple(row for row in self.rows if row not in rows)
        return self.model_copy(update=_fewer(self.images, self.rows, left) | {"rows": left})


class LabelDoubt(BaseModel, frozen=True):
    """An ID or calibration image whose label is likely wrong: the classifier says another class.

    confidence: in the class it says; self_confidence: in the label; both at the temperature that
        fits, where one does.
    """

    row: int = Field(ge=0)
    label: int = Field(ge=0)
    predicted: int = Field(ge=0)
    confidence: Share
    self_confidence: Share


class LabelDoubts(BaseModel, frozen=True):
    """Labels that are likely wrong, of so many `labelled` images; of many the worst, first."""

    images: int = Field(ge=0)
    labelled: int = Field(ge=0)
    doubts: tuple[LabelDoubt, ...] = ()

    def without(self, rows: Collection[int]) -> Self:
        """Without these images."""
        left = tuple(doubt for doubt in self.doubts if doubt.row not in rows)
        return self.model_copy(update=_fewer(self.images, self.doubts, left) | {"doubts": left})


def _fewer(images: int, named: Sized, left: Sized) -> dict[str, Any]:
    """The count after some of those that are named are left out: others are not named."""
    return {"images": images - len(named) + len(left)}


class SetChecks(BaseModel, frozen=True):
    """What was noticed about the image sets beside each other.

    limit: the likeness from which on two images are called copies: more than calibration images
        and those most like them usually have.
    labels: None without labels. failed: the comparison did not come to its end, by our fault.
    """

    limit: float = 1.0
    copies: tuple[NearCopies, ...] = ()
    familiar_looking: tuple[FamiliarLooking, ...] = ()
    labels: LabelDoubts | None = None
    failed: bool = False

    def without(self, rows: Collection[int]) -> Self:
        """What is left to be noticed when these images are left out."""
        copies = (one.without(rows) for one in self.copies)
        looking = (one.without(rows) for one in self.familiar_looking)
        return self.model_copy(
            update={
                "copies": tuple(one for one in copies if one.images),
                "familiar_looking": tuple(one for one in looking if one.images),
                "labels": None if self.labels is None else self.labels.without(rows),
            }
        )
