"""Ways to cut: which there are, and what they leave, against loops and autograd."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import product

import numpy as np
import pytest
import torch
from brute_selection import caps_by_hand, cut, cut_by_hand
from hooked import export, feature_of, gradient_of, tail
from small_classifier import (
    EVERYTHING,
    Convolutional,
    Flat,
    calibrate,
    exported,
    pictures,
    world,
)
from torch import Tensor

from gsc_core.classifier.network import Network
from gsc_core.detectors.base import Calibration
from gsc_core.detectors.gsc import GSC
from gsc_core.detectors.short_circuit import RANKINGS, SHARES, PooledGSC, candidates, detector_of
from gsc_core.evaluation.selection import NOTHING, ShortCircuit
from gsc_core.scoring.onepass import represent


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
