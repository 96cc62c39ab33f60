"""GSC as a summary of its paper describes it, with the direction that is given there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gsc_core.detectors.base import Fit, knob
from gsc_core.detectors.gsc import GSC


@dataclass(eq=False)
class DropGSC(GSC):
    """As summarised: top 20 % of |g|, zero, first order, larger drop of confidence = more OOD.

    The paper's text and code could not be read: a published summary of it says this much. Until
    then it was called `gsc-published`.
    """

    direction: str = knob(
        "published",
        "whether a larger drop means unfamiliar, or surrogate images decide",
        choices=("learned", "published"),
    )

    name: ClassVar[str] = "gsc-drop"
    title: ClassVar[str] = "Gradient Short-Circuit, drop of confidence"
    about: ClassVar[str] = (
        "The method as a summary of the paper describes it, with the direction given there, which "
        "can point the wrong way on a real model."
    )
    fails_on: ClassVar[str | None] = "EfficientNets, where it points the wrong way"
    fitted_with: ClassVar[Fit] = Fit.IMAGES
