"""One model, measured: every detector on every division of its ID images."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.quality.document import Measured
from benchmarks.quality.fusion_parts import Floats
from benchmarks.quality.onepass import Division
from benchmarks.quality.ours import (
    Bench,
    Make,
    learning_nothing,
    of_pixels,
    rank_correlation,
)
from benchmarks.quality.peers import PEERS, on_division, on_pixels
from benchmarks.quality.subjects import Sources, Subject, subject
from benchmarks.quality.table import LEFT_OUT, OURS, THEIRS, Estimate, Key, t_interval
from gsc_core.cli.output import shown_progress
from gsc_core.detectors.catalogue import parse_detectors
from gsc_core.evaluation.intervals import MEAN
from gsc_core.evaluation.metrics import metrics
from gsc_core.progress import Progress
from gsc_core.scoring.loading import Pace

BATCH = 8  # fits the cache of a CPU
METRICS = ("fpr95", "fpr95_ood_positive", "auroc")


@dataclass
class _Record:
    """What the divisions gave so far."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    after: dict[Key, list[float]] = field(default_factory=lambda: defaultdict(list))
    correlations: dict[str, list[tuple[int, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    absent: dict[Key, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Add the time of a part."""
        start = time.perf_counter()
        yield
        self.seconds[what] += time.perf_counter() - start

    def add(self, scores: Mapping[str, Mapping[str, Floats]], whose: str, split: int) -> None:
        """The metrics of a division: by detector, the scores of each set."""
        for name, by_set in scores.items():
            self.rows += _rows(by_set, {"detector": name, "whose": whose, "split": split})

    def cannot(self, absent: Mapping[str, str], whose: str) -> None:
        """Why some detectors have no scores."""
        self.absent |= {(name, whose): why for name, why in absent.items()}

    def correlate(self, over: str, number: int, rho: float | None) -> None:
        """A rank correlation, if there is one."""
        if rho is not None:
            self.correlations[over].append((number, rho))


@dataclass(frozen=True)
class Asked:
    """What is measured of each model: our detectors, how many splits, how many models at a time."""

    detectors: str
    splits: int
    quick: bool
    jobs: int = 1


def measured(name: str, sources: Sources, asked: Asked) -> Measured:
    """One model, from its images to its figures; in a process of its own where several run."""
    torch.set_num_threads(max(1, torch.get_num_threads() // asked.jobs))
    make = partial(parse_detectors, asked.detectors)
    with shown_progress() as show:
        pace = Pace(BATCH, 2, lambda what, done, n: show(Progress(f"{name}: {what}", done, n)))
        return measure(subject(name, sources), make, asked.splits, pace, quick=asked.quick)


def measure(
    subject: Subject, make: Make, splits: int, pace: Pace, *, quick: bool = False
) -> Measured:
    """Measure our detectors, freshly made by `make` for each split, and pytorch-ood's.

    `quick` leaves out what takes most of the time: what goes back to the pixels, and the grid of
    GSC's settings. Raises GscError for what the user can fix.
    """
    record = _Record()
    with record.timed("decoding and one pass"):
        bench = Bench(subject, pace)
    whole = _on_pixels(bench, make, record, quick)
    divisions = [Division.of(subject, bench.shown, seed) for seed in range(splits)]
    for division in divisions:
        _divided(bench, make, division, record, quick)
        for whose, scores in whole.items():
            record.add(_of_rows(scores, division), whose, division.seed)
    if not quick:
        with record.timed("grid of settings"):  # minutes, so in one division
            record.correlate("settings of GSC, first split", *bench.correlation(divisions[0]))
    frame = _everywhere(record.rows, splits)
    without = frame["whose"] == LEFT_OUT
    return Measured(
        name=subject.name,
        title=subject.title,
        split=None if bench.network.split is None else bench.network.split.name,
        pictures={"id": len(subject.known)} | {n: len(s) for n, s in subject.ood.items()},
        frame=frame[~without].reset_index(drop=True),
        left_out=frame[without].reset_index(drop=True),
        passes={(peer.name, THEIRS): peer.passes for peer in PEERS}
        | {(each.name, OURS): each.extra_forwards for each in make()},
        accuracy=t_interval([bench.id_accuracy(division) for division in divisions]),
        after={key: t_interval(values) for key, values in record.after.items()},
        correlations=[_correlation(over, each) for over, each in record.correlations.items()],
        absent=record.absent,
        seconds=dict(record.seconds),
    )


def _on_pixels(
    bench: Bench, make: Make, record: _Record, quick: bool
) -> dict[str, dict[str, Floats]]:
    """Scores of all images, by whose detectors, of those that go back to the pixels."""
    ours = of_pixels(make())
    if quick:
        left_out = [(each.name, OURS) for each in ours]
        left_out += [(peer.name, THEIRS) for peer in PEERS if peer.reading is None]
        record.absent |= dict.fromkeys(left_out, "left out by --quick")
        return {}
    with record.timed("ours on pixels"):
        scores = bench.on_pixels(learning_nothing(ours))
    with record.timed("pytorch-ood on pixels"):
        theirs, absent = on_pixels(bench)
    record.cannot(absent, THEIRS)
    return {OURS: scores, THEIRS: theirs}


def _divided(bench: Bench, make: Make, division: Division, record: _Record, quick: bool) -> None:
    """One division by the detectors that learn or read the shared pass."""
    slow = of_pixels(make())
    elsewhere = [each.name for each in (slow if quick else learning_nothing(slow))]
    with record.timed("ours on the pass"):
        judged = bench.judge(make, division, without=elsewhere)
    record.add(judged.scores, OURS, division.seed)
    record.add(judged.left_out, LEFT_OUT, division.seed)
    record.cannot(judged.absent, OURS)
    record.correlate("detectors", len(judged.surrogate_auroc), rank_correlation(judged))
    for name, accuracy in judged.after.items():
        record.after[name, OURS].append(accuracy)
    with record.timed("pytorch-ood on the pass"):
        scores, absent = on_division(bench, division)
    record.add(scores, THEIRS, division.seed)
    record.cannot(absent, THEIRS)


def _rows(by_set: Mapping[str, Floats], about: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A row for each OOD set, and one for their mean."""
    known = by_set["id"]
    found = {name: metrics(known, each) for name, each in by_set.items() if name != "id"}
    for name, each in found.items():
        yield {**about, "ood_set": name, **{m: getattr(each, m) for m in METRICS}}
    means = {m: float(np.mean([getattr(each, m) for each in found.values()])) for m in METRICS}
    yield {**about, "ood_set": MEAN, **means}


def _of_rows(whole: Mapping[str, Floats], division: Division) -> dict[str, Mapping[str, Floats]]:
    """Scores of all images, parted into the sets of a division."""
    rows = {name: each.numpy() for name, each in division.test.items()}
    return {name: {at: scores[of] for at, of in rows.items()} for name, scores in whole.items()}


def _everywhere(rows: list[dict[str, Any]], splits: int) -> pd.DataFrame:
    """The rows of detectors that ran on every split: a mean over fewer would be another thing."""
    frame = pd.DataFrame(rows)
    counts = frame.groupby(["detector", "whose"])["split"].transform("nunique")
    return frame[counts == splits].reset_index(drop=True)


def _correlation(over: str, found: list[tuple[int, float]]) -> tuple[str, int, Estimate]:
    return over, max(number for number, _ in found), t_interval([rho for _, rho in found])
