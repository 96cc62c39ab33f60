"""Adaptive selection against brute force: the choice among all, ties, and what is told of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest
import torch
from brute_selection import (
    KINDS,
    Array,
    brute_loss,
    caps_by_hand,
    cut,
    cut_by_hand,
    judged_by,
    readings_by_hand,
    usual,
)
from small_classifier import (
    flat,
    planted,
)

from gsc_core.detectors.base import Calibration
from gsc_core.detectors.readout import Scale
from gsc_core.detectors.selection import DOUBT, TIE, read, select
from gsc_core.detectors.selection_loss import by_kind
from gsc_core.detectors.short_circuit import candidates, detector_of
from gsc_core.evaluation.selection import NOTHING, Selection, ShortCircuit, loss

OPTIONS = [  # the simpler first, as a person would order them
    NOTHING,
    cut("pooled", "gradient", 0.01, "zero"),
    cut("pooled", "attribution", 0.05, "zero"),
    cut("pooled", "activation", 0.1, "zero"),
    cut("pooled", "gradient", 0.5, "zero"),
    cut("pooled", "gradient", 0.02, "truncate"),
    cut("pooled", "attribution", 0.2, "truncate"),
    cut("pooled", "activation", 0.3, "truncate"),
]
LEVELS = ((0.9, 1.8), (0.02, 0.03))  # where usual strength ends, and where too much is cut off


def random_world(seed: int, n: int = 40) -> Calibration:
    """Four classes, features of any strength, unfamiliar images that differ in a few of them."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    weight, bias = draw(4, 432) * draw(432).abs(), draw(4)
    ours, theirs = (draw(n, 432).relu() * (0.6 * draw(432)).exp() for _ in range(2))
    ours = ours + (0.1 + 0.05 * (seed % 5)) * weight[torch.arange(n) % 4].relu()
    ours, theirs = ours.contiguous(), theirs * (1 + 0.5 * (seed % 3) * (draw(432) > 1))
    return flat(weight, bias, ours, theirs)


def losses_by_hand(
    calibration: Calibration, options: Sequence[ShortCircuit], cuts: Sequence[float]
) -> dict[tuple[ShortCircuit, bool], float]:
    """Loss of each option, plain and capped, in float64 and an image at a time."""
    linear, far = calibration.network.linear, calibration.surrogates
    assert linear is not None and far is not None
    weight, bias = (t.double().numpy() for t in (linear.weight, linear.bias))
    sets = [batch.features.double().numpy() for batch in (calibration.sample, far)]
    caps, whole = caps_by_hand(sets[0][:, :, None]), (math.inf, *cuts)
    found = {}
    for option in options:
        both = []
        for features in sets:
            rows = []
            for h in features:
                c = int(np.argmax(weight @ h + bias))
                after = h
                if option != NOTHING:
                    after = cut_by_hand(h[:, None], weight[c][:, None], caps, option)[:, 0]
                rows.append(
                    readings_by_hand(after, c, weight, bias, whole, [0 * after] * len(whole))
                )
            both.append(np.array(rows))
        low, middle, high = np.quantile(both[0], [0.16, 0.5, 0.84], axis=0)
        ours, theirs = ((rows - middle) / ((high - low) / 2) for rows in both)
        levels_of = ((False, [0, 1]), (True, [i for i in range(3, 3 * len(whole)) if i % 3 < 2]))
        for capped, columns in levels_of:
            means = ours[:, columns].mean(axis=1), theirs[:, columns].mean(axis=1)
            found[option, capped] = brute_loss(*means)
    return found


def choice_by_hand(losses: dict[tuple[ShortCircuit, bool], float]) -> tuple[ShortCircuit, bool]:
    """Capped unless plain is so many times better; then the first in `OPTIONS` near the best."""
    plain, capped = (
        {o: v for (o, c), v in losses.items() if c is which} for which in (False, True)
    )
    is_capped = min(capped.values()) <= DOUBT * min(plain.values())
    group = capped if is_capped else plain
    near = [each for each in OPTIONS if each in group and group[each] <= TIE * min(group.values())]
    return near[0], is_capped


@cache
def trials() -> list[tuple[Selection, dict[tuple[ShortCircuit, bool], float]]]:
    """Ten random worlds: what was selected, and what a loop finds."""
    found = []
    for seed in range(10):
        calibration, cuts = random_world(seed), LEVELS[seed % 2]
        shuffled = [OPTIONS[i] for i in np.random.default_rng(seed).permutation(len(OPTIONS))]
        chosen = select(calibration, shuffled, judged_by(calibration, *cuts))
        found.append((chosen, losses_by_hand(calibration, OPTIONS, cuts)))
    return found


@pytest.mark.slow
def test_every_loss_is_brute_force() -> None:
    for found, expected in trials():
        ours = {(each.short_circuit, each.capped): each.loss for each in found.tried}
        assert ours == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
def test_the_choice_is_brute_force() -> None:
    chosen = []
    for found, losses in trials():
        expected = choice_by_hand(losses)
        assert (found.chosen.short_circuit, found.chosen.capped) == expected
        chosen.append(expected)
    assert len({option for option, _ in chosen}) >= 3  # or the test would tell little
    assert {capped for _, capped in chosen} == {False, True}


def test_what_is_told_of_the_choice() -> None:
    for found, _ in trials():
        assert found.chosen in found.tried and found.nothing in found.tried
        assert (found.nothing.short_circuit, found.nothing.capped) == (NOTHING, found.chosen.capped)
        assert [each.loss for each in found.tried] == sorted(each.loss for each in found.tried)
        assert {(e.short_circuit, e.capped) for e in found.tried} == set(
            product(OPTIONS, (False, True))
        )
        assert len(found.tried) == 2 * len(OPTIONS)
        assert (found.dropped, found.images, found.surrogates) == (0, 40, 40)


def one_weight(strangers: Array, n: int = 400) -> Calibration:
    """Familiar images have an honest logit from 1 to 2; `unfamiliar images [M,2]` an honest one
    and a
    pretended one, which is the heavy weight's and alone goes at 1 % by the gradient."""
    weight, bias = torch.zeros(4, 432), torch.full((4,), -50.0)
    weight[0, :5], weight[0, 5:9], bias[0] = 2, 1, 0
    ours, theirs = torch.zeros(n, 432), torch.zeros(len(strangers), 432)
    ours[:, 5:9] = torch.linspace(1, 2, n)[:, None] / 4
    honest, pretended = torch.from_numpy(strangers).float().T
    theirs[:, :5], theirs[:, 5:9] = pretended[:, None] / 10, honest[:, None] / 4
    return flat(weight, bias, ours, theirs)


def some_pass(passing: int, total: int = 400) -> Calibration:
    """A cut at 1 % flags all unfamiliar images; without it `passing` of each kind look familiar."""
    strangers = np.tile([-5.0, 0.0], (total, 1))
    strangers[: 4 * passing, 1] = 6.5
    return one_weight(strangers)


CUT = cut("pooled", "gradient", 0.01, "zero")


def test_a_cut_must_be_better_than_a_tie() -> None:
    """With none that is accepted both are perfect, and nothing is cut; with many the cut is
    taken."""
    options = [CUT, NOTHING]
    perfect, better = (
        select(world, options, judged_by(world, 9.0)) for world in map(some_pass, (0, 30))
    )
    assert perfect.chosen.short_circuit == NOTHING
    assert better.chosen.short_circuit == CUT
    assert better.nothing.loss > 0.2
    assert better.chosen.loss < 0.06


@pytest.mark.slow
def test_the_simpler_of_two_within_a_tie_is_taken() -> None:
    """Two cuts that leave a little: the one that is better by a hair is the less simple one."""
    rng = np.random.default_rng(0)
    outcomes = set()
    for extra in range(0, 14):
        strangers = np.tile([-5.0, 0.0], (2000, 1))
        strangers[:400] = rng.uniform(1, 2, (400, 1)) * [[1.0, 0.0]]  # neither cut helps here
        strangers[400 : 400 + 4 * extra, 1] = 6.5  # here the cut does
        world = one_weight(strangers)
        found = select(world, [NOTHING, CUT], judged_by(world, 9.0))
        by_way = {each.short_circuit: each.loss for each in found.tried if each.capped}
        assert by_way[CUT] <= by_way[NOTHING]
        near = by_way[NOTHING] <= TIE * by_way[CUT]
        outcomes.add((near, by_way[CUT] < by_way[NOTHING]))
        assert found.chosen.short_circuit == (NOTHING if near else CUT)
    assert {(True, True), (False, True)} <= outcomes


@pytest.mark.slow
def test_plain_readings_must_be_clearly_better() -> None:
    """Some unfamiliar images are told by one strong feature alone, which a level takes away."""
    outcomes, ratios = set(), []
    for hidden in range(0, 40, 2):
        strangers = np.tile([-5.0, 0.0], (400, 1))
        strangers[:80] = [1.5, 0.0]  # these pass either way
        calibration = one_weight(strangers)
        far, linear = calibration.surrogates, calibration.network.linear
        weight = linear.weight.clone()
        weight[0, 9] = -0.01
        features = far.features.clone()
        features[80 : 80 + 4 * hidden, 5:9], features[80 : 80 + 4 * hidden, 9] = 0.375, 1000.0
        changed = flat(weight, linear.bias, calibration.sample.features, features)
        found = select(changed, [NOTHING], judged_by(changed, 1.0))
        plain, capped = (each.loss for each in sorted(found.tried, key=lambda each: each.capped))
        ratios.append(capped / plain)
        outcomes.add(found.chosen.capped)
        assert found.chosen.capped == (capped <= DOUBT * plain)
        forced = select(changed, [NOTHING], judged_by(changed, 1.0), capped=False)
        assert not forced.chosen.capped
    assert outcomes == {False, True}
    assert min(ratios) < DOUBT < max(ratios)


def test_capped_readings_can_be_asked_for() -> None:
    world = planted(40)
    found = select(world, [NOTHING, CUT], judged_by(world, 9.0), capped=True)
    assert found.chosen.capped and found.nothing.capped
    assert found.chosen.short_circuit == CUT


@pytest.mark.slow
def test_a_planted_short_circuit_is_found_among_all() -> None:
    for seed in range(3):
        calibration = planted(256, seed)
        options = list(candidates(calibration.network))
        found = select(calibration, options, usual(calibration))
        assert found.chosen.short_circuit == CUT
        assert found.chosen.loss < 0.06
        assert found.nothing.loss > 0.5
        tried = {each.short_circuit for each in found.tried}
        assert found.dropped == len(options) - len(tried) > 0
        assert all(each.loss > 0.3 for each in found.tried if each.short_circuit != CUT)


def test_an_option_goes_on_that_only_plain_readings_tell() -> None:
    """A level so low that capped readings tell nothing: one of two good readings is enough."""
    calibration = planted(256)
    options = list(candidates(calibration.network))[::-1]
    found = select(calibration, options, judged_by(calibration, 0.2))
    assert (found.chosen.short_circuit, found.chosen.capped) == (CUT, False)
    assert min(each.loss for each in found.tried if each.capped) > 0.5


def test_few_images_make_one_round_of_all() -> None:
    calibration = planted(40)
    options = list(candidates(calibration.network))
    found = select(calibration, options, usual(calibration))
    assert {each.short_circuit for each in found.tried} == set(options)
    assert (found.dropped, found.chosen.short_circuit) == (0, CUT)


@pytest.mark.slow
def test_who_goes_on_is_judged_on_all_images() -> None:
    """Three rounds, of which each reads the further images alone: the same as all at once."""
    calibration = planted(256)
    read_out = judged_by(calibration, 9.0)
    found = select(calibration, list(candidates(calibration.network)), read_out)
    assert found.dropped > 0
    for each in found.tried:
        detector = detector_of(each.short_circuit)
        if detector is not None:
            detector.fit(calibration)
        ours = read(calibration.sample, detector, read_out, judging=True)
        theirs = read(calibration.surrogates, detector, read_out, judging=True)
        scale, columns = Scale.of(ours), read_out.columns(each.capped, judging=True)
        scores = (scale.mean(readings, columns) for readings in (ours, theirs))
        expected = by_kind(*scores, torch.arange(len(theirs)) % 4)
        assert each.loss == pytest.approx(loss(expected), abs=1e-9)


def test_kinds_are_told_apart() -> None:
    strangers = np.tile([1.5, 0.0], (80, 1))  # in the middle of the familiar ones
    strangers[2::4, 0] = -5  # but each third of four
    world = one_weight(strangers)
    found = select(world, [NOTHING], judged_by(world))
    (only,) = found.tried
    assert list(only.by_kind) == KINDS
    assert tuple(only.by_kind.pop("phase")) == (0.0, 1.0)
    for each in only.by_kind.values():
        assert each.fpr95 == 1 and each.auroc == pytest.approx(0.5, abs=0.01)
    assert only.fpr95 == 0.75


def test_doing_nothing_stays_a_choice_to_the_end() -> None:
    """On the first eighth of the images it is the worst, on all of them the best by far.

    There the five heavy weights lift unfamiliar images up, so a cut helps; later they tell them.
    """
    n, generator = 256, torch.Generator().manual_seed(0)
    weight, bias = torch.zeros(4, 432), torch.full((4,), -50.0)
    weight[0, :5], weight[0, 5:], bias[0] = 10, 1 / 427, 0
    ours, theirs = torch.zeros(n, 432), torch.zeros(n, 432)
    ours[:, 5:] = 5 + torch.rand(n, 1, generator=generator)
    theirs[:32, 5:], theirs[:32, :5] = 1.5 + torch.rand(32, 1, generator=generator), 0.08
    theirs[32:, 5:], theirs[32:, :5] = 5 + torch.rand(n - 32, 1, generator=generator), -0.08
    calibration = flat(weight, bias, ours, theirs)
    options = [each for each in candidates(calibration.network) if each.intervention == "zero"]
    found = select(calibration, options, judged_by(calibration))
    assert found.tried[0].short_circuit == NOTHING  # it was tried on all, and is the best
    assert found.chosen.loss <= TIE * found.nothing.loss
    assert found.dropped == len(options) - len({each.short_circuit for each in found.tried})


def test_the_same_calibration_gives_the_same_choice() -> None:
    calibration = random_world(3)
    read_out = judged_by(calibration, *LEVELS[0])
    first = select(calibration, OPTIONS, read_out)
    torch.manual_seed(99)
    assert select(calibration, OPTIONS, read_out) == first


def test_a_selection_survives_json() -> None:
    world = random_world(3)
    found = select(world, OPTIONS, judged_by(world, *LEVELS[0]))
    again = Selection.model_validate_json(found.model_dump_json())
    assert again == found
    assert again.chosen.loss == found.chosen.loss


@pytest.mark.parametrize("n", [40, 60, 256], ids=["one round", "two", "three"])
@pytest.mark.parametrize(
    "keep", [slice(0, None), slice(1, None)], ids=["nothing too", "cuts alone"]
)
def test_progress_is_told_to_the_end(n: int, keep: slice) -> None:
    told: list[tuple[int, int]] = []
    calibration = replace(planted(n), step=lambda _, done, total: told.append((done, total)))
    select(calibration, list(candidates(calibration.network))[keep], judged_by(calibration))
    (total,) = {total for _, total in told}
    done = [done for done, _ in told]
    assert done == sorted(done) and done[0] <= 1
    assert done[-1] == total


class StoppedError(Exception):
    """Raised by whoever listens."""


def test_who_listens_can_stop_it() -> None:
    told = []

    def step(phase: str, done: int, total: int) -> None:
        told.append(done)
        if done == 5:
            raise StoppedError

    with pytest.raises(StoppedError):
        world = replace(planted(40), step=step)
        select(world, list(candidates(world.network)), judged_by(world))
    assert len(told) == 5
