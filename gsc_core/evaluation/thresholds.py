"""Where to set the alarm: the rules that turn scores into a threshold.

An image is accepted when its outlier score is at most the threshold; what scores higher is flagged.
A threshold is set on some images and its effect is told on others. A new rule is one class in
`gsc_core.evaluation.rules` and one line in `RULES`.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import PlainValidator, SerializeAsAny, ValidationError

from gsc_core.errors import SpecError
from gsc_core.evaluation.conformal import (
    Promise,
    keep_id,
    promise,
    smallest_calibration,
    true_share,
)
from gsc_core.evaluation.cutpoints import catch_ood, youden
from gsc_core.evaluation.effects import LEVEL, Acceptance, Effect, acceptance, effect
from gsc_core.evaluation.rules.base import Control, Evidence, ThresholdRule
from gsc_core.evaluation.rules.catch_ood import CatchOod
from gsc_core.evaluation.rules.cost import Cost
from gsc_core.evaluation.rules.f1 import F1
from gsc_core.evaluation.rules.keep_id import KeepId
from gsc_core.evaluation.rules.typed import Typed
from gsc_core.evaluation.rules.youden import Youden

__all__ = [
    "F1",
    "LEVEL",
    "RULES",
    "Acceptance",
    "CatchOod",
    "Control",
    "Cost",
    "Effect",
    "Evidence",
    "KeepId",
    "Promise",
    "Rule",
    "ThresholdRule",
    "Typed",
    "Youden",
    "acceptance",
    "catch_ood",
    "effect",
    "examples",
    "format_rule",
    "keep_id",
    "kinds",
    "parse_rule",
    "promise",
    "smallest_calibration",
    "true_share",
    "youden",
]

RULES: tuple[type[ThresholdRule], ...] = (
    KeepId,
    CatchOod,
    Youden,
    F1,
    Cost,
    Typed,
)
"""Every rule, in the order in which the command line and the app offer them."""


def kinds() -> dict[str, type[ThresholdRule]]:
    """The rules by their names in files."""
    return {rule.kind(): rule for rule in RULES}


def _of_its_kind(value: object) -> ThresholdRule:
    """A rule from what a file holds: its `name` says which."""
    if isinstance(value, ThresholdRule):
        return value
    name = value.get("name") if isinstance(value, Mapping) else None
    kind = kinds().get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError("no rule for a threshold")
    return kind.model_validate(value)


Rule = Annotated[SerializeAsAny[ThresholdRule], PlainValidator(_of_its_kind)]
"""A field of a document that holds any of the rules."""


def examples() -> list[str]:
    """How each rule is written on the command line."""
    return [rule.example for rule in RULES]


def format_rule(rule: ThresholdRule) -> str:
    """A rule as `parse_rule` reads it, such as `keep-id:share=0.95`."""
    values = rule.model_dump(exclude={"name"})
    settings = ",".join(f"{key}={value!r}" for key, value in values.items())
    return rule.written() + (f":{settings}" if settings else "")


def parse_rule(text: str) -> ThresholdRule:
    """The rule of a command line: a name, and behind a colon its one number or `key=number` pairs.

    `keep-id:0.95`, `youden`, `f1`, `cost:miss=10,alarm=1,prevalence=0.01` and so on, see
    `examples`. Raises SpecError for anything else.
    """
    name, _, rest = text.strip().partition(":")
    parts = [part.partition("=") for part in rest.split(",")] if rest else []
    kind = next((rule for rule in RULES if rule.written() == name), None)
    if kind is not None:
        own = [field for field in kind.model_fields if field != "name"]
        # A number alone belongs to the one setting that the rule has.
        given = {key if same else own[0]: value or key for key, same, value in parts if own}
        if len(given) == len(parts) and all(same or len(own) == 1 for _, same, _ in parts):
            try:
                return kind.model_validate(given)
            except ValidationError:
                pass
    *first, last = examples()
    raise SpecError(
        f'"{text}" is not a threshold rule: write {", ".join(first)} or {last} (shares lie between '
        "0 and 1)."
    )
