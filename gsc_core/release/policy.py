"""`policy.toml`: the limits of a release, agreed before the audit. Keys: docs/policy.md."""

import tomllib
from importlib.resources import files
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from gsc_core.errors import SpecError
from gsc_core.release.metrics import BY_NAME, Metric, Of, Sets, Unit

DECISION, BEST = "decision", "best"
"""Detectors by their part: the one of the run's threshold, and the one that did best."""

PER_SET = "each"
MAX_BYTES = 100_000
MAX_RULES = 200

Name = Annotated[str, Field(min_length=1, max_length=200)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Prevalence = Annotated[float, Field(gt=0, lt=1)]

_WANTED = {
    "at_most": "a number",
    "at_least": "a number",
    "prevalence": "a share between 0 and 1, such as 0.1",
}


class Rule(BaseModel):
    """One `[[rule]]`: a figure, whose it is, and its limit.

    `detector` is a name, `"decision"` (also where it is left out) or `"best"`. `ood_set` is a name,
    `"mean"` or `"each"`. Both are None where the figure has no such part. `prevalence` is the share
    of OOD images in a mix of both, where the figure is of one; None is the usual share.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    metric: str
    detector: Name | None = None
    ood_set: Name | None = Field(None, alias="set")
    prevalence: Prevalence | None = None
    at_most: Number | None = None
    at_least: Number | None = None

    @property
    def kind(self) -> Metric:
        """What is limited."""
        return BY_NAME[self.metric]

    @property
    def limit(self) -> float:
        """The number that the figure must not be above (`at_most`) or below (`at_least`)."""
        limit = self.at_most if self.at_least is None else self.at_least
        assert limit is not None
        return limit

    @field_validator("metric")
    @classmethod
    def _exists(cls, name: str) -> str:
        if name not in BY_NAME:
            raise ValueError(f"has the metric {_quoted(name)}: choose one of {', '.join(BY_NAME)}")
        return name

    @model_validator(mode="after")
    def _fits(self) -> "Rule":
        self._check_limit()
        metric = self.kind
        if self.detector is not None and metric.of is not Of.DETECTOR:
            raise ValueError(f"names a detector, but {self.metric} is of {metric.of.value}")
        if self.ood_set is not None and metric.sets is Sets.NONE:
            raise ValueError(f"names a set, but {self.metric} has no figure for each: leave it out")
        if self.prevalence is not None and not metric.mixed:
            raise ValueError(
                f"has a prevalence, but {self.metric} is not of a mix of images: leave it out"
            )
        if self.ood_set == Sets.MEAN.value and metric.sets is Sets.PER_SET:
            raise ValueError(f'asks for the mean of {self.metric}: give "each" or a name')
        return self

    def _check_limit(self) -> None:
        metric = self.kind
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("needs one limit: give either at_most or at_least")
        right, wrong = ("at_most", "at_least") if metric.low_is_good else ("at_least", "at_most")
        if getattr(self, right) is None:
            good = "low" if metric.low_is_good else "high"
            raise ValueError(f"has {wrong}, but {self.metric} is good when {good}: give {right}")
        if metric.unit is Unit.SHARE and not 0 <= self.limit <= 1:
            raise ValueError(
                f"has {right} = {self.limit:g}, but {self.metric} is a share from 0 to 1: write "
                "0.3 for 30 %"
            )
        if metric.unit is Unit.COUNT and not (self.limit >= 0 and self.limit.is_integer()):
            raise ValueError(f"has {right} = {self.limit:g}: give a whole number of images")
        if metric.unit is Unit.FLAG and self.limit != 0:
            raise ValueError(f"has {right} = {self.limit:g}: give at_most = 0, which allows none")


class Policy(BaseModel):
    """All limits of a release."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    rules: tuple[Rule, ...] = Field(alias="rule", min_length=1, max_length=MAX_RULES, strict=False)


def example() -> str:
    """A policy to start from, with comments."""
    return (files("gsc_core.release") / "example.toml").read_text(encoding="utf-8")


def read_policy(text: str | bytes) -> Policy:
    """The policy in a TOML text. Raises SpecError, which names the rule that is wrong."""
    if len(text) > MAX_BYTES:
        raise SpecError(f"A policy has at most {MAX_BYTES:,} bytes: this file is something else.")
    try:
        plain = text if isinstance(text, str) else text.decode("utf-8-sig")
        return Policy.model_validate(tomllib.loads(plain))
    except UnicodeDecodeError as error:
        raise SpecError("The policy is not text in UTF-8: save it as that.") from error
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"The policy is not TOML: {str(error).rstrip('.')}.") from error
    except RecursionError as error:
        raise SpecError("The policy is nested too deeply: it is a list of [[rule]].") from error
    except ValidationError as error:
        raise SpecError(_sentence(error)) from error


def _sentence(error: ValidationError) -> str:
    """The first thing that is wrong, with the rule's number."""
    first: Any = error.errors()[0]
    place, kind = first["loc"], first["type"]
    if len(place) < 2:
        return _about_policy(kind, place)
    subject = f"Rule {place[1] + 1} of the policy"
    key = str(place[2]) if len(place) > 2 else ""
    match kind:
        case "value_error":
            return f"{subject} {first['ctx']['error']}."
        case "missing":
            return f"{subject} has no {key}: choose one of {', '.join(BY_NAME)}."
        case "extra_forbidden":
            keys = "metric, detector, set, prevalence, at_most and at_least"
            return f"{subject} has the unknown key {_quoted(key)}: the keys are {keys}."
        case "model_type":
            return f"{subject} is not a table: begin each rule with [[rule]]."
        case _:
            wanted = _WANTED.get(key, "a name in quotes")
            return f"{subject} has a wrong {key}: give {wanted}."


def _about_policy(kind: str, place: tuple[Any, ...]) -> str:
    if kind == "extra_forbidden":
        return f"The policy has the unknown key {_quoted(place[0])}: it holds only [[rule]] tables."
    if kind == "too_long":
        return f"The policy has more than {MAX_RULES} rules: leave some out."
    return "The policy has no rules: begin each with [[rule]]."


def _quoted(name: object) -> str:
    text = "".join(c if c.isprintable() else " " for c in str(name))
    return f'"{text[:60]}…"' if len(text) > 60 else f'"{text}"'
