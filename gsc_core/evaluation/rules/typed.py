"""A threshold that a person sets by hand."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from gsc_core.evaluation.rules.base import Evidence, ThresholdRule


class Typed(ThresholdRule):
    """A value that a person chose."""

    name: Literal["typed"] = "typed"
    value: Annotated[float, Field(allow_inf_nan=False)]

    title: ClassVar[str] = "By hand"
    meaning: ClassVar[str] = "You choose the score yourself."
    example: ClassVar[str] = "typed:1.23"
    needs_ood: ClassVar[bool] = False
    searched: ClassVar[bool] = False
    by_hand: ClassVar[bool] = True

    def threshold(self, evidence: Evidence) -> float:
        """The value, whatever the evidence."""
        return self.value

    def words(self) -> str:
        """Who set it."""
        return "set by hand"

    def fewest(self) -> tuple[int, int]:
        """None: no image is weighed."""
        return 0, 0
