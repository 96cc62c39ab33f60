"""What may be said of a detector without running it: for pages, which hold no engine.

`catalogue.facts_of` derives it from the detector's class.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from gsc_core.errors import SpecError
from gsc_core.run.detector_names import name_in

AUTO = "auto"
"""The value of a setting that is left to the detector."""

T = TypeVar("T")


@dataclass(frozen=True)
class Paper:
    """Where a method was published."""

    title: str
    venue: str
    year: int
    url: str


class Family(StrEnum):
    """What a detector goes by; two of one family tend to err on the same images."""

    SHORT_CIRCUIT = "short-circuit"
    FUSION = "fusion"
    LOGITS = "logits"
    GRADIENT = "gradient"
    SHAPING = "shaping"
    BOUNDARY = "boundary"
    DISTANCE = "distance"
    OTHER = "other"


class Knob(BaseModel):
    """A setting as app and CLI show it; `former`: as runs made before it existed mean it."""

    model_config = ConfigDict(frozen=True)

    name: str
    default: Any
    about: str
    low: int | float | None = None
    high: int | float | None = None
    choices: tuple[str, ...] = ()
    former: Any = None

    def parse(self, value: Any) -> Any:
        """`value` in this knob's type and limits; raises SpecError otherwise."""
        kind = type(self.default)
        try:
            parsed = kind(value)
        except (TypeError, ValueError):
            raise SpecError(f"{self.name}={value!r} is not a {kind.__name__}.") from None
        if self.choices and parsed not in self.choices:
            raise SpecError(f"{self.name}={value!r} must be one of {', '.join(self.choices)}.")
        if self.low is not None and not parsed >= self.low:  # NaN is not either
            raise SpecError(f"{self.name}={value} must be at least {self.low}.")
        if self.high is not None and not parsed <= self.high:
            raise SpecError(f"{self.name}={value} must be at most {self.high}.")
        return parsed


class DetectorFacts(BaseModel):
    """A detector as `gsc detectors --json` prints it.

    fails_on: where it is known to fail, in a few words. reads: what of the one pass. fitted_with:
    `images`, `labels`, `surrogates`. extra_passes: in forward passes, beyond the one. explains: it
    short-circuits channels that can be shown. searches: it tries many settings on surrogates.
    parts: detectors that are scored beside it, as it is usually set.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    title: str
    about: str
    paper: str
    family: Family
    fails_on: str | None
    reads: tuple[str, ...]
    fitted_with: tuple[str, ...]
    extra_passes: float
    settings: tuple[Knob, ...]
    explains: bool
    searches: bool
    parts: tuple[str, ...]

    def scored_beside(self, values: Mapping[str, Any]) -> tuple[str, ...]:
        """The detectors that are scored beside it with these settings, by name."""
        partner, weights = (values.get(knob, AUTO) for knob in ("partner", "weights"))
        if partner != AUTO:
            return (self.parts[0], partner)
        if weights != AUTO:
            given = {item.partition("=")[0].strip() for item in weights.split("/")}
            return tuple(part for part in self.parts if part in given)
        return self.parts


def parsed_settings(
    detector: str, knobs: Sequence[Knob], values: Mapping[str, Any]
) -> dict[str, Any]:
    """Each value as its knob takes it; raises SpecError for an unknown knob or value."""
    by_name = {knob.name: knob for knob in knobs}
    for name in values:
        if name not in by_name:
            near = difflib.get_close_matches(name, by_name, n=3) or list(by_name)
            offer = f"; it has {', '.join(near)}" if near else ""
            raise SpecError(f"Detector {detector} has no setting {name!r}{offer}.")
    return {name: by_name[name].parse(value) for name, value in values.items()}


def named(detector: str, by_name: Mapping[str, T]) -> T:
    """What is known of a detector by its name; raises SpecError with the nearest names.

    One that was renamed is there by its former name too.
    """
    if (name := name_in(by_name, detector)) in by_name:
        return by_name[name]
    near = difflib.get_close_matches(detector.lower(), by_name, n=3, cutoff=0.4) or list(by_name)
    raise SpecError(f"There is no detector {detector!r}; the nearest: {', '.join(near)}.")
