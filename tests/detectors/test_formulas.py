"""Detectors against their papers' formulas, written out in NumPy, a loop where one is plainest."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal, getcontext

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pytorch_ood import detector as ood
from small_classifier import CLASSES, DIMENSIONS, World, exported, with_linear, world
from torch import Tensor

from gsc_core.classifier.network import Linear
from gsc_core.detectors.base import Calibration, Representation
from gsc_core.detectors.catalogue import find
from gsc_core.errors import Excused

Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def small() -> World:
    return world()


def array(tensor: Tensor | None) -> Array:
    assert tensor is not None
    return tensor.double().numpy()


def head(small: World) -> tuple[Array, Array]:
    linear = small.calibration.linear
    return array(linear.weight), array(linear.bias)


def energy(logits: Array) -> Array:
    return np.log(np.exp(logits).sum(axis=1))


def assert_equal(scores: Tensor, expected: Array) -> None:
    """Equal to 1e-5 of how far scores lie apart."""
    difference = np.abs(scores.double().numpy() - expected).max()
    assert difference <= 1e-5 * (expected.max() - expected.min())


# --- GEN ----------------------------------------------------------------------------------------


def generalised_entropy(logits: list[float]) -> float:
    """Of few classes, with 60 digits: what float32 makes of 1 − p is no guide."""
    getcontext().prec = 60
    powers = [Decimal(value).exp() for value in logits]
    least = Decimal("1e-7")  # the library keeps shares so far from 0 and 1
    shares = [min(max(power / sum(powers), least), 1 - least) for power in powers]
    gamma = Decimal("0.1")
    return float(sum(p**gamma * (1 - p) ** gamma for p in shares)) / len(shares)


def test_gen_is_exact_for_answers_that_float32_calls_certain() -> None:
    logits = torch.tensor([[gap, 0.0, -1.0] for gap in (0.5, 4, 12, 16, 17, 18, 20, 25)])
    expected = np.array([generalised_entropy(row) for row in logits.tolist()])
    assert_equal(find("gen")().score(Representation(logits)), expected)
    assert bool((logits[4:].softmax(dim=1)[:, 0] >= 1 - 1e-7).all())
    before = find("gen").configured({"precision": "float32"}).score(Representation(logits))
    spread = expected.max() - expected.min()
    assert np.abs(before.double().numpy() - expected).max() > 1e-3 * spread  # as it was


# --- OptFS --------------------------------------------------------------------------------------


def optfs(features: Array, fitted: Array, predicted: Array, weight: Array, bias: Array) -> Array:
    low, high = np.quantile(fitted, [0.001, 0.999])
    edges = np.linspace(low, high, 101)
    theta = np.zeros(100)
    for row, c in zip(fitted, predicted, strict=True):
        for d, value in enumerate(row):
            for i in range(100):
                if edges[i] <= value and (value < edges[i + 1] or value == high):
                    theta[i] += weight[c, d] * value / len(fitted)
                    break
    theta *= 1000 / np.linalg.norm(theta)
    shaped = np.zeros_like(features)
    for at, value in np.ndenumerate(features):
        if low <= value <= high:
            shaped[at] = theta[min(np.searchsorted(edges, value, side="right") - 1, 99)] * value
    logits = shaped @ weight.T + bias
    top = logits.max(axis=1)
    return -(top + energy(logits - top[:, None]))


def test_optfs_is_the_sum_over_its_ranges(small: World) -> None:
    detector = find("optfs")().fit(small.calibration)
    predicted = small.calibration.logits.argmax(dim=1).numpy()
    fitted = array(small.calibration.features)
    for batch in (small.known, small.strange):
        assert_equal(
            detector.score(batch), optfs(array(batch.features), fitted, predicted, *head(small))
        )


def test_optfs_drops_what_lies_outside_its_ranges(small: World) -> None:
    detector = find("optfs")().fit(small.calibration)
    beyond = replace(small.known, features=torch.full_like(small.known.features, 1e6))
    nothing = -torch.logsumexp(small.calibration.linear.bias, dim=0)
    torch.testing.assert_close(detector.score(beyond), nothing.expand(len(beyond)))


def test_optfs_says_when_there_are_no_ranges(small: World) -> None:
    features = torch.ones_like(small.calibration.features)
    with pytest.raises(Excused, match="vary"):
        find("optfs")().fit(replace(small.calibration, features=features))


# --- RAS ----------------------------------------------------------------------------------------


def test_ras_gives_each_value_the_usual_one_of_its_rank(small: World) -> None:
    usual = np.sort(array(small.calibration.features), axis=1).mean(axis=0)
    weight, bias = head(small)
    detector = find("ras")().fit(small.calibration)
    for batch in (small.known, small.strange):
        features = array(batch.features)
        shaped = np.empty_like(features)
        for i, row in enumerate(features):
            for rank, d in enumerate(np.argsort(row, kind="stable")):
                shaped[i, d] = usual[rank]
        assert_equal(detector.score(batch), -energy(shaped @ weight.T + bias))


def test_ras_does_not_see_how_strong_the_features_are(small: World) -> None:
    detector = find("ras")().fit(small.calibration)
    stronger = replace(small.known, features=3 * small.known.features)
    assert torch.equal(detector.score(stronger), detector.score(small.known))


# --- NECO ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("variance", [0.5, 0.9, 0.99])
def test_neco_is_the_part_of_the_length_in_the_principal_subspace(
    variance: float, small: World
) -> None:
    fitted = array(small.calibration.features)
    mean, spread = fitted.mean(axis=0), fitted.std(axis=0)
    spread[spread == 0] = 1
    _, lengths, rows = np.linalg.svd((fitted - mean) / spread)
    share = np.cumsum(lengths**2) / np.sum(lengths**2)
    principal = rows[: int(np.argmax(share >= variance)) + 1]
    detector = find("neco").configured({"variance": variance}).fit(small.calibration)
    for batch in (small.known, small.strange):
        standard = (array(batch.features) - mean) / spread
        part = np.linalg.norm(standard @ principal.T, axis=1) / np.linalg.norm(standard, axis=1)
        assert_equal(detector.score(batch), -part * array(batch.logits).max(axis=1))


def test_neco_leaves_a_constant_feature_unscaled(small: World) -> None:
    """One that does not vary would be divided by 0, or by its rounding."""
    features = small.calibration.features.clone()
    features[:, 3] = 0.1
    detector = find("neco")().fit(replace(small.calibration, features=features))
    scores = detector.score(small.strange)
    assert bool(scores.isfinite().all()) and float(scores.abs().max()) < 1e3


# --- CADRef -------------------------------------------------------------------------------------


def inverse_entropy(logits: Array) -> Array:
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    largest = -np.sort(-p, axis=1)[:, : max(10, logits.shape[1] // 10)]
    return 1 / (largest**0.1 * (1 - largest) ** 0.1).sum(axis=1)


@pytest.mark.parametrize(("confidence", "of"), [("entropy", inverse_entropy), ("energy", energy)])
def test_cadref_splits_the_distance_by_the_signs_of_the_weights(
    confidence: str, of: Callable[[Array], Array], small: World
) -> None:
    weight, _ = head(small)
    fitted, logits = array(small.calibration.features), array(small.calibration.logits)
    predicted = logits.argmax(axis=1)
    means = np.stack([fitted[predicted == c].mean(axis=0) for c in range(CLASSES)])
    detector = find("cadref").configured({"confidence": confidence}).fit(small.calibration)
    for batch in (small.known, small.strange):
        features, confidences = array(batch.features), of(array(batch.logits))
        expected = []
        for z, c, own in zip(
            features, array(batch.logits).argmax(axis=1), confidences, strict=True
        ):
            r = (z - means[c]) * np.sign(weight[c])
            size = np.abs(z).sum()
            confident = max(own, 1e-3 * of(logits).mean())
            expected.append(
                r[r > 0].sum() / size / confident - r[r < 0].sum() / size / of(logits).mean()
            )
        assert_equal(detector.score(batch), np.array(expected))


def test_cadref_measures_from_all_images_where_a_class_is_never_predicted(small: World) -> None:
    only = small.calibration.logits.argmax(dim=1) != 2
    c = small.calibration
    fewer = replace(c, logits=c.logits[only], features=c.features[only], labels=c.labels[only])
    detector = find("cadref")().fit(fewer)
    of_it = small.known.predicted == 2
    mean = c.features[only].mean(dim=0).double()
    assert torch.allclose(detector.means_[2], mean)
    assert bool(detector.score(small.known[of_it]).isfinite().all())


def test_cadref_says_when_the_energy_cannot_divide(small: World) -> None:
    c = small.calibration
    low = replace(c, logits=c.logits - 1000)
    with pytest.raises(Excused, match="not positive"):
        find("cadref").configured({"confidence": "energy"}).fit(low)


# --- ActSub -------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [CLASSES, 12])
@pytest.mark.parametrize(("k", "power", "percentile"), [(10, 1.0, 0.85), (3, 2.0, 0.5)])
def test_actsub_reads_both_parts(
    k: int, power: float, percentile: float, classes: int, small: World
) -> None:
    calibration = small.calibration
    if classes != CLASSES:  # more directions than are needed, so that the split lies within
        generator = torch.Generator().manual_seed(0)
        weight = torch.randn(classes, DIMENSIONS, generator=generator)
        calibration = with_linear(calibration, Linear(weight, torch.rand(classes)))
    weight, bias = array(calibration.linear.weight), array(calibration.linear.bias)
    fitted = array(calibration.features)
    right = np.linalg.svd(weight)[2]
    length = lambda x: np.linalg.norm(x, axis=1)  # noqa: E731
    differences = []
    for count in range(1, classes + 1):
        decisive = fitted @ right[:count].T @ right[:count]
        differences.append(abs(length(decisive).mean() - length(fitted - decisive).mean()))
    count = int(np.argmin(differences)) + 1
    assert 1 < count < classes or classes == CLASSES
    first = right[:count]
    bank = fitted - fitted @ first.T @ first
    settings = {"k": k, "power": power, "percentile": percentile}
    detector = find("actsub").configured(settings).fit(calibration)
    for batch in (small.known, small.strange):
        expected = []
        for z in array(batch.features):
            decisive = first.T @ (first @ z)
            other = z - decisive
            strong = DIMENSIONS - round(DIMENSIONS * percentile)
            of_strongest = np.sort(decisive)[::-1][:strong].sum()
            shaped = decisive * np.exp(np.clip(decisive.sum() / of_strongest, -20, 20))
            confident = np.logaddexp.reduce(weight @ shaped + bias)
            cosines = bank @ other / length(bank) / np.linalg.norm(other)
            likeness = -np.log(1 - np.sort(cosines)[::-1][:k].mean())
            expected.append(-confident * np.sign(likeness) * abs(likeness) ** power)
        assert_equal(detector.score(batch), np.array(expected))


def test_actsub_of_a_calibration_image_ten_times_over_is_finite(small: World) -> None:
    """All cosines are 1 there, and log(1 − 1) is not a number to go on with."""
    c = small.calibration
    same = replace(c, features=c.features[:1].expand(20, -1), logits=c.logits[:1].expand(20, -1))
    detector = find("actsub")().fit(same)
    assert bool(detector.score(small.known).isfinite().all())
    assert bool(detector.score(Representation(c.logits[:1], c.features[:1])).isfinite().all())


# --- AdaSCALE -----------------------------------------------------------------------------------


def shifts(small: World, images: Tensor) -> Array:
    """Q of each image by the module itself, one by one."""
    found = []
    for image in images:
        leaf = image[None].clone().requires_grad_()
        small.model(leaf).amax(dim=1).sum().backward()
        gradient = array(leaf.grad).ravel()
        least = np.argsort(np.abs(gradient), kind="stable")[: int(np.ceil(0.05 * gradient.size))]
        moved = array(image).ravel()
        moved[least] += 0.5 * np.sign(gradient[least])
        with torch.no_grad():
            before, after = (
                array(small.model.pooled(x.view(1, *image.shape).float()))[0]
                for x in (image, torch.from_numpy(moved))
            )
        strongest = np.argsort(-before, kind="stable")
        # 1 % and 5 % of 16 features are none: one of each then
        shift = np.abs(before - after)[strongest[:1]].sum()
        found.append(10 * shift + np.maximum(after, 0)[strongest[:1]].sum())
    return np.array(found)


@pytest.mark.slow
def test_adascale_scales_by_the_share_that_the_shift_sets(small: World) -> None:
    detector = find("adascale")().fit(small.calibration)
    fitted = shifts(small, small.images)
    for batch in (small.known, small.strange):
        assert batch.images is not None
        expected = []
        shifted = shifts(small, batch.images)
        for z, logits, q in zip(array(batch.features), array(batch.logits), shifted, strict=True):
            weak = 0.6 + (1 - np.mean(fitted <= q)) * (0.85 - 0.6)
            positive = np.maximum(z, 0)
            strong = DIMENSIONS - round(DIMENSIONS * weak)
            r = positive.sum() / np.sort(positive)[::-1][:strong].sum()
            expected.append(-np.logaddexp.reduce(r**2 * logits))
        assert_equal(detector.score(batch), np.array(expected))


def test_adascale_fits_again_on_what_it_learned(small: World) -> None:
    """As from a stored calibration, which has no pixels."""
    first = find("adascale")().fit(small.calibration)
    learned = first.learned_from_pixels()
    assert learned is not None
    bare = replace(small.calibration.sample, images=None)
    without = replace(small.calibration, sample=bare)
    with pytest.raises(Excused, match="pixels"):
        find("adascale")().fit(without)
    again = find("adascale")().fit(replace(without, learned={"adascale": learned}))
    assert torch.equal(again.score(small.strange), first.score(small.strange))


def test_adascale_works_inside_inference_mode(small: World) -> None:
    detector = find("adascale")().fit(small.calibration)
    expected = detector.score(small.known)
    with torch.inference_mode():
        torch.testing.assert_close(detector.score(small.known), expected)


# --- LTS ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.05, 0.25])
def test_lts_is_the_energy_of_scaled_logits(p: float, small: World) -> None:
    weight, bias = head(small)
    detector = find("lts").configured({"p": p}).fit(small.calibration)
    for batch in (small.known, small.strange):
        features = array(batch.features)
        positive = np.maximum(features, 0)
        strong = max(1, DIMENSIONS - round(DIMENSIONS * (1 - p)))
        of_strongest = np.sort(positive, axis=1)[:, ::-1][:, :strong].sum(axis=1)
        scale = (positive.sum(axis=1) / of_strongest) ** 2
        expected = -np.logaddexp.reduce((features @ weight.T + bias) * scale[:, None], axis=1)
        assert_equal(detector.score(batch), expected)


def test_lts_of_an_image_without_a_positive_feature_is_that_of_no_logits(small: World) -> None:
    """The library divides 0 by 0 there."""
    detector = find("lts")().fit(small.calibration)
    below = replace(small.known, features=-small.known.features.abs())
    expected = torch.full((len(below),), -float(np.log(CLASSES)))
    torch.testing.assert_close(detector.score(below), expected)
    assert ood.LTS(None, small.calibration.linear).predict_features(below.features).isnan().all()


# --- the readings of GSC --------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["block", "first"])
def test_gsc_energy_is_what_the_re_implementations_compute(split: str, small: World) -> None:
    """Wherever the audit cuts the network."""
    weight, _ = head(small)
    calibration = replace(small.calibration, network=exported(small.model, split))
    for share in (0.05, 0.3):
        detector = find("gsc-energy").configured({"share": share}).fit(calibration)
        for batch in (small.known, small.strange):
            expected = []
            for h, y in zip(array(batch.features), array(batch.logits), strict=True):
                g = weight[y.argmax()]
                cut = h.copy()
                cut[np.argsort(-np.abs(g), kind="stable")[: int(np.ceil(share * len(g)))]] = 0
                expected.append(-np.logaddexp.reduce(y + weight @ (cut - h)))
            assert_equal(detector.score(batch), np.array(expected))


def logits_after(small: World, batch: Representation) -> tuple[Array, Array]:
    """Logits before, and after the top 20 % of |g| at the split are set to zero; by the module."""
    assert batch.feature_map is not None
    weight, _ = head(small)
    before, h = array(batch.logits), array(batch.feature_map)
    after = before.copy()
    positions = h.shape[2] * h.shape[3]
    for i, c in enumerate(before.argmax(axis=1)):
        g = np.repeat(weight[c] / positions, positions)
        taken = np.argsort(-np.abs(g), kind="stable")[: int(np.ceil(0.2 * g.size))]
        change = np.zeros(g.size)
        change[taken] = -h[i].ravel()[taken]
        after[i] += weight @ change.reshape(len(h[i]), -1).sum(axis=1) / positions
    return before, after


def softmax(logits: Array) -> Array:
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def logit_change(before: Array, after: Array) -> Array:
    return np.abs(after - before).sum(axis=1)


def relative_energy(before: Array, after: Array) -> Array:
    return (energy(before) - energy(after)) / np.abs(energy(before))


def drop_of_predicted(before: Array, after: Array) -> Array:
    rows, predicted = np.arange(len(before)), before.argmax(axis=1)
    return softmax(before)[rows, predicted] - softmax(after)[rows, predicted]


@pytest.mark.parametrize(
    ("settings", "reading"),
    [
        ({"reading": "logit_change"}, logit_change),
        ({"reading": "relative_energy"}, relative_energy),
        ({"reading": "drop", "confidence": "predicted"}, drop_of_predicted),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else "",
)
def test_a_reading_of_gsc_by_its_formula(
    settings: dict[str, str], reading: Callable[[Array, Array], Array], small: World
) -> None:
    detector = find("gsc").configured(settings | {"direction": "published"})
    detector.fit(small.calibration)
    for batch in (small.known, small.strange):
        assert_equal(detector.score(batch), reading(*logits_after(small, batch)))


# --- few images ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["optfs", "ras", "neco", "cadref", "actsub", "adascale"])
def test_too_few_images_are_counted(name: str, small: World) -> None:
    c = small.calibration
    nine = replace(
        c, logits=c.logits[:9], features=c.features[:9], labels=c.labels[:9], sample=c.sample[:9]
    )
    with pytest.raises(Excused, match="at least 10 calibration images; there are 9"):
        find(name)().fit(nine)


def test_features_of_one_dimension_split_into_nothing() -> None:
    network = with_linear(world().calibration, Linear(torch.ones(CLASSES, 1), torch.zeros(CLASSES)))
    features = torch.rand(20, 1)
    calibration: Calibration = replace(network, features=features, logits=features.expand(-1, 4))
    with pytest.raises(Excused, match="at least 2 dimensions"):
        find("actsub")().fit(calibration)
