"""The stopwatch against hand-made clocks: every second counts once, and the sum is the whole."""

import itertools
from collections.abc import Iterator

import pytest

from gsc_core import stopwatch
from gsc_core.stopwatch import OTHER, Spent, Stopwatch


@pytest.fixture(autouse=True)
def ticks(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Each look at the clock finds it a second later, and half a second of CPU time."""
    clock = itertools.count()
    monkeypatch.setattr(stopwatch, "_now", lambda: Spent(float(at := next(clock)), at / 2))
    return clock


def test_what_is_inside_another_phase_counts_once() -> None:
    watch = Stopwatch()  # looks at 0
    with watch.phase("outer"):  # 1
        with watch.phase("inner", "part"):  # 2
            pass  # 3
        with watch.phase("inner"):  # 4
            pass  # 5
    # 6; the table is read at 7
    assert watch.phases() == {
        "outer": Spent(3.0, 1.5),
        "inner": Spent(2.0, 1.0),
        OTHER: Spent(2.0, 1.0),
    }
    assert watch.parts("inner") == {"part": Spent(1.0, 0.5)}
    assert watch.parts("outer") == {}


def test_the_sum_is_the_whole() -> None:
    watch = Stopwatch()
    for name in "abab":
        with watch.phase(name, "x"):
            pass
    phases = watch.phases()
    assert sum(spent.wall_s for spent in phases.values()) == 9.0
    assert list(phases)[-1] == OTHER


def test_waiting_counts_and_what_is_done_with_an_item_does_not() -> None:
    watch, seen = Stopwatch(), []
    for item in watch.waiting("waiting", "ab"):
        with watch.phase("work"):
            seen.append(item)
    assert seen == ["a", "b"]
    found = watch.phases()
    assert (found["waiting"].wall_s, found["work"].wall_s) == (3.0, 2.0)  # the last wait ends it


def test_an_error_ends_its_phase() -> None:
    watch = Stopwatch()
    with pytest.raises(ZeroDivisionError), watch.phase("a"), watch.phase("b"):
        _ = 1 / 0
    with watch.phase("c"):
        pass
    assert {name: spent.wall_s for name, spent in watch.phases().items()} == {
        "a": 2.0, "b": 1.0, "c": 1.0, OTHER: 3.0,
    }  # fmt: skip


def test_an_exact_one_waits_before_it_looks() -> None:
    watch, waited = Stopwatch(exact=True), []
    watch.settle = lambda: waited.append(1)
    with watch.phase("a"):
        assert len(waited) == 1
    assert len(waited) == 2
