"""How much better a row is than the one it is compared with: as a verdict and in words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import pandas as pd


class Influence(StrEnum):
    """Whether with a part of the method fewer unfamiliar images are accepted on this model."""

    HELPS = "helps"
    HURTS = "hurts"
    SAME = "no difference"


@dataclass(frozen=True)
class Gain:
    """How much better on the same images, as a share, with its 95 % interval; below 0 = worse."""

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> Influence:
        """Better or worse only where the whole interval is."""
        if self.low > 0:
            return Influence.HELPS
        return Influence.HURTS if self.high < 0 else Influence.SAME

    def reversed(self) -> Gain:
        """The other row's gain over this one."""
        return Gain(0 - self.value, 0 - self.high, 0 - self.low)  # −0.0 would be read as less

    def fewer(self) -> str:
        """In counts of 1,000 unfamiliar images: `31 fewer (between 10 and 52)`."""
        return self._said("{:,.0f}", 1000, "", "fewer", "more")

    def points(self) -> str:
        """In percentage points: `3.1 points better (between 1.0 and 5.2)`."""
        return self._said("{:.1f}", 100, " points", "better", "worse")

    def signed(self) -> str:
        """In percentage points for a table, above 0 = better: `+3.1 (+1.0 to +5.2)`."""
        value, low, high = (f"{100 * end:+.1f}" for end in (self.value, self.low, self.high))
        return f"{value} ({low} to {high})".replace("-", "\N{MINUS SIGN}")

    def _said(self, number: str, times: int, unit: str, better: str, worse: str) -> str:
        if self.value < 0:
            return self.reversed()._said(number, times, unit, worse, better)
        ends = (self.value, abs(self.low), self.high)
        value, low, high = (number.format(times * end) for end in ends)
        if self.low < 0:
            low, high = f"{low} {worse}", f"{high} {better}"
        return f"{value}{unit} {better} (between {low} and {high})"


def gain(row: pd.Series | None, metric: str = "fpr95") -> Gain | None:
    """How much better a row is in `fpr95` or `auroc` than the one it is compared with.

    None where that is not known: no row, one whose partner could not run, or an earlier ablation
    differences were measured.
    """
    ends = [f"{metric}_difference{end}" for end in ("", "_low", "_high")]
    if row is None or any(end not in row or pd.isna(row[end]) for end in ends):
        return None
    difference = Gain(*(float(row[end]) for end in ends))
    return difference.reversed() if metric == "fpr95" else difference
