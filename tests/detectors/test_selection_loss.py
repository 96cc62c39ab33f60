"""How well a score separates two sets, against scikit-learn and loops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from brute_selection import KINDS, brute_loss, by_sklearn, usual
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_classifier import (
    planted,
)

from gsc_core.detectors.selection import select
from gsc_core.detectors.selection_loss import by_kind, separation
from gsc_core.detectors.short_circuit import candidates
from gsc_core.evaluation.metrics import metrics
from gsc_core.evaluation.selection import loss

scores = st.lists(st.sampled_from([-1.5, 0.0, 0.25, 0.5, 0.75, 1.0, 3.0]), min_size=1, max_size=60)


@pytest.mark.slow
@given(scores, scores)
@example([0.0] * 20, [0.0])
@example([*[0.0] * 19, 1.0], [0.0, 1.0, 2.0])
@example([*[0.0] * 18, 1.0, 1.0], [0.0, 1.0, 2.0])
@settings(max_examples=200, deadline=None)
def test_separation_is_that_of_metrics_and_of_scikit_learn(
    ours: list[float], theirs: list[float]
) -> None:
    found = separation(torch.tensor(ours), torch.tensor(theirs))
    reported = metrics(ours, theirs)
    assert found.fpr95 == pytest.approx(reported.fpr95, abs=1e-12)
    assert found.auroc == pytest.approx(reported.auroc, abs=1e-12)
    assert tuple(found) == pytest.approx(by_sklearn(np.array(ours), np.array(theirs)), abs=1e-12)


def test_each_kind_counts_in_the_loss() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = rng.normal(0, 1, 90), rng.normal(0, 1, 80)
    theirs[1::4] += 9  # the second kind lies apart, the third almost
    theirs[2::4] += 2
    found = by_kind(torch.from_numpy(ours), torch.from_numpy(theirs), torch.arange(80) % 4)
    assert list(found) == KINDS
    for at, name in enumerate(KINDS):
        assert tuple(found[name]) == pytest.approx(by_sklearn(ours, theirs[at::4]), abs=1e-12)
    assert tuple(found["jigsaw"]) == (0.0, 1.0)
    assert 0.3 < found["zoom"].auroc < 0.7 < found["phase"].auroc < 1
    assert loss(found) == pytest.approx(brute_loss(ours, theirs), abs=1e-12)


@pytest.mark.parametrize(
    "lost",
    [
        [6],  # so that all that come after it are not in turn
        range(2, 40, 4),  # half of the third kind: a multiple of four is left over
        range(3, 80, 4),  # the whole of the last
    ],
)
def test_a_kind_that_lost_members_is_judged_by_the_others(lost: Sequence[int]) -> None:
    rng = np.random.default_rng(2)
    ours, theirs = rng.normal(0, 1, 90), rng.normal(0, 1, 80)
    for kind in range(4):
        theirs[kind::4] += 2 * kind
    there = rng.permutation(np.setdiff1d(np.arange(80), lost))  # in any order
    found = by_kind(torch.from_numpy(ours), *map(torch.from_numpy, (theirs[there], there % 4)))
    for kind, name in enumerate(KINDS):
        left = theirs[there[there % 4 == kind]]
        assert (name in found) == bool(len(left))
        if len(left):
            assert tuple(found[name]) == pytest.approx(by_sklearn(ours, left), abs=1e-12)


def test_the_loss_runs_from_nothing_to_two() -> None:
    low, high, kinds = torch.zeros(20), torch.ones(20), torch.arange(20) % 4
    assert loss(by_kind(low, high, kinds)) == pytest.approx(0.05, abs=1e-12)
    assert loss(by_kind(high, low, kinds)) == pytest.approx(2.05, abs=1e-12)


@pytest.mark.slow
def test_a_choice_does_not_depend_on_the_order_of_surrogates() -> None:
    """Without the readings of an eighth of them, which are others in another order."""
    calibration = planted(40)
    assert calibration.surrogates is not None
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    mixed = replace(calibration, surrogates=calibration.surrogates[order])
    options = list(candidates(calibration.network))
    losses = [
        {(each.short_circuit, each.capped): each.loss for each in found.tried}
        for found in (select(c, options, usual(calibration)) for c in (calibration, mixed))
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
