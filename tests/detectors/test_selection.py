"""Adaptive selection and what it is made of, against loops, numpy, scikit-learn and autograd."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import product

import numpy as np
import pytest
import torch
from hooked import export, feature_of, gradient_of, tail
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve
from small_classifier import (
    EVERYTHING,
    Convolutional,
    Flat,
    calibrate,
    exported,
    flat,
    pictures,
    planted,
    world,
)
from torch import Tensor

from gsc_core.classifier.network import Linear, Network
from gsc_core.detectors.base import Calibration
from gsc_core.detectors.gsc import GSC
from gsc_core.detectors.readout import LEVEL_QUANTILES, ReadOut, Scale, levels
from gsc_core.detectors.selection import DOUBT, TIE, read, select
from gsc_core.detectors.selection_loss import by_kind, separation
from gsc_core.detectors.short_circuit import RANKINGS, SHARES, PooledGSC, candidates, detector_of
from gsc_core.evaluation.metrics import metrics
from gsc_core.evaluation.selection import NOTHING, Selection, ShortCircuit, loss
from gsc_core.images.surrogates import KINDS as ALL_KINDS
from gsc_core.scoring.onepass import represent

Array = NDArray[np.float64]
KINDS = [kind.name for kind in ALL_KINDS[:4]]


def cut(layer: str, ranking: str, share: float, how: str, granularity: str = "element"):
    return ShortCircuit(
        layer=layer, granularity=granularity, ranking=ranking, share=share, intervention=how
    )


# --- how well a score parts two sets -------------------------------------------------------------


def by_sklearn(ours: Array, theirs: Array) -> tuple[float, float]:
    """FPR95 and AUROC with scikit-learn: ID is positive and has the higher minus score."""
    truth = np.r_[np.ones(len(ours)), np.zeros(len(theirs))]
    score = -np.r_[ours, theirs]
    fpr, tpr, _ = roc_curve(truth, score, drop_intermediate=False)
    return float(fpr[np.argmax(tpr >= 0.95 - 1e-12)]), float(roc_auc_score(truth, score))


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


def brute_loss(ours: Array, theirs: Array) -> float:
    """Geometric mean over the kinds of FPR95 + 1 − AUROC, each five points up."""
    each = [by_sklearn(ours, theirs[at::4]) for at in range(4)]
    product_ = math.prod(fpr95 + 1 - auroc + 0.05 for fpr95, auroc in each)
    return float(product_**0.25)


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


# --- ways to cut ---------------------------------------------------------------------------------


def every_way(
    layer: str, granularity: str, interventions: Sequence[str] = ("zero", "truncate")
) -> list[ShortCircuit]:
    shares = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
    rankings = ("gradient", "attribution", "activation")
    ways = product(rankings, shares, interventions)
    return [cut(layer, ranking, share, how, granularity) for ranking, share, how in ways]


POOLED = every_way("pooled", "element")
SPLIT = [*every_way("split", "channel"), *every_way("split", "element")]
SEARCHED = [way for way in SPLIT if way.intervention == "zero"]


@cache
def flat_network() -> Network:
    return exported(
        Flat(torch.randn(4, 432, generator=torch.Generator().manual_seed(0)), torch.zeros(4))
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "ways"),
    [
        (lambda: world().network, [*POOLED, *SEARCHED]),
        (flat_network, POOLED),
        (lambda: exported(Convolutional()), SEARCHED),
    ],
    ids=["split and linear", "linear alone", "split alone"],
)
def test_candidates_are_all_ways_that_the_network_allows(network, ways) -> None:
    found = list(candidates(network()))
    assert found[0] == NOTHING and detector_of(NOTHING) is None
    assert Counter(found[1:]) == Counter(ways)
    assert len(ways) in (42, 84)


@pytest.mark.parametrize("option", [*POOLED, *SPLIT], ids=str)
def test_the_detector_of_an_option_has_its_knobs(option: ShortCircuit) -> None:
    detector = detector_of(option)
    assert type(detector) is (PooledGSC if option.layer == "pooled" else GSC)
    knobs = detector.settings()
    assert (
        ShortCircuit(layer=option.layer, **{n: knobs[n] for n in option.model_dump() if n in knobs})
        == option
    )
    assert (knobs["update"], knobs["direction"]) == ("exact", "published")
    assert ShortCircuit.model_validate_json(option.model_dump_json()) == option


def test_doing_nothing_is_the_simplest_and_cutting_less_is_simpler() -> None:
    ways = [*POOLED, *SPLIT]
    assert all(NOTHING.complexity < way.complexity for way in ways)
    for way in ways:
        dearer = [way.model_copy(update={"share": share}) for share in SHARES if share > way.share]
        if way.intervention == "zero":
            dearer.append(way.model_copy(update={"intervention": "truncate"}))
        if way.granularity == "channel":
            dearer.append(way.model_copy(update={"granularity": "element"}))
        assert all(way.complexity < each.complexity for each in dearer)


def wanted(share: float, n: int) -> int:
    return math.ceil(Fraction(str(share)) * n)


def cut_by_hand(h: Array, g: Array, caps: Array, option: ShortCircuit) -> Array:
    """One image's feature `[C,P]` after the cut, a channel or a value at a time."""
    value = {"gradient": g, "attribution": g * h, "activation": h}[option.ranking]
    whole = option.granularity == "channel"
    ranked = np.abs(value.sum(axis=1) if whole else value).flatten()
    after = h.copy()
    for i in np.argsort(-ranked, kind="stable")[: wanted(option.share, len(ranked))]:
        at = i if whole else np.unravel_index(i, h.shape)
        channel = i if whole else at[0]
        after[at] = 0 if option.intervention == "zero" else np.minimum(after[at], caps[channel])
    return after


def caps_by_hand(features: Array) -> Array:
    """The value `[C]` that 95 % of each channel of `features [N,C,P]` are at or below."""
    return np.quantile(features, 0.95, axis=(0, 2), method="inverted_cdf")


@pytest.mark.parametrize("how", ["zero", "truncate"])
@pytest.mark.parametrize("ranking", RANKINGS)
def test_pooled_cut_is_a_loop_over_images(ranking: str, how: str) -> None:
    w, images = world(), 1.5 * pictures(12, seed=9)[0]  # stronger: some is to be truncated
    option = cut("pooled", ranking, 0.3, how)
    logits, features = (
        detector_of(option).fit(w.calibration).after(represent(w.network, images, EVERYTHING))
    )
    with torch.no_grad():
        known, pooled = (w.model.pooled(x).numpy().astype(float) for x in (w.images, images))
    weight, bias = (p.detach().numpy().astype(float) for p in (w.model.fc.weight, w.model.fc.bias))
    caps, changed = caps_by_hand(known[:, :, None]), 0
    for i, h in enumerate(pooled):
        row = weight[np.argmax(weight @ h + bias)]
        after = cut_by_hand(h[:, None], row[:, None], caps, option)[:, 0]
        changed += not np.array_equal(after, h)
        np.testing.assert_allclose(features[i], after, atol=1e-5)
        np.testing.assert_allclose(logits[i], weight @ after + bias, atol=1e-4)
    assert changed


def test_the_pooled_gradient_is_autograds() -> None:
    w, images = world(), pictures(12, seed=9)[0]
    detector = detector_of(cut("pooled", "gradient", 0.3, "zero")).fit(w.calibration)
    feature, gradient = detector.at(represent(w.network, images, EVERYTHING))
    leaf = w.model.pooled(images).detach().requires_grad_()
    w.model.fc(leaf).amax(dim=1).sum().backward()
    assert torch.allclose(feature, leaf.detach(), atol=1e-5)
    assert torch.allclose(gradient, leaf.grad, atol=1e-6)


@cache
def calibrated_at(layer: str) -> Calibration:
    """Calibration of the small classifier, cut at a layer."""
    network = Network(export(world().model, 12), layer)
    return calibrate(network, *pictures(40, seed=2))


@pytest.mark.parametrize("how", ["zero", "truncate"])
@pytest.mark.parametrize("ranking", RANKINGS)
@pytest.mark.parametrize("granularity", ["element", "channel"])
@pytest.mark.parametrize("layer", ["first", "block"])
def test_a_cut_at_a_layer_is_a_loop_over_images(
    layer: str, granularity: str, ranking: str, how: str
) -> None:
    model, images = world().model, pictures(8, seed=9)[0]
    calibration = calibrated_at(layer)
    option = cut("split", ranking, 0.3, how, granularity)
    logits, features = (
        detector_of(option)
        .fit(calibration)
        .after(represent(calibration.network, images, EVERYTHING))
    )
    caps = caps_by_hand(feature_of(model, layer, pictures(40, seed=2)[0]).flatten(2).numpy())
    pooled: list[Tensor] = []
    hook = model.fc.register_forward_pre_hook(lambda _, given: pooled.append(given[0].detach()))
    for i, image in enumerate(images):
        _, h, g = gradient_of(model, layer, image[None])
        by_hand = cut_by_hand(h.flatten(1).numpy(), g.flatten(1).numpy(), caps, option)
        expected = tail(model, layer, image[None])(torch.from_numpy(by_hand).view_as(h)[None])
        assert torch.allclose(logits[i], expected[0].detach(), atol=1e-4)
        assert torch.allclose(features[i], pooled[-1][0], atol=1e-5)
    hook.remove()


# --- from logits to readings ---------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 30), st.integers(0, 10**6))
@example(10, 10, 0)  # 90 and 98 of 100: whole numbers
@example(1, 1, 0)
@settings(max_examples=60, deadline=None)
def test_so_many_of_the_features_lie_below_a_level(n: int, d: int, seed: int) -> None:
    features = np.random.default_rng(seed).normal(size=(n, d)).round(1).astype(np.float32)
    for kept, level in zip((0.90, 0.95, 0.98), levels(torch.from_numpy(features)), strict=True):
        low, high = (np.quantile(features, kept, method=m) for m in ("inverted_cdf", "higher"))
        up = np.sort(features, axis=None)
        after = up[min(len(up) - 1, np.searchsorted(up, low, side="right"))]
        assert level in (low, high, after)  # of whole numbers the next above is as right
        assert (features < level).mean() <= kept + 1e-9
        assert (features <= level).mean() >= kept


@pytest.mark.slow
def test_levels_of_many_features_are_those_of_all() -> None:
    """Too many to sort: some are left out, but no feature is."""
    features = torch.rand(4200, 1024, generator=torch.Generator().manual_seed(0))
    features[:, 1::2] += 1  # every other feature is stronger
    exact = np.quantile(features.numpy(), LEVEL_QUANTILES)
    assert levels(features) == pytest.approx(tuple(exact), abs=0.002)


def readings_by_hand(
    h: Array, c: int, weight: Array, bias: Array, cuts: Sequence[float], centres: Sequence[Array]
) -> list[float]:
    """One image's readings at every level: residual logit, energy, margin by length."""
    found = []
    for level, centre in zip(cuts, centres, strict=True):
        left = np.minimum(h, level)
        z = weight @ left + bias
        margin = sum(z[c] - other for other in z) / len(z) / math.dist(left, centre)
        found += [-float(z[c]), -math.log(sum(math.exp(v) for v in z)), -margin]
    return found


def judged_by(calibration: Calibration, *cuts: float) -> ReadOut:
    """Readings at these levels beside those of the features as they are."""
    linear, features = calibration.network.linear, calibration.features
    assert linear is not None and features is not None
    whole = (math.inf, *cuts)
    return ReadOut(linear, whole, tuple(features.clamp(max=cut).mean(0) for cut in whole))


def usual(calibration: Calibration) -> ReadOut:
    """The readings of an audit."""
    return ReadOut.of(calibration.network.linear, calibration.features)


def drawn(n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Linear]:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    linear = Linear(draw(5, 9), draw(5))
    features = draw(n, 9)
    return linear(features), features, torch.randint(5, (n,), generator=generator), linear


@pytest.mark.parametrize("cuts", [(), (0.3,), (-0.2, 0.5, 1.5)])
def test_readings_are_a_loop_over_images_and_levels(cuts: tuple[float, ...]) -> None:
    logits, features, predicted, linear = drawn(7)
    whole, centres = (math.inf, *cuts), torch.randn(1 + len(cuts), 9)
    found = ReadOut(linear, whole, tuple(centres))(logits, features, predicted)
    weight, bias = linear.weight.double().numpy(), linear.bias.double().numpy()
    expected = [
        readings_by_hand(h, c, weight, bias, whole, centres.double().numpy())
        for h, c in zip(features.double().numpy(), predicted.tolist(), strict=True)
    ]
    assert found.shape == (7, 3 * len(whole))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_margin_is_that_of_fdbd() -> None:
    """With rows of one distance from each other, it is the library's score but for a factor."""
    _, features, _, _ = drawn(7)
    linear = Linear(torch.eye(9), torch.zeros(9))
    predicted = features.argmax(dim=1)
    centre = features.mean(dim=0)
    ours = ReadOut(linear, (math.inf,), (centre,))(features, features, predicted)[:, 2]
    gaps = (features.amax(dim=1, keepdim=True) - features).sum(dim=1) / math.sqrt(2)
    theirs = -gaps / 8 / (features - centre).norm(dim=1)
    assert torch.allclose(ours, theirs * math.sqrt(2) * 8 / 9, atol=1e-6)


def test_a_level_above_all_features_changes_nothing() -> None:
    logits, features, predicted, linear = drawn(7)
    centre = features.mean(dim=0)
    found = ReadOut(linear, (math.inf, 1e6), (centre, centre))(logits, features, predicted)
    assert torch.allclose(found[:, 3:], found[:, :3], atol=1e-6)


def test_without_a_linear_map_there_are_two_readings() -> None:
    logits, _, predicted, _ = drawn(7)
    for read_out in (ReadOut(None), ReadOut.of(None, None)):
        assert read_out(logits, None, predicted).shape == (7, 2)
        assert not read_out.caps and read_out.columns(capped=False) == [0, 1]


def test_a_read_out_takes_levels_and_centres_from_the_features() -> None:
    _, features, _, linear = drawn(50)
    found = ReadOut.of(linear, features)
    assert found.cuts == (math.inf, *levels(features))
    for cut, centre in zip(found.cuts, found.centres, strict=True):
        np.testing.assert_allclose(centre, np.minimum(features, cut).mean(axis=0), atol=1e-6)


def test_which_readings_are_averaged() -> None:
    _, features, _, linear = drawn(50)
    found = ReadOut.of(linear, features)
    assert found.columns(capped=False) == [0, 1, 2]
    assert found.columns(capped=True) == list(range(3, 12))
    assert found.columns(capped=False, judging=True) == [0, 1]  # the margin is not judged by
    assert found.columns(capped=True, judging=True) == [2, 3, 4, 5, 6, 7]


def test_a_score_is_the_mean_of_standardised_readings() -> None:
    rng = np.random.default_rng(3)
    sample, others = rng.normal(size=(50, 6)) * np.arange(1, 7), rng.normal(size=(8, 6))
    scale = Scale.of(torch.from_numpy(sample))
    low, middle, high = np.quantile(sample, [0.16, 0.5, 0.84], axis=0)
    standard = (others - middle) / ((high - low) / 2)
    for columns in ([0, 1], [2, 3, 5]):
        found = scale.mean(torch.from_numpy(others), columns)
        np.testing.assert_allclose(found, standard[:, columns].mean(axis=1), rtol=1e-5)


def test_a_single_reading_keeps_its_order() -> None:
    generator = torch.Generator().manual_seed(0)
    one, others = (100 * torch.rand(n, 1, generator=generator) - 7 for n in (40, 25))
    found = Scale.of(one.expand(-1, 4)).mean(others.expand(-1, 4), [1, 3])
    assert torch.equal(found.argsort(), others[:, 0].argsort())


def test_readings_that_never_vary_leave_scores_finite() -> None:
    scale = Scale.of(torch.ones(30, 4))
    assert bool(scale.mean(torch.tensor([[1.0] * 4, [2.0] * 4]), [0, 1]).isfinite().all())


# --- the choice ----------------------------------------------------------------------------------

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
