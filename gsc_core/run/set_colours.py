"""One look for each of a run's OOD sets, the same on every chart of the pages and of the report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

ID_COLOUR = "#7E8B90"
"""A neutral grey: the measure that every OOD set is held against."""

OOD_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette for colour-blind readers, without its yellow (faint on white)."""

MORE_COLOURS = ("#CC0044", "#BBAA66", "#DD2299", "#77BB33", "#0088FF", "#CC7766")
"""For a run's 7th to 12th set: as far from these, and from each other, as colours can be that are
readable on white and on dark pages."""

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
"""Line styles, by Plotly's names."""

_PALETTE = OOD_COLOURS + MORE_COLOURS


@dataclass(frozen=True)
class SetColours:
    """A colour and a dash for each OOD set, by its place among all of the run's sets.

    Twelve sets differ in the colour, 72 in the pair. ID is always grey.
    """

    ood_sets: tuple[str, ...]
    id_set: str = "id"

    @classmethod
    def of(cls, ood_sets: Iterable[str], id_set: str = "id") -> SetColours:
        """The looks of all OOD sets of a run, in its order; also when only some are drawn."""
        return cls(tuple(name for name in dict.fromkeys(ood_sets) if name != id_set), id_set)

    def colour(self, name: str) -> str:
        """The set's colour as `#rrggbb`. Raises ValueError for a set that the run has not."""
        return ID_COLOUR if name == self.id_set else _PALETTE[self._place(name) % len(_PALETTE)]

    def dash(self, name: str) -> str:
        """The set's line style, by Plotly's name. Raises ValueError as `colour` does."""
        if name == self.id_set:
            return "solid"
        place = self._place(name)
        return DASHES[(place + place // len(_PALETTE)) % len(DASHES)]

    def _place(self, name: str) -> int:
        return self.ood_sets.index(name)
