"""What GSC cuts: how many, which, the random control, and that batches change nothing."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from gsc_worlds import IMAGES, MODULES, NEEDS, build, wanted, world
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor, nn

from gsc_core.detectors.gsc import GSC, confidence_of, count, select
from gsc_core.scoring.onepass import represent


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
