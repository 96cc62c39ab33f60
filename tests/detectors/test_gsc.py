"""GSC against a loop over images on the original module, with hooks, sorting and second passes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest
import timm
import torch
from hooked import along, export, feature_of, gradient_of, lively, tail
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from gsc_core.classifier.network import Network
from gsc_core.detectors.base import Calibration, Need, Representation
from gsc_core.detectors.gsc import GSC, confidence_of, count, select
from gsc_core.detectors.gsc_drop import DropGSC
from gsc_core.errors import Excused
from gsc_core.scoring.onepass import represent

NEEDS = GSC.needs | Need.FEATURES
IMAGES, CALIBRATION = 3, 12


class Maps(nn.Module):
    """Feature maps: a head with convolutions (`first`), and a linear one (`second`)."""

    def __init__(self, activation: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), activation())
        self.second = nn.Sequential(nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8), activation())
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.second(self.first(x)).mean((2, 3)))


@dataclass(frozen=True)
class World:
    """A network cut at a layer, the module it comes from, and what one pass yields."""

    module: nn.Module
    layer: str
    channel: int  # of the batched feature, known beforehand
    network: Network
    images: Tensor
    batch: Representation
    calibration: Calibration


MODULES: dict[str, tuple[Any, str, int]] = {
    "maps": (Maps, "first", 1),
    "linear": (Maps, "second", 1),
    "tokens": (
        lambda: timm.models.VisionTransformer(
            img_size=16, patch_size=4, embed_dim=12, depth=2, num_heads=2, num_classes=5
        ),
        "blocks.0",
        2,
    ),
    "channels-last": (
        lambda: timm.models.SwinTransformer(
            img_size=16,
            patch_size=2,
            window_size=4,
            embed_dim=12,
            depths=(1, 1),
            num_heads=(2, 2),
            num_classes=5,
        ),
        "layers.0",
        3,
    ),
}


def build(module: nn.Module, layer: str, channel: int) -> World:
    module = lively(module).requires_grad_(False)
    network = Network(export(module, 16), layer)
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(IMAGES + CALIBRATION, 3, 16, 16, generator=generator)
    sample = represent(network, images[IMAGES:], NEEDS)
    strangers = represent(network, images[IMAGES:].flip(1) * 0.7 + 0.2, NEEDS)
    unknown = torch.full((CALIBRATION,), -1)
    calibration = Calibration(network, sample.logits, sample.features, unknown, sample, strangers)
    batch = represent(network, images[:IMAGES], NEEDS)
    return World(module, layer, channel, network, images[:IMAGES], batch, calibration)


@cache
def world(name: str) -> World:
    make, layer, channel = MODULES[name]
    torch.manual_seed(3)
    return build(make(), layer, channel)


# --- brute force ------------------------------------------------------------------------------


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


def wanted(share: float, n: int) -> int:
    return math.ceil(Fraction(str(share)) * n)


def largest(values: list[float], k: int) -> list[int]:
    """Indices of the `k` largest, equal ones by their index."""
    return sorted(range(len(values)), key=lambda i: (-values[i], i))[:k]


def brute_mask(one: World, detector: GSC, feature: Tensor, gradient: Tensor) -> Tensor:
    """Which coordinates of one image's feature are short-circuited."""
    axis = one.channel - 1
    mask = torch.zeros(feature.shape, dtype=torch.bool)
    if detector.ranking == "random":  # no formula: what it is, is tested below
        return detector.mask(one.batch[:1])[0].expand_as(feature)
    if detector.granularity == "element":
        g, h = gradient.flatten().tolist(), feature.flatten().tolist()
        value = {
            "gradient": lambda i: abs(g[i]),
            "attribution": lambda i: abs(g[i] * h[i]),
            "activation": lambda i: abs(h[i]),
        }[detector.ranking]
        for i in largest([value(i) for i in range(len(g))], wanted(detector.share, len(g))):
            mask.view(-1)[i] = True
        return mask
    channels = feature.shape[axis]
    values = []
    for c in range(channels):
        g, h = gradient.select(axis, c), feature.select(axis, c)
        sums = {"gradient": g.sum(), "attribution": (g * h).sum(), "activation": h.sum()}
        values.append(abs(float(sums[detector.ranking])))
    for c in largest(values, wanted(detector.share, channels)):
        mask.select(axis, c).fill_(True)
    return mask


def brute_intervened(one: World, detector: GSC, feature: Tensor, mask: Tensor) -> Tensor:
    """The feature of one image after zeroing or truncating it."""
    after = feature.clone()
    axis = one.channel - 1
    known = one.calibration.sample.feature_map
    assert known is not None
    for c in range(feature.shape[axis]):
        part, chosen = after.select(axis, c), mask.select(axis, c)
        if detector.intervention == "zero":
            part[chosen] = 0
        else:
            values = known.select(one.channel, c).numpy()
            cap = float(np.quantile(values, detector.percentile, method="inverted_cdf"))
            part[chosen] = part[chosen].clamp(max=cap)
    return after


def brute_logits(one: World, detector: GSC) -> tuple[Tensor, Tensor]:
    """Logits `[B,K]` before and after, an image at a time on the original module."""
    before, after = [], []
    for image in one.images:
        logits, feature, gradient = gradient_of(one.module, one.layer, image[None])
        mask = brute_mask(one, detector, feature, gradient)
        changed = brute_intervened(one, detector, feature, mask)
        run = tail(one.module, one.layer, image[None])
        before.append(logits)
        if detector.update == "exact":
            after.append(run(changed[None])[0].detach())
        else:
            change = (changed - feature)[None]
            after.append(logits + along(run, feature[None], change)[0])
    return torch.stack(before).double(), torch.stack(after).double()


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


# --- first order and exact --------------------------------------------------------------------


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


# --- count and select -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "n", "expected"),
    [
        (0.07, 100, 7),  # 7.000000000000001 in floating point
        (0.1, 10, 1),
        (0.3, 10, 3),
        (0.29, 100, 29),
        (0.2, 512 * 49, 5018),
        (0.0, 7, 0),
        (1.0, 7, 7),
        (0.001, 10, 1),
        (0.5, 3, 2),
    ],
)
def test_count_is_the_next_whole_number(share: float, n: int, expected: int) -> None:
    assert count(share, n) == expected


@pytest.mark.slow
@given(st.integers(0, 10_000), st.integers(1, 2_000_000))
def test_count_has_no_rounding_noise(share: int, n: int) -> None:
    assert count(share / 10_000, n) == math.ceil(Fraction(share, 10_000) * n)


with_ties = st.sampled_from([-2.0, -1.0, -0.0, 0.0, 0.5, 0.5, 1.0, 3.0, math.inf, 1e-45])


@settings(max_examples=150, deadline=None)
@given(
    arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 12)), elements=with_ties),
    st.data(),
)
@example(np.float32([[0.0, -0.0, 0.0, -0.0]]), None)
def test_select_is_numpys_stable_sort(values: np.ndarray, data: Any) -> None:
    rows, n = values.shape
    k = data.draw(st.integers(0, n)) if data else 2
    mask = select(torch.from_numpy(values), k).numpy()
    expected = np.zeros((rows, n), bool)
    np.put_along_axis(expected, np.argsort(-values, axis=1, kind="stable")[:, :k], True, axis=1)
    np.testing.assert_array_equal(mask, expected)
    assert (mask.sum(axis=1) == k).all()
    for i in range(rows):  # a row is chosen from alone
        np.testing.assert_array_equal(select(torch.from_numpy(values[i : i + 1]), k)[0], mask[i])
    bigger = torch.from_numpy(values) * 2  # what keeps the order keeps the choice
    np.testing.assert_array_equal(select(bigger, k).numpy(), mask)


def test_select_on_many_columns() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(0, 50, (3, 25_088), generator=generator).float()
    mask = select(values, 5018).numpy()
    for row, chosen in zip(values.numpy(), mask, strict=True):
        order = np.argsort(-row, kind="stable")[:5018]
        np.testing.assert_array_equal(np.flatnonzero(chosen), np.sort(order))


# --- random control, batches, labels of channels ----------------------------------------------


@pytest.mark.parametrize("granularity", ["element", "channel"])
@pytest.mark.parametrize("name", MODULES)
def test_the_random_control_is_one_choice_for_all_images(name: str, granularity: str) -> None:
    one = world(name)
    knobs = {"ranking": "random", "granularity": granularity, "share": 0.3}
    knobs["direction"] = "published"
    masks = [GSC(**knobs, seed=seed).fit(one.calibration) for seed in range(3)]
    whole = [
        detector.mask(one.batch).expand(IMAGES, *one.network.split.shape) for detector in masks
    ]
    assert (whole[0] == whole[0][:1]).all()
    for i in range(IMAGES):
        single = masks[0].mask(one.batch[i : i + 1])
        assert torch.equal(single.expand_as(whole[0][:1]), whole[0][:1])
    assert not torch.equal(whole[0], whole[1]) and not torch.equal(whole[1], whole[2])
    n = (
        whole[0][0].numel()
        if granularity == "element"
        else one.network.split.shape[one.channel - 1]
    )
    chosen = whole[0][0].sum() * n // whole[0][0].numel()
    assert int(chosen) == wanted(0.3, n)


@pytest.mark.parametrize("name", MODULES)
def test_channels_are_chosen_whole_along_the_channel_axis(name: str) -> None:
    one = world(name)
    assert one.network.split is not None and one.network.split.channel == one.channel
    detector = GSC(granularity="channel", direction="published").fit(one.calibration)
    mask = detector.mask(one.batch)
    channels = one.network.split.shape[one.channel - 1]
    shape = [1] * (len(one.network.split.shape) + 1)
    shape[0], shape[one.channel] = IMAGES, channels
    assert list(mask.shape) == shape
    assert (mask.flatten(1).sum(1) == wanted(0.2, channels)).all()
    assert detector.channel_ranking(one.batch).shape == (IMAGES, channels)


@pytest.mark.parametrize("update", ["first_order", "exact"])
@pytest.mark.parametrize("granularity", ["element", "channel"])
@pytest.mark.parametrize("name", MODULES)
def test_batch_size_and_order_do_not_change_scores(
    name: str, granularity: str, update: str
) -> None:
    """Through the network as well; within 1e-5 of a share, float32's noise."""
    one = world(name)
    images = torch.randn(10, 3, 16, 16, generator=torch.Generator().manual_seed(8))
    detector = GSC(granularity=granularity, update=update, reading="drop").fit(one.calibration)

    def scores(chosen: Tensor, size: int) -> Tensor:
        parts = [represent(one.network, part, NEEDS) for part in chosen.split(size)]
        return torch.cat([detector.score(part) for part in parts])

    whole = scores(images, 10)
    for size in (1, 3):
        torch.testing.assert_close(scores(images, size), whole, rtol=0, atol=1e-5)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(scores(images[order], 4), whole[order], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["softmax", "energy", "logit"])
def test_confidences_of_huge_logits_are_finite(kind: str) -> None:
    logits = torch.tensor([[1e4, -1e4, 0], [-1e4, -1e4, -1e4]])
    ours = confidence_of(logits, kind, logits.argmax(dim=1)).double()
    double = logits.double()
    truth = {
        "softmax": double.softmax(1).amax(1),
        "energy": double.logsumexp(1),
        "logit": double.amax(1),
    }[kind]
    torch.testing.assert_close(ours, truth, rtol=1e-6, atol=0)


@pytest.mark.parametrize("update", ["first_order", "exact"])
def test_a_negative_confidence_drops_relative_to_its_size(update: str) -> None:
    """`h = (1, 1)`, `y = (h₁ − 9, h₂ − 6 − h₁)`: without h₂ the predicted −6 falls by 1, by 1/6."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 2, 1)
            self.fc = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.layer(x).amax((2, 3)))

    module = Two()
    with torch.no_grad():
        module.layer.weight.zero_()
        module.layer.bias.fill_(1)
        module.fc.weight.copy_(torch.tensor([[1.0, 0.0], [-0.5, 1.0]]))
        module.fc.bias.copy_(torch.tensor([-9.0, -6.5]))
    one = build(module, "layer", 1)
    knobs = {"share": 0.5, "granularity": "channel", "direction": "published", "update": update}
    detector = GSC(**knobs, reading="relative_drop", confidence="logit").fit(one.calibration)
    torch.testing.assert_close(one.batch.logits, torch.tensor([[-8.0, -6.0]] * IMAGES))
    torch.testing.assert_close(detector.score(one.batch), torch.full((IMAGES,), 1 / 6))


# --- direction --------------------------------------------------------------------------------


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


# --- shared by detectors of one batch ---------------------------------------------------------


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
