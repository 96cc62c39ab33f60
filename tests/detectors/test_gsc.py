"""GSC against a loop over images on the original module, with hooks, sorting and second passes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from gsc_worlds import IMAGES, MODULES, Maps, brute_logits, build, world
from hooked import along, export, gradient_of, tail
from torch import Tensor, nn

from gsc_core.classifier.network import Network
from gsc_core.detectors.base import Representation
from gsc_core.detectors.gsc import GSC
from gsc_core.detectors.gsc_drop import DropGSC
from gsc_core.errors import Excused


@pytest.mark.slow
@pytest.mark.parametrize("intervention", ["zero", "truncate"])
@pytest.mark.parametrize("granularity", ["element", "channel"])
def test_the_change_lies_in_memory_as_the_feature_does(intervention: str, granularity: str) -> None:
    """Or the head, which is fastest with channels last, turns it around first."""
    one = world("maps")
    detector = GSC(intervention=intervention, granularity=granularity, direction="published")
    detector.fit(one.calibration)
    feature, _ = detector.at(one.batch)
    last, first = (torch.channels_last, torch.contiguous_format)
    for memory_format in (last, first):
        laid = feature.contiguous(memory_format=memory_format)
        batch = replace(one.batch, feature_map=laid)
        assert detector.change(batch).stride() == laid.stride()
        assert torch.equal(detector.change(batch), detector.change(one.batch))


def brute_score(before: Tensor, after: Tensor, reading: str, confidence: str) -> list[float]:
    """Published scores from logits before and after, one image and one number at a time."""

    def confident(y: list[float], predicted: int) -> float:
        if confidence == "logit":
            return y[predicted]
        total = sum(math.exp(v) for v in y)
        return max(math.exp(v) / total for v in y) if confidence == "softmax" else math.log(total)

    scores = []
    for y, z in zip(before.tolist(), after.tolist(), strict=True):
        c = y.index(max(y))
        drop = confident(y, c) - confident(z, c)
        total = sum(math.exp(v) for v in z)
        scores.append(
            {
                "drop": drop,
                "relative_drop": drop / abs(confident(y, c)),
                "residual_logit": -z[c],
                "energy": -math.log(total),
                "softmax": -math.log(max(math.exp(v) / total for v in z)),
            }[reading]
        )
    return scores


READINGS = [
    *((reading, kind) for reading in ("drop", "relative_drop") for kind in ("softmax", "energy")),
    ("drop", "logit"),
    ("relative_drop", "logit"),
    ("residual_logit", "softmax"),
    ("energy", "softmax"),
    ("softmax", "softmax"),
]


@pytest.mark.slow
@pytest.mark.parametrize("update", ["first_order", "exact"])
@pytest.mark.parametrize("intervention", ["zero", "truncate"])
@pytest.mark.parametrize("ranking", ["gradient", "attribution", "activation", "random"])
@pytest.mark.parametrize("granularity", ["element", "channel"])
@pytest.mark.parametrize("name", MODULES)
def test_every_reading_is_brute_force(
    name: str, granularity: str, ranking: str, intervention: str, update: str
) -> None:
    """Within 2e-4 of the largest logit, or 2e-4 of a share for the softmax readings."""
    one = world(name)
    knobs = {
        "share": 0.3,
        "granularity": granularity,
        "ranking": ranking,
        "intervention": intervention,
        "percentile": 0.6,
        "update": update,
        "direction": "published",
    }
    first = GSC(**knobs).fit(one.calibration)
    before, after = brute_logits(one, first)
    scale = float(before.abs().max())
    ours = first.logits_after(one.batch)
    assert float((ours - after).abs().max()) < 2e-5 * scale
    assert torch.equal(ours.argmax(1), after.argmax(1))
    assert float((after - before).abs().max()) > 1e-3 * scale  # something was short-circuited
    for reading, confidence in READINGS:
        detector = GSC(**knobs, reading=reading, confidence=confidence).fit(one.calibration)
        truth = brute_score(before, after, reading, confidence)
        relative = reading == "relative_drop"
        spread = max(abs(value) for value in truth)
        np.testing.assert_allclose(
            detector.score(one.batch).numpy(), truth, rtol=0, atol=2e-4 * max(1, spread * relative)
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_the_published_method_from_its_description_alone(name: str) -> None:
    """Top 20 % of |g| to zero, first order, drop of the largest softmax: nothing else is set."""
    one = world(name)
    detector = DropGSC().fit(one.calibration)
    expected = []
    for image in one.images:
        logits, feature, gradient = gradient_of(one.module, one.layer, image[None])
        h, g = feature.flatten(), gradient.flatten()
        order = np.argsort(-g.abs().numpy(), kind="stable")
        changed = h.clone()
        changed[order[: math.ceil(len(h) / 5)]] = 0
        run = tail(one.module, one.layer, image[None])
        change = (changed - h).view_as(feature)[None]
        after = logits + along(run, feature[None], change)[0]
        expected.append(float(logits.softmax(0).max() - after.softmax(0).max()))
    np.testing.assert_allclose(detector.score(one.batch).numpy(), expected, atol=2e-5)


@pytest.mark.parametrize("name", MODULES)
def test_the_predicted_logits_dot_product_is_the_whole_products_entry(name: str) -> None:
    """`y_c + <g, h'−h>` from the gradient, and entry `c` of `y + J(h'−h)`, are one number."""
    one = world(name)
    for granularity in ("element", "channel"):
        detector = GSC(granularity=granularity, direction="published").fit(one.calibration)
        whole = detector.logits_after(one.batch)
        entry = whole.gather(1, one.batch.predicted[:, None])[:, 0]
        torch.testing.assert_close(
            detector.predicted_logit_after(one.batch), entry, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("granularity", ["element", "channel"])
def test_share_nothing_and_share_everything(name: str, granularity: str) -> None:
    one = world(name)
    for update in ("first_order", "exact"):
        knobs = {"granularity": granularity, "update": update, "direction": "published"}
        nothing = GSC(share=0.0, **knobs).fit(one.calibration)
        assert not nothing.mask(one.batch).any()
        torch.testing.assert_close(
            nothing.logits_after(one.batch), one.batch.logits, rtol=1e-5, atol=1e-5
        )
        torch.testing.assert_close(nothing.score(one.batch), torch.zeros(IMAGES), rtol=0, atol=1e-6)
        everything = GSC(share=1.0, **knobs).fit(one.calibration)
        assert everything.mask(one.batch).all()
    assert one.batch.feature_map is not None
    empty = torch.zeros_like(one.batch.feature_map)
    truth = tail(one.module, one.layer, one.images)(empty)
    torch.testing.assert_close(
        everything.logits_after(one.batch), truth.detach(), rtol=1e-4, atol=1e-5
    )


def test_too_few_images_and_no_cut_are_excused() -> None:
    one = world("maps")
    few = replace(one.calibration, sample=one.calibration.sample[:3])
    with pytest.raises(Excused, match="3"):
        GSC().fit(few)
    with pytest.raises(Excused, match="3"):
        GSC(direction="published", intervention="truncate").fit(few)
    with pytest.raises(Excused, match="at least 10"):
        GSC().fit(replace(one.calibration, surrogates=None))
    DropGSC().fit(few)

    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, 5))
    with pytest.raises(Excused, match="cut"):
        DropGSC().fit(replace(one.calibration, network=Network(export(flat, 16))))


@dataclass(eq=False)
class Scaled(GSC):
    """GSC whose change of the feature is only a share `times` of itself."""

    times: float = field(default=1.0)

    def change(self, batch: Representation) -> Tensor:
        return self.times * super().change(batch)


def test_first_order_is_exact_before_pooling_and_a_linear_map() -> None:
    one = world("linear")
    assert one.network.split is not None and one.network.split.linear
    for ranking in ("gradient", "attribution", "activation"):
        for granularity in ("element", "channel"):
            knobs = {"ranking": ranking, "granularity": granularity, "direction": "published"}
            first = GSC(**knobs, update="first_order").fit(one.calibration)
            exact = GSC(**knobs, update="exact").fit(one.calibration)
            torch.testing.assert_close(
                first.predicted_logit_after(one.batch),
                exact.predicted_logit_after(one.batch),
                rtol=1e-5,
                atol=1e-5,
            )
            torch.testing.assert_close(
                first.logits_after(one.batch), exact.logits_after(one.batch), rtol=1e-5, atol=1e-5
            )


@pytest.mark.parametrize("granularity", ["element", "channel"])
def test_first_order_closes_in_quadratically_on_a_smooth_head(granularity: str) -> None:
    """Half the change leaves a quarter of the error: 4 within a tenth, at float32."""
    torch.manual_seed(3)
    one = build(Maps(nn.SiLU), "first", 1)
    assert one.network.split is not None and not one.network.split.linear

    def error(times: float) -> Tensor:
        knobs = {"granularity": granularity, "direction": "published", "times": times}
        first = Scaled(**knobs, update="first_order").fit(one.calibration)
        exact = Scaled(**knobs, update="exact").fit(one.calibration)
        return (first.logits_after(one.batch) - exact.logits_after(one.batch)).double().norm()

    errors = [float(error(times)) for times in (1, 1 / 4, 1 / 8, 1 / 16)]
    assert errors[0] > 1e-3  # the whole change: they do differ
    assert 3.6 < errors[1] / errors[2] < 4.4
    assert 3.6 < errors[2] / errors[3] < 4.4


def test_the_logits_after_are_shared_only_by_the_same_cut() -> None:
    """Asked in turn of one batch or each of a fresh one, no two detectors are mixed up."""
    torch.manual_seed(3)
    one = build(Maps(nn.SiLU), "first", 1)
    cuts = [
        {"share": share, "granularity": granularity, "ranking": ranking}
        for share in (0.1, 0.4)
        for granularity in ("element", "channel")
        for ranking in ("gradient", "activation")
    ]
    fitted = [GSC(direction="published", **cut).fit(one.calibration) for cut in cuts]
    together = [each.logits_after(one.batch) for each in fitted]
    alone = [each.logits_after(replace(one.batch)) for each in fitted]
    for a, b in zip(together, alone, strict=True):
        assert torch.equal(a, b)
    assert len({each.sum().item() for each in alone}) == len(cuts)
    again = GSC(direction="published", reading="energy", **cuts[0]).fit(one.calibration)
    assert again.logits_after(one.batch) is together[0]
