"""A question that has to be answered before the work goes on: data, which each place words itself.

The command line names its options, the app what to press, Python the fields of a specification.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError


class Setting(StrEnum):
    """What an answer sets: a field of `ModelSpec` or `AuditSpec`, or a folder instead of a set."""

    ARCHITECTURE = "architecture"
    OPTIONS = "options"
    WEIGHTS = "weights"
    PREPROCESSING = "preprocessing"
    LABELS = "labels"
    LABEL_ORDER = "label_order"
    PART = "part"
    CALIBRATION_LABELS = "calibration_labels"
    CALIBRATION_PART = "calibration_part"


class Choice(BaseModel):
    """One setting and its value, as a person would type it (`aux_logits=false` of `OPTIONS`)."""

    model_config = ConfigDict(frozen=True)

    setting: Setting
    value: str


class Answer(BaseModel):
    """What is chosen together, and when that is right, in words after an `if`."""

    model_config = ConfigDict(frozen=True)

    choices: tuple[Choice, ...]
    when: str = ""

    @classmethod
    def of(cls, setting: Setting, value: str, when: str = "") -> Answer:
        """An answer of a single choice."""
        return cls(choices=(Choice(setting=setting, value=value),), when=when)


@dataclass(frozen=True)
class Wording:
    """How a place words answers: the verb before them, a choice, and the place of a setting.

    `join` is between choices that belong together, `quotes` are around them.
    """

    verb: str
    choice: Callable[[Choice], str]
    field: Callable[[Setting], str]
    join: str = " with "
    quotes: tuple[str, str] = ("", "")

    def answer(self, answer: Answer) -> str:
        """What to give or press, without when it is right."""
        return self.join.join(map(self.choice, answer.choices))

    def offer(self, answer: Answer) -> str:
        """The same in a sentence."""
        opened, closed = self.quotes
        when = f" ({answer.when})" if answer.when else ""
        return f"{opened}{self.answer(answer)}{closed}{when}"


class Question(BaseModel):
    """What is doubtful, and how it can be settled.

    Attributes:
        doubt: a sentence without its full stop.
        answers: what may be chosen; none where only a person can say.
        otherwise: what else may be done, as `remove the wrong ones`.
        fields: the settings in which that is said.
    """

    model_config = ConfigDict(frozen=True)

    doubt: str
    answers: tuple[Answer, ...] = ()
    otherwise: str = ""
    fields: tuple[Setting, ...] = ()

    def worded(self, wording: Wording) -> str:
        """The question in one sentence."""
        ways = []
        if self.answers:
            ways.append(f"{wording.verb} {' or '.join(map(wording.offer, self.answers))}")
        if self.otherwise:
            where = f" ({', '.join(map(wording.field, self.fields))})" if self.fields else ""
            ways.append(f"{self.otherwise}{where}")
        return f"{self.doubt}: {', or '.join(ways)}."

    def __str__(self) -> str:
        return self.worded(_IN_PYTHON)

    def about(self, called: str, instead: dict[Setting, Setting] | None = None) -> Question:
        """The same of a set that is called so, with other settings where its answers go there."""
        instead = instead or {}
        answers = tuple(
            Answer(
                choices=tuple(
                    Choice(setting=instead.get(c.setting, c.setting), value=c.value)
                    for c in answer.choices
                ),
                when=answer.when,
            )
            for answer in self.answers
        )
        return self.model_copy(update={"doubt": f"{called} {self.doubt}", "answers": answers})

    @classmethod
    def read(cls, stored: Any) -> Question | None:
        """A question as it was stored; None where there is none, or it cannot be read."""
        try:
            return None if stored is None else cls.model_validate(stored)
        except ValidationError:
            return None


_PARTS = (Setting.PART, Setting.CALIBRATION_PART)
_IN_PYTHON = Wording(
    "choose",
    lambda choice: (
        f"its folder {choice.value} alone"
        if choice.setting in _PARTS
        else f"{choice.setting} {choice.value}"
    ),
    str,
)
OF_CALIBRATION = {
    Setting.LABELS: Setting.CALIBRATION_LABELS,
    Setting.PART: Setting.CALIBRATION_PART,
}
"""Where the answers of calibration images go that are a set of their own."""
