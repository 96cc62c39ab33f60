"""GSC as it was published, with its published direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gsc_core.detectors.base import Fit, knob
from gsc_core.detectors.gsc import GSC


@dataclass(eq=False)
class PublishedGSC(GSC):
    """The method word for word: top 20 % of |g|, zero, first order, larger drop = more OOD."""

    direction: str = knob(
        "published",
        "whether a larger drop means unfamiliar, or surrogate images decide",
        choices=("learned", "published"),
    )

    name: ClassVar[str] = "gsc-published"
    title: ClassVar[str] = "Gradient Short-Circuit, as published"
    about: ClassVar[str] = (
        "The published method with its published direction, which can point the wrong way on a "
        "real model."
    )
    fitted_with: ClassVar[Fit] = Fit.IMAGES
