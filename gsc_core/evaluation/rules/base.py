"""What a threshold rule is: how it finds a threshold, and all that is said and asked about it."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field

from gsc_core.evaluation.effects import Effect
from gsc_core.evaluation.metrics import Floats

FEW = 20  # images of a kind, under which a threshold that weighs them is guesswork

Share = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class Evidence:
    """What a rule may look at: outlier scores of calibration images and of each OOD set."""

    calibration: Floats
    ood: Mapping[str, Floats]


@dataclass(frozen=True)
class Control:
    """How a page asks for one number of a rule.

    field: of the rule, which holds the number on the page divided by `scale`.
    key: names the number in the page's address; rules that share a key share what was entered.
    low, high, step, start: on the page; `start` is for a rule that does not have the number.
    slider: dragged instead of typed.
    """

    field: str
    key: str
    label: str
    low: float
    high: float
    step: float
    start: float
    scale: float = 1.0
    slider: bool = False
    format: str = "%g"
    help: str | None = None

    def within(self, number: float) -> float:
        """The nearest number that can be asked for."""
        return min(max(number, self.low), self.high)


class ThresholdRule(BaseModel):
    """How a threshold is found. Fields are its settings; `name` tells the rules apart in files.

    title, meaning, method: on the page the button, the sentence below it, the words of the field.
    example: how it is written on the command line, with likely numbers.
    controls: what the page asks for; see `Control`.
    needs_ood: it looks at OOD images, so half of them set the threshold and half show its effect.
    searched: it looks at how calibration images fall around the thresholds it compares, which
        flatters their count; a watch then promises less. A rule that does not, says so.
    by_hand: a person gives the threshold itself, which fits one detector's scores alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str

    title: ClassVar[str]
    meaning: ClassVar[str]
    method: ClassVar[str] = ""
    example: ClassVar[str]
    controls: ClassVar[tuple[Control, ...]] = ()
    needs_ood: ClassVar[bool] = True
    searched: ClassVar[bool] = True
    by_hand: ClassVar[bool] = False

    @abstractmethod
    def threshold(self, evidence: Evidence) -> float:
        """The outlier score up to which images are accepted; infinite where there is none to
        keep."""

    @abstractmethod
    def words(self) -> str:
        """The rule as one would order it: `keep 95 % of familiar images`."""

    @property
    def promised(self) -> float | None:
        """The share of ID images that calibration promises will be accepted; None promises
        nothing."""
        return None

    def fewest(self) -> tuple[int, int]:
        """How many calibration images, and OOD images of each set, it takes to tell a threshold."""
        return FEW, FEW

    def outcomes(self, effect: Effect) -> tuple[str, ...]:
        """What comes of the threshold beyond the shares that are accepted, in sentences."""
        return ()

    @classmethod
    def kind(cls) -> str:
        """The name of this rule in files: `keep_id`."""
        return str(cls.model_fields["name"].default)

    @classmethod
    def written(cls) -> str:
        """The name of this rule on the command line: `keep-id`."""
        return cls.kind().replace("_", "-")

    def answers(self) -> dict[str, float]:
        """What the page's controls show for this rule, by `Control.key`."""
        return {one.key: one.scale * getattr(self, one.field) for one in self.controls}

    @classmethod
    def answered(cls, answers: Mapping[str, float]) -> Self:
        """The rule that the page's controls ask for, see `answers`."""
        return cls.model_validate({one.field: answers[one.key] / one.scale for one in cls.controls})
