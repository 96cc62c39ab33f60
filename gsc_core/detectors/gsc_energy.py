"""GSC as two public re-implementations read its paper: the energy that is left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gsc_core.detectors.base import Fit, knob
from gsc_core.detectors.gsc import READINGS
from gsc_core.detectors.short_circuit import PooledGSC


@dataclass(eq=False)
class EnergyGSC(PooledGSC):
    """Energy of all logits after the top 5 % of |g| are set to zero at the penultimate feature.

    There the gradient of the predicted logit is its row of the last weights, and the first-order
    logits are exact.
    """

    share: float = knob(0.05, "share of the coordinates to short-circuit", low=0.0, high=1.0)
    reading: str = knob("energy", "what is read from the new logits", choices=READINGS)
    direction: str = knob(
        "published",
        "whether less energy means unfamiliar, or surrogate images decide",
        choices=("learned", "published"),
    )

    name: ClassVar[str] = "gsc-energy"
    title: ClassVar[str] = "Gradient Short-Circuit, energy left"
    about: ClassVar[str] = (
        "The method as two public re-implementations read the paper: the energy that is left when "
        "the features that the prediction relies on most are gone."
    )
    fails_on: ClassVar[str | None] = "EfficientNets, where it separates little"
    explains: ClassVar[bool] = False  # of a pooled feature there is nothing to see
    fitted_with: ClassVar[Fit] = Fit.IMAGES
