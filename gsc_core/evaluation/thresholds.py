"""Where to set the alarm: the rules that turn scores into a threshold.

A picture passes when its outlier score is at most the threshold; what scores higher is flagged.
A threshold is set on some pictures and its effect is told on others. A new rule is one class here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gsc_core.errors import SpecError
from gsc_core.evaluation.conformal import Promise, keep_id, promise, smallest_calibration
from gsc_core.evaluation.cutpoints import best_f1, catch_ood, least_cost, youden
from gsc_core.evaluation.effects import LEVEL, Effect, Passed, effect, passed
from gsc_core.evaluation.metrics import Floats

__all__ = [
    "F1",
    "LEVEL",
    "CatchOod",
    "Cost",
    "Effect",
    "Evidence",
    "KeepId",
    "Passed",
    "Promise",
    "Rule",
    "Typed",
    "Youden",
    "catch_ood",
    "effect",
    "keep_id",
    "parse_rule",
    "passed",
    "promise",
    "smallest_calibration",
    "youden",
]

Share = Annotated[float, Field(gt=0, lt=1)]
Price = Annotated[float, Field(gt=0, le=1e9)]


@dataclass(frozen=True)
class Evidence:
    """What a rule may look at: outlier scores of calibration images and of each OOD set."""

    calibration: Floats
    strangers: Mapping[str, Floats]


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    needs_strangers: ClassVar[bool] = True


class KeepId(_Rule):
    """Let a share of ID pictures through; needs calibration scores alone."""

    name: Literal["keep_id"] = "keep_id"
    share: Share
    needs_strangers: ClassVar[bool] = False

    def threshold(self, evidence: Evidence) -> float:
        """See `conformal.keep_id`."""
        return keep_id(evidence.calibration, self.share)


class CatchOod(_Rule):
    """Flag a share of OOD pictures, each set weighing the same."""

    name: Literal["catch_ood"] = "catch_ood"
    share: Share

    def threshold(self, evidence: Evidence) -> float:
        """See `cutpoints.catch_ood`."""
        return catch_ood(evidence.strangers, self.share)


class Youden(_Rule):
    """The largest gap between ID and OOD let through (Youden, 1950), each set weighing the same."""

    name: Literal["youden"] = "youden"

    def threshold(self, evidence: Evidence) -> float:
        """See `cutpoints.youden`."""
        return youden(evidence.calibration, evidence.strangers)


class F1(_Rule):
    """The best balance of catching OOD and of alarms that are right, at a share of OOD pictures."""

    name: Literal["f1"] = "f1"
    prevalence: Share = 0.5

    def threshold(self, evidence: Evidence) -> float:
        """See `cutpoints.best_f1`."""
        return best_f1(evidence.calibration, evidence.strangers, self.prevalence)


class Cost(_Rule):
    """The least expected cost: of an OOD picture that passes, and of an ID picture flagged."""

    name: Literal["cost"] = "cost"
    miss: Price
    alarm: Price
    prevalence: Share

    def threshold(self, evidence: Evidence) -> float:
        """See `cutpoints.least_cost`."""
        known, strangers = evidence.calibration, evidence.strangers
        return least_cost(known, strangers, self.miss, self.alarm, self.prevalence)


class Typed(_Rule):
    """A value that a person chose."""

    name: Literal["typed"] = "typed"
    value: Annotated[float, Field(allow_inf_nan=False)]
    needs_strangers: ClassVar[bool] = False

    def threshold(self, evidence: Evidence) -> float:
        """The value, whatever the evidence."""
        return self.value


AnyRule = KeepId | CatchOod | Youden | F1 | Cost | Typed
Rule = Annotated[AnyRule, Field(discriminator="name")]
"""How a threshold is found. A new rule is one class and one word in the line above."""

_KINDS: dict[str, type[AnyRule]] = {
    kind.model_fields["name"].default.replace("_", "-"): kind for kind in get_args(AnyRule)
}


def parse_rule(text: str) -> AnyRule:
    """The rule of a command line: a name, and behind a colon its one number or `key=number` pairs.

    `keep-id:0.95`, `catch-ood:0.9`, `youden`, `f1`, `f1:prevalence=0.1`, `typed:1.23`,
    `cost:miss=10,alarm=1,prevalence=0.01`. Raises SpecError for anything else.
    """
    name, _, rest = text.strip().partition(":")
    parts = [part.partition("=") for part in rest.split(",")] if rest else []
    if name in _KINDS:
        own = [field for field in _KINDS[name].model_fields if field != "name"]
        # A number alone belongs to the one setting that the rule has.
        given = {key if same else own[0]: value or key for key, same, value in parts if own}
        if len(given) == len(parts) and all(same or len(own) == 1 for _, same, _ in parts):
            try:
                return _KINDS[name].model_validate(given)
            except ValidationError:
                pass
    raise SpecError(
        f'"{text}" is no rule for a threshold: write keep-id:0.95, catch-ood:0.9, youden, '
        "f1:prevalence=0.1, cost:miss=10,alarm=1,prevalence=0.01 or typed:1.23 (shares lie "
        "between 0 and 1)."
    )
