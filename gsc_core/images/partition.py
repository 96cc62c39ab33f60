"""Which images calibrate and which test: the same image never does both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gsc_core.errors import ImageError
from gsc_core.images.imageset import Broken, Duplicate, ImageSet, shared


@dataclass(frozen=True)
class LeftOut:
    """What of a set is not scored: broken files, and copies within it or of another set."""

    broken: tuple[Broken, ...]
    duplicates: tuple[Duplicate, ...]


@dataclass(frozen=True)
class Partition:
    """Sets without common images: ID to calibrate on, ID to test (`"id"`), and the OOD sets."""

    calibration: ImageSet
    test: Mapping[str, ImageSet]
    left_out: Mapping[str, LeftOut]

    def every(self) -> dict[str, ImageSet]:
        """All sets by name."""
        return {"calibration": self.calibration, **self.test}


def partition(
    id_images: ImageSet, calibration: ImageSet | float, ood: Mapping[str, ImageSet], seed: int
) -> Partition:
    """Part the sets of an audit.

    `calibration` is a set of its own, or the share of `id_images` to set apart. An image that is in
    both is tested on no more; an OOD image that is an ID image too cannot be judged and is left
    out. Raises ImageError when nothing remains of a set.
    """
    left_out = {"id": LeftOut(id_images.broken, id_images.duplicates)}
    if isinstance(calibration, float):
        if len(id_images) < 2:
            raise ImageError(
                "The ID set has one readable image; an audit needs at least two, to calibrate on "
                "one part and test on the other."
            )
        calibration, test = id_images.split(calibration, seed)
    else:
        twins = shared(id_images, calibration)
        test = id_images.without(twin.name for twin in twins)
        left_out["id"] = LeftOut(id_images.broken, id_images.duplicates + twins)
        left_out["calibration"] = LeftOut(calibration.broken, calibration.duplicates)
        if not len(test):
            raise ImageError("Every ID image is a calibration image too: give others to test.")
    sets = {"id": test}
    for name, ood_images in ood.items():
        in_test = shared(ood_images, test)
        rest = ood_images.without(twin.name for twin in in_test)
        twins = in_test + shared(rest, calibration)
        sets[name] = ood_images.without(twin.name for twin in twins)
        left_out[name] = LeftOut(ood_images.broken, ood_images.duplicates + twins)
        if not len(sets[name]):
            raise ImageError(f"Every image of {name} is an ID image too: give others as OOD.")
    return Partition(calibration, sets, left_out)
