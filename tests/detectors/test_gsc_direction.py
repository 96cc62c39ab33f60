"""Which way GSC's score points is learned, and truncation levels are quantiles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gsc_worlds import MODULES, World, world
from hooked import feature_of
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from gsc_core.detectors.base import Calibration, Representation
from gsc_core.detectors.gsc import GSC
from gsc_core.detectors.gsc_drop import DropGSC


def constructed(best: np.ndarray, one: World) -> Representation:
    """Images whose largest logit is `best`: with nothing short-circuited the score is its minus."""
    logits = torch.full((len(best), 5), -1e3)
    logits[torch.arange(len(best)), torch.arange(len(best)) % 5] = torch.from_numpy(best).float()
    assert one.network.split is not None
    nothing = torch.zeros(len(best), *one.network.split.shape)
    return Representation(logits, feature_map=nothing, gradient=nothing)


few_values = st.lists(st.integers(-4, 4), min_size=10, max_size=30)


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(few_values, few_values)
@example([1] * 10, [1] * 10)
@example([1] * 10, [2] * 10)
@example([2] * 10, [1] * 10)
@example([0, 1] * 5, [0, 1] * 6)
@example([0] * 5 + [1] * 6 + [2], [0, 0, 0, 1, 0, 1, 1, 0, 1, 2, 1, 1])  # just 0.5
def test_the_direction_turns_exactly_when_surrogates_score_lower(
    known: list[int], strange: list[int]
) -> None:
    one = world("maps")
    ours, theirs = np.array(known, float), np.array(strange, float)
    sample, surrogates = constructed(ours, one), constructed(theirs, one)
    unknown = torch.full((len(ours),), -1)
    calibration = Calibration(one.network, sample.logits, None, unknown, sample, surrogates)
    knobs = {"share": 0.0, "reading": "residual_logit"}
    learned = GSC(**knobs).fit(calibration)
    strange_is_one = np.r_[np.zeros(len(ours)), np.ones(len(theirs))]
    auroc = roc_auc_score(strange_is_one, np.r_[-ours, -theirs])
    assert learned.flipped_ == (round(auroc, 12) < 0.5)
    published = DropGSC(**knobs).fit(calibration)
    assert not published.flipped_
    sign = -1 if learned.flipped_ else 1
    assert torch.equal(published.score(sample), -sample.logits.amax(1))
    assert torch.equal(learned.score(sample), sign * published.score(sample))


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("reading", ["drop", "softmax", "residual_logit"])
def test_learned_and_published_differ_in_their_sign_alone(name: str, reading: str) -> None:
    one = world(name)
    assert one.calibration.surrogates is not None
    published = DropGSC(reading=reading).fit(one.calibration)
    learned = GSC(reading=reading).fit(one.calibration)
    known, strange = (
        published.score(batch).numpy()
        for batch in (one.calibration.sample, one.calibration.surrogates)
    )
    auroc = roc_auc_score([0] * len(known) + [1] * len(strange), np.r_[known, strange])
    assert learned.flipped_ == (auroc < 0.5)
    sign = -1 if auroc < 0.5 else 1
    assert torch.equal(learned.score(one.batch), sign * published.score(one.batch))
    turned = replace(
        one.calibration, sample=one.calibration.surrogates, surrogates=one.calibration.sample
    )
    assert GSC(reading=reading).fit(turned).flipped_ == (auroc > 0.5)


def test_fitting_again_learns_anew() -> None:
    one = world("maps")
    high, low = constructed(np.arange(10.0), one), constructed(np.arange(10.0) - 20, one)
    unknown = torch.full((10,), -1)
    first = Calibration(one.network, high.logits, None, unknown, high, low)
    detector = GSC(share=0.0, reading="residual_logit")
    assert not detector.fit(first).flipped_
    assert detector.fit(replace(first, sample=low, surrogates=high)).flipped_
    assert not detector.fit(first).flipped_


@pytest.mark.parametrize("name", MODULES)
def test_truncation_levels_are_numpys_quantiles_of_each_channel(name: str) -> None:
    one = world(name)
    known = one.calibration.sample.feature_map
    assert known is not None
    per_channel = np.moveaxis(known.numpy(), one.channel, 0).reshape(known.shape[one.channel], -1)
    for percentile in (0.0, 0.25, 0.6, 0.95, 1.0):
        detector = GSC(intervention="truncate", percentile=percentile, direction="published")
        caps = detector.fit(one.calibration).caps_
        truth = np.quantile(per_channel, percentile, axis=1, method="inverted_cdf")
        assert caps is not None
        np.testing.assert_array_equal(caps.flatten().numpy(), truth)
    feature = feature_of(one.module, one.layer, one.images)
    assert caps.ndim == feature.ndim and caps.shape[one.channel] == feature.shape[one.channel]
