"""ViM: the library's where float32 allows that, and beyond by a decomposition of another kind."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pytorch_ood import detector as ood
from small_classifier import World, with_linear, world
from torch import Tensor

from gsc_core.classifier.network import Linear
from gsc_core.detectors.base import Calibration, Representation
from gsc_core.detectors.catalogue import find
from gsc_core.errors import Excused

D, K = 32, 5


def of(features: Tensor, linear: Linear) -> Calibration:
    """A calibration on these features `[N,D]`, without labels."""
    about = with_linear(world().calibration, linear)
    return replace(about, logits=linear(features), features=features)


def drawn(n: int, spread: Tensor, seed: int) -> Tensor:
    """Positive features `[n,D]` with so much spread in each of D turned directions."""
    generator = torch.Generator().manual_seed(seed)
    turned = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(7))).Q
    return 3 + (torch.randn(n, D, generator=generator) * spread) @ turned.T


@pytest.fixture(scope="module")
def linear() -> Linear:
    weight = torch.randn(K, D, generator=torch.Generator().manual_seed(5)) / D**0.5
    return Linear(weight, torch.linspace(2, 3, K))


def by_svd(features: Tensor, linear: Linear, d: int, test: Tensor) -> np.ndarray:
    """The paper's score by NumPy's singular vectors, without a covariance."""
    x, y = (each.double().numpy() for each in (features, test))
    weight, bias = linear.weight.double().numpy(), linear.bias.double().numpy()
    origin = -np.linalg.lstsq(weight, bias, rcond=None)[0]
    rest = np.linalg.svd(x - origin)[2][d:].T
    outside = np.linalg.norm((x - origin) @ rest, axis=1).mean()
    alpha = (x @ weight.T + bias).max(axis=1).mean() / outside
    logits = y @ weight.T + bias
    top = logits.max(axis=1)
    energy = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return alpha * np.linalg.norm((y - origin) @ rest, axis=1) - energy


def scores(features: Tensor, linear: Linear, test: Tensor, d: int = 0) -> Tensor:
    fitted = find("vim").configured({"d": d}).fit(of(features, linear))
    return fitted.score(Representation(linear(test), test))


@pytest.mark.parametrize("d", [1, 4, 8, 16])
def test_where_no_direction_is_small_it_is_the_librarys(d: int, linear: Linear) -> None:
    spread = torch.linspace(3, 0.3, D)
    features, test = drawn(200, spread, 0), drawn(90, 2 * spread, 1)
    theirs = ood.ViM(None, d, linear.weight, linear.bias).fit_features(features, None)
    torch.testing.assert_close(
        scores(features, linear, test, d),
        theirs.predict_features(test),
        rtol=1e-4,
        atol=1e-4,
        check_dtype=False,
    )


@pytest.mark.parametrize("d", [1, 4, 8, 12, 20])
def test_small_directions_are_not_lost(d: int, linear: Linear) -> None:
    """From 10 down to 1e-4: of the variance, twelve are below what float32 holds of the largest."""
    spread = 10 ** torch.linspace(1, -4, D)
    features, test = drawn(200, spread, 0), drawn(90, 2 * spread, 1)
    truth = by_svd(features, linear, d, test)
    found = scores(features, linear, test, d).numpy()
    np.testing.assert_allclose(found, truth, rtol=1e-6, atol=1e-6 * truth.std())


@pytest.mark.parametrize("n", [40, 240])
def test_the_order_of_the_images_does_not_matter(n: int) -> None:
    """Of the trained network, whose last twelve variances are 1e-5 to 1e-9 of the largest."""
    small = world()
    c = small.calibration
    assert c.features is not None

    def fitted(rows: Tensor) -> Tensor:
        assert c.features is not None
        some = replace(c, logits=c.logits[rows], features=c.features[rows])
        return find("vim")().fit(some).score(small.known)

    in_order = fitted(torch.arange(n))
    for seed in range(3):
        shuffled = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(fitted(shuffled), in_order, rtol=0, atol=1e-6)


def test_it_takes_no_more_dimensions_than_the_images_fill(linear: Linear) -> None:
    """Features that live in 9 of 32 dimensions and float32's rounding elsewhere: 6, not 16."""
    spread = torch.cat([torch.linspace(3, 1, 9), torch.zeros(D - 9)])
    features = drawn(200, spread, 0) - 3
    without_bias = replace(linear, bias=torch.zeros(K))
    fitted = find("vim")().fit(of(features, without_bias))
    assert fitted.principal_.shape == (D, 6)
    strange = drawn(50, torch.full((D,), 3.0), 3) - 3
    known = drawn(50, spread, 4) - 3
    found = scores(features, without_bias, torch.cat([known, strange]))
    assert float(found[50:].min()) > float(found[:50].max()), "what is outside of the 9 is strange"
    with pytest.raises(Excused, match="fill 9 dimensions"):
        find("vim").configured({"d": 9}).fit(of(features, without_bias))


def test_weights_that_sum_to_zero_have_no_origin_at_infinity(linear: Linear) -> None:
    """Cross-entropy leaves the sum over classes at 0 but for rounding, which must not be inverted.

    The bias lies across, so that only an inverted rounding could answer it.
    """
    weight = linear.weight - linear.weight.mean(dim=0)
    even = Linear(weight, torch.full((K,), 4.0))
    spread = torch.linspace(3, 0.3, D)
    fitted = find("vim")().fit(of(drawn(200, spread, 0), even))
    assert float(fitted.origin_.abs().max()) < 1e-3


def test_the_paper_and_what_the_images_allow(linear: Linear) -> None:
    def chosen(n: int) -> int:
        return find("vim")().fit(of(drawn(n, torch.ones(D), 0), linear)).principal_.shape[1]

    assert [chosen(n) for n in (10, 24, 31, 32, 200)] == [5, 12, 15, 16, 16]


def test_the_batch_does_not_matter_to_the_ninth_digit() -> None:
    """One image at a time or all together."""
    small: World = world()
    fitted = find("vim")().fit(small.calibration)
    whole = fitted.score(small.strange)
    one = torch.cat([fitted.score(small.strange[i : i + 1]) for i in range(len(whole))])
    torch.testing.assert_close(one, whole, rtol=1e-9, atol=1e-9)
