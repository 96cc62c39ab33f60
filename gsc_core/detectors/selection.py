"""Adaptive selection: the short-circuit that tells surrogate outliers best, with no OOD image seen.

All candidates run on features that were computed once. The first round is on an eighth of the
images, the best quarter of them goes on to twice as many, and so on to all. To take the single
winner is luck near the top, so each is judged by the mean of several readings (`read_out`), FPR95
and AUROC count alike, doing nothing is among the candidates, and of those that can hardly be told
apart the simplest is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gsc_core.detectors.base import Calibration, Representation
from gsc_core.detectors.gsc import GSC
from gsc_core.detectors.readout import ReadOut, Scale
from gsc_core.detectors.selection_loss import by_kind, separation
from gsc_core.detectors.short_circuit import detector_of
from gsc_core.evaluation.selection import NOTHING, Selection, ShortCircuit, Tried

TIE = 1.02  # times the least loss: below it the simplest is taken
DOUBT = 1.2  # times better must uncapped readings be: 256 images can hardly tell less
_ROUNDS = (8, 4, 2)  # parts of the images before all; a quarter of the candidates goes on
_MIN_IMAGES, _MIN_CANDIDATES = 24, 4  # images in a round, and candidates, below which all go on
_AT_ONCE = 64  # images: more are not faster on a CPU; an accelerator takes all
_PHASE = "choosing the short-circuit"


def select(
    calibration: Calibration,
    options: Sequence[ShortCircuit],
    read_out: ReadOut,
    capped: bool | None = None,
) -> Selection:
    """Choose among `options` on the calibration's sample and surrogates, which must be there.

    `capped` says whether the chosen reads pooled features cut off, None leaves that open. The same
    calibration always gives the same choice. `calibration.step` is told of each candidate and may
    raise to stop.
    """
    assert calibration.surrogates is not None
    sample, surrogates = calibration.sample, calibration.surrogates
    rounds = [part for part in _ROUNDS if min(len(sample), len(surrogates)) // part >= _MIN_IMAGES]
    trials = _Trials(calibration, read_out, _number(len(options), len(rounds)))
    left = list(options)
    for part in rounds:
        losses = {option: min(one.loss for one in trials(option, part)) for option in left}
        left = sorted(left, key=losses.__getitem__)[: _going_on(len(left))]
    tried = [one for option in dict.fromkeys([*left, NOTHING]) for one in trials(option)]
    calibration.step(_PHASE, trials.total, trials.total)
    best = _best(
        [one for one in tried if one.short_circuit in options and capped in (None, one.capped)]
    )
    return Selection(
        chosen=best,
        nothing=next(
            one for one in tried if one.short_circuit == NOTHING and one.capped == best.capped
        ),
        tried=tuple(sorted(tried, key=lambda one: one.loss)),
        dropped=len(set(options) - {one.short_circuit for one in tried}),
        images=len(sample),
        surrogates=len(surrogates),
    )


def _going_on(candidates: int) -> int:
    """How many of them are in the next round."""
    return min(candidates, max(_MIN_CANDIDATES, candidates // 4))


def _number(candidates: int, rounds: int) -> int:
    """How many trials that makes in all, with the one of doing nothing."""
    return candidates + (_number(_going_on(candidates), rounds - 1) if rounds else 1)


def _best(tried: Sequence[Tried]) -> Tried:
    """Capped readings, unless others are clearly better; the simplest of those near the best."""
    capped, plain = ([trial for trial in tried if trial.capped is which] for which in (True, False))
    group = capped or plain
    if capped and plain and DOUBT * min(e.loss for e in plain) < min(e.loss for e in capped):
        group = plain
    least = min(trial.loss for trial in group)
    near = [trial for trial in group if trial.loss <= TIE * least]
    return min(near, key=lambda trial: (trial.short_circuit.complexity, trial.loss))


class _Trials:
    """Tries candidates on images that went through the body already.

    Readings are kept: a candidate that goes on to more images is read on the further ones alone.
    """

    def __init__(self, calibration: Calibration, read_out: ReadOut, total: int) -> None:
        assert calibration.surrogates is not None
        self.calibration, self.read_out = calibration, read_out
        self.done, self.total = 0, total
        self.batches = (calibration.sample, calibration.surrogates)
        self.kinds = calibration.surrogates.kinds
        self.readings: dict[tuple[ShortCircuit, int], list[Tensor]] = {}

    def __call__(self, option: ShortCircuit, part: int = 1) -> tuple[Tried, ...]:
        """The candidate on the first of so many parts of the images, with each way to read it:
        features as they are, and cut off.
        """
        detector = detector_of(option)
        if detector is not None:
            detector.fit(self.calibration)
        id_readings, surrogate_readings = (
            self._readings(option, detector, which, len(batch) // part)
            for which, batch in enumerate(self.batches)
        )
        scale = Scale.of(id_readings)
        self.done += 1
        self.calibration.step(_PHASE, self.done, self.total)
        kinds = self.kinds[: len(surrogate_readings)]
        return tuple(
            _tried(
                option,
                capped,
                scale.mean(id_readings, columns),
                scale.mean(surrogate_readings, columns),
                kinds,
            )
            for capped in (False, True)[: 1 + self.read_out.caps]
            for columns in [self.read_out.columns(capped, judging=True)]
        )

    def _readings(
        self, option: ShortCircuit, detector: GSC | None, which: int, number: int
    ) -> Tensor:
        """Readings `[number,R]` of the first images of one of the batches."""
        parts = self.readings.setdefault((option, which), [])
        done = sum(map(len, parts))
        if done < number:
            some = self.batches[which][done:number]
            parts.append(read(some, detector, self.read_out, judging=True))
        return torch.cat(parts)


def read(
    batch: Representation, detector: GSC | None, read_out: ReadOut, judging: bool = False
) -> Tensor:
    """`read_at_once` of many images, on a CPU some at a time."""
    at_once = _AT_ONCE if batch.logits.device.type == "cpu" else len(batch)
    parts = (batch[start : start + at_once] for start in range(0, len(batch), at_once))
    return torch.cat([read_at_once(some, detector, read_out, judging) for some in parts])


def read_at_once(
    batch: Representation, detector: GSC | None, read_out: ReadOut, judging: bool = False
) -> Tensor:
    """Readings `[B,R]` after a fitted detector's short-circuit; as they are with None."""
    left = (batch.logits, batch.features) if detector is None else detector.after(batch)
    return read_out(*left, batch.predicted, judging)


def _tried(
    option: ShortCircuit, capped: bool, id_scores: Tensor, surrogate_scores: Tensor, kinds: Tensor
) -> Tried:
    whole = separation(id_scores, surrogate_scores)
    return Tried(
        short_circuit=option,
        capped=capped,
        fpr95=whole.fpr95,
        auroc=whole.auroc,
        by_kind=by_kind(id_scores, surrogate_scores, kinds),
    )
