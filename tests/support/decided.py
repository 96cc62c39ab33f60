"""A stored run, and the effect of a threshold."""

from stored_run import write_run

from gsc_core.evaluation.thresholds import Acceptance, Effect
from gsc_core.run.stored import Run


def stored_run(home, name="demo", **extra) -> Run:
    return Run.load(write_run(home / name, **extra))


def effect_of(known: tuple[int, int], **strangers: tuple[int, int]) -> Effect:
    sets = {name: Acceptance(*counts, 0.1, 0.2) for name, counts in strangers.items()}
    return Effect(0.0, Acceptance(*known, 0.9, 0.97), sets)
