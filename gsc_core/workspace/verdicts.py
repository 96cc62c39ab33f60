"""What a run's detectors say of its pictures, by the thresholds that hold now."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from gsc_core.evaluation.thresholds import KeepId
from gsc_core.workspace import decisions, runs
from gsc_core.workspace.decisions import Decision
from gsc_core.workspace.gallery import pictures
from gsc_core.workspace.judged import Place, decided, place
from gsc_core.workspace.runs import StoredRun


def decision_for(run: StoredRun, detector: str) -> Decision:
    """The run's stored decision where it is about this detector, else what keeps 95 % of ID."""
    standing = decisions.standing(run)
    if standing is not None and standing.detector == detector:
        return standing
    return decisions.decide(run, detector, KeepId(share=decisions.KEEP))


def places_of(run: StoredRun, row: int) -> tuple[Place, ...]:
    """Where the scores of a picture of the run lie, the alarming detector's first, then the best.

    Raises GscError for a row that is not there.
    """
    pictures(run, [row])
    decision = decisions.current(run)
    places = (place(run, name, float(run.column(name)[row])) for name in in_order(run))
    return tuple(decided(each, decision) for each in places)


def in_order(run: StoredRun) -> list[str]:
    """The detectors: the one that raises the alarm, then the others, the best first."""
    alarm = decisions.current(run).detector
    return sorted(run.ranked(), key=lambda name: name != alarm)


def predicted_classes(run: StoredRun) -> tuple[int, ...]:
    """The classes that some picture of the run was taken for, rising."""
    return _predicted(run.path, runs.version(run.path))


@lru_cache(maxsize=16)
def _predicted(folder: Path, version: int) -> tuple[int, ...]:
    values = np.unique(runs.load_run(folder).column("predicted"))
    return tuple(int(value) for value in values if value >= 0)
