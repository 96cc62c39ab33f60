"""Where the seconds go: wall-clock and CPU time by phase.

A phase inside another stops the outer one, so every moment counts once and the phases sum up to the
whole. To read two clocks takes about a microsecond.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

OTHER = "other"


@dataclass(frozen=True)
class Spent:
    """Seconds on the clock, and of all threads of this process on its cores."""

    wall_s: float = 0.0
    cpu_s: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s)

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.wall_s - other.wall_s, self.cpu_s - other.cpu_s)


class Stopwatch:
    """Runs from when it is made; what is in no phase is `other`.

    Not for several threads at once: threads beside the one that holds it add to `cpu_s` alone.

    Attributes:
        exact: whether a phase has to wait for what it began on an accelerator.
        settle: how it waits; set when the device is known.
    """

    def __init__(self, exact: bool = False) -> None:
        self.exact = exact
        self.settle: Callable[[], None] = lambda: None
        self._spent: dict[tuple[str, str], Spent] = {}
        self._stack = [(OTHER, "")]
        self._since = _now()

    @contextmanager
    def phase(self, name: str, of: str = "") -> Iterator[None]:
        """Count what happens inside for `name`, and there for `of`, such as one detector."""
        self._lap()
        self._stack.append((name, of))
        try:
            yield
        finally:
            self._lap()
            self._stack.pop()

    def waiting(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """The same items; the time until each is there counts for `name`."""
        iterator = iter(items)
        while True:
            with self.phase(name):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def phases(self) -> dict[str, Spent]:
        """What was spent up to now by phase, the dearest first and `other` last."""
        self._lap()
        totals: dict[str, Spent] = {}
        for (name, _), spent in self._spent.items():
            totals[name] = totals.get(name, Spent()) + spent
        by_time = sorted(totals, key=lambda name: (name == OTHER, -totals[name].wall_s))
        return {name: totals[name] for name in by_time}

    def parts(self, name: str) -> dict[str, Spent]:
        """What of a phase was spent on each part, the dearest first; empty when it has none."""
        totals = {of: spent for (phase, of), spent in self._spent.items() if phase == name and of}
        return dict(sorted(totals.items(), key=lambda part: -part[1].wall_s))

    def _lap(self) -> None:
        self.settle()
        now, current = _now(), self._stack[-1]
        self._spent[current] = self._spent.get(current, Spent()) + (now - self._since)
        self._since = now


def _now() -> Spent:
    return Spent(time.perf_counter(), time.process_time())
