"""Joint reliability against loops over every pair of limits, and intervals against simulation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_core.errors import GscError
from gsc_core.evaluation.effects import counted
from gsc_core.evaluation.reliability import (
    GRID,
    Answers,
    Limits,
    Objections,
    accepted_errors,
    frontier,
    outcome,
)


def stream(seed: int, images: int = 40, sets: int = 2, prevalence: float = 0.3) -> Answers:
    """Mistakes have doubts, OOD images high scores; both overlap with what is right."""
    rng = np.random.default_rng(seed)
    correct = rng.random(images) < 0.7
    id_images = Objections.of(
        rng.beta(8, 2, images) * np.where(correct, 1, 0.6), rng.normal(size=images)
    )
    ood = {
        str(i): Objections.of(rng.beta(4, 3, images // 2), rng.normal(1.5, 1, images // 2))
        for i in range(sets)
    }
    return Answers.mixed(id_images, correct, ood, prevalence)


def test_a_stream_weighs_what_it_says():
    answers = stream(0, images=40, sets=2, prevalence=0.3)
    assert answers.weight.sum() == pytest.approx(1)
    assert answers.weight[40:].sum() == pytest.approx(0.3)
    assert answers.weight[40:60].sum() == pytest.approx(answers.weight[60:].sum())
    assert answers.wrong[40:].all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(-2, 3), st.floats(0.01, 0.99))
def test_an_outcome_is_what_a_loop_counts(seed, doubt, score, prevalence):
    answers = stream(seed, prevalence=prevalence)
    accepted = wrong = 0.0
    for d, s, bad, weight in zip(
        answers.doubt, answers.outlier, answers.wrong, answers.weight, strict=True
    ):
        if d <= doubt and s <= score:
            accepted += weight
            wrong += weight * bad
    found = outcome(answers, Limits(doubt, score))
    assert found == pytest.approx((accepted, wrong / accepted if accepted else 0))


def brute_force(answers: Answers, doubts, scores, share: float) -> float:
    """The least share wrong of all pairs of limits that accept at least this much."""
    found = [outcome(answers, Limits(d, s)) for d, s in itertools.product(doubts, scores)]
    return min(wrong for accepted, wrong in found if accepted >= share - 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_limits_are_the_best_of_all_that_there_are(seed):
    """Few images, so that the grid of limits has every one of them; chosen and tested alike."""
    answers = stream(seed)
    every_doubt, every_score = (
        np.append(answers.doubt, math.inf),
        np.append(answers.outlier, math.inf),
    )
    found = frontier(answers, answers)
    only = {
        "confidence": (every_doubt, [math.inf]),
        "detector": ([math.inf], every_score),
        "both": (every_doubt, every_score),
    }
    for name, limits in only.items():
        curve = getattr(found, name)
        for share in np.arange(1, GRID + 1, 9) / GRID:
            reached = curve.wrong[curve.accepted >= share - 1e-9].min()
            assert reached == pytest.approx(brute_force(answers, *limits, share))
        assert curve.accepted[-1] == pytest.approx(1)
        points = [outcome(answers, one) for one in curve.limits]
        assert np.column_stack([curve.accepted, curve.wrong]) == pytest.approx(np.array(points))


def test_two_limits_are_no_worse_than_one_on_new_images_where_both_causes_matter():
    choosing, testing = stream(1, images=4000), stream(2, images=4000)
    found = frontier(choosing, testing)
    for share in (0.5, 0.7):
        both, alone = (
            np.interp(share, curve.accepted, curve.wrong) for curve in (found.both, found.detector)
        )
        assert both < alone - 0.05


@pytest.mark.slow
def test_what_chooses_does_not_judge():
    """Images on which nothing helps: the best of many limits looks good where it was chosen."""

    def luck(seed):
        rng = np.random.default_rng(seed)
        some = Objections.of(rng.random(60), rng.random(60))
        return Answers.mixed(
            some, rng.random(60) < 0.5, {"x": Objections.of(rng.random(30), rng.random(30))}, 0.1
        )

    on_itself, on_others = [], []
    for seed in range(30):
        choosing = luck(seed)
        on_itself.append(np.interp(0.3, *points(frontier(choosing, choosing).both)))
        on_others.append(np.interp(0.3, *points(frontier(choosing, luck(1000 + seed)).both)))
    assert np.mean(on_itself) < 0.45
    assert np.mean(on_others) == pytest.approx(0.55, abs=0.05)


def points(curve):
    return curve.accepted, curve.wrong


def test_a_mistake_and_an_unfamiliar_image_count_alike():
    found = accepted_errors(80, 10, 100, [counted(20, 40), counted(0, 10)], 0.2)
    of_id, of_ood = 0.8 * 0.9, 0.2 * (0.5 + 0) / 2
    assert found.value == pytest.approx((0.8 * 0.1 + of_ood) / (of_id + of_ood))


@pytest.mark.parametrize("k", [0, 3, 40])
def test_of_one_share_alone_it_is_the_exact_interval(k):
    """Nearly no OOD image: what is left is how many accepted ID images are wrong."""
    found = accepted_errors(40 - k, k, 40, [counted(0, 5)], 1e-9)
    exact = counted(k, 40)
    assert (found.low, found.value, found.high) == pytest.approx(
        (exact.low, exact.share, exact.high), abs=0.005
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("accepted", "mistaken", "ood", "prevalence"),
    [
        (0.95, 0.005, 0.5, 0.1),
        (0.95, 0.005, 0.01, 0.5),
        (0.6, 0.3, 0.1, 0.1),
        (0.9, 0.1, 0.3, 0.01),
    ],
)
@pytest.mark.parametrize(("images", "of_set", "sets"), [(30, 20, 1), (100, 50, 2)])
def test_the_interval_covers_the_true_share(
    accepted, mistaken, ood, prevalence, images, of_set, sets, monkeypatch
):
    monkeypatch.setattr("gsc_core.evaluation.reliability.DRAWS", 2000)
    of_id, of_ood = (1 - prevalence) * accepted, prevalence * ood
    truth = (of_id * mistaken + of_ood) / (of_id + of_ood)
    rng, repeats = np.random.default_rng(0), 500
    chances = [accepted * (1 - mistaken), accepted * mistaken, 1 - accepted]
    found = []
    for _ in range(repeats):
        right, wrong, _ = rng.multinomial(images, chances).tolist()
        of_sets = [counted(int(k), of_set) for k in rng.binomial(of_set, ood, sets)]
        found.append(accepted_errors(right, wrong, images, of_sets, prevalence))
    slack = 3 * math.sqrt(0.025 * 0.975 / repeats)
    assert np.mean([one.low > truth for one in found]) <= 0.03 + slack
    assert np.mean([one.high < truth for one in found]) <= 0.03 + slack


def test_how_many_familiar_images_are_accepted_is_in_doubt_too():
    """Nothing else is: no mistake was seen, and of a million OOD images all are accepted."""
    found = accepted_errors(10, 0, 20, [counted(10**6, 10**6)], 0.5)
    assert found.value == pytest.approx(1 / 1.5)
    assert found.low == pytest.approx(1 / (1 + counted(10, 20).high), abs=0.005)


def test_where_nothing_is_accepted_there_is_no_share():
    with pytest.raises(GscError, match="choose a higher one"):
        accepted_errors(0, 0, 20, [counted(0, 5)], 0.1)
    with pytest.raises(GscError, match="run the audit with labels"):
        accepted_errors(0, 0, 0, [counted(1, 5)], 0.1)
    only_ood = accepted_errors(0, 0, 20, [counted(1, 5)], 0.1)
    assert (only_ood.value, only_ood.high) == (1, 1)
    with pytest.raises(GscError, match="not finite"):
        Objections.of([math.nan], [1.0])
