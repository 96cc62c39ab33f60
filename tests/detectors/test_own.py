"""Detectors we write ourselves: equal to pytorch-ood where it is right, and to scikit-learn."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from pytorch_ood import detector as ood
from scipy.stats import rankdata
from sklearn.covariance import EmpiricalCovariance, LedoitWolf
from small_classifier import CLASSES, World, with_linear, world
from torch import Tensor

from gsc_core.detectors.base import Calibration, Representation
from gsc_core.detectors.catalogue import find
from gsc_core.detectors.distances import Points
from gsc_core.errors import Excused


@pytest.fixture(scope="module")
def small() -> World:
    return world()


def features_of(batch: Representation | Calibration) -> Tensor:
    assert batch.features is not None
    return batch.features


# --- max softmax ----------------------------------------------------------------------------


def test_msp_is_the_negative_log_of_the_library(small: World) -> None:
    scores = find("msp")().score(small.strange)
    library = ood.MaxSoftmax.score(small.strange.logits.double())
    torch.testing.assert_close(scores.double(), -torch.log(-library), rtol=1e-5, atol=1e-7)


def test_msp_keeps_the_librarys_order_and_splits_its_ties() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(400, 10, generator=generator) * torch.linspace(1, 30, 400)[:, None]
    ours = find("msp")().score(Representation(logits)).numpy()
    library = ood.MaxSoftmax.score(logits).numpy()
    exact = ood.MaxSoftmax.score(logits.double()).numpy()
    assert len(np.unique(library)) < 350  # the confident ones tie at −1
    assert len(np.unique(ours)) == 400
    apart = np.abs(np.subtract.outer(library, library)) > 1e-6
    assert (np.less.outer(library, library) == np.less.outer(ours, ours))[apart].all()
    least_confident = exact > -0.999  # beyond, even float64 rounds
    np.testing.assert_array_equal(rankdata(ours[least_confident]), rankdata(exact[least_confident]))


def test_msp_of_even_logits_is_the_log_of_the_number_of_classes() -> None:
    even = Representation(torch.full((2, 8), -3.0))
    torch.testing.assert_close(find("msp")().score(even), torch.full((2,), float(np.log(8))))


# --- GradNorm -------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 5.0])
def test_gradnorm_is_the_librarys_backward_pass(temperature: float, small: World) -> None:
    ours = find("gradnorm").configured({"temperature": temperature}).fit(small.calibration)
    theirs = ood.GradNorm(
        small.model, param_filter=lambda name: name == "fc.weight", temperature=temperature
    )
    for batch in (small.known, small.strange):
        torch.testing.assert_close(
            ours.score(batch), theirs.predict(batch.images), rtol=1e-4, atol=1e-5
        )


# --- DICE -----------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.0, 0.3, 0.7, 0.9, 0.99])
def test_dice_equals_the_library(p: float, small: World) -> None:
    linear = small.calibration.linear
    ours = find("dice").configured({"p": p}).fit(small.calibration)
    theirs = ood.DICE(small.model.pooled, linear.weight, linear.bias, p).fit(small.loader)
    torch.testing.assert_close(
        ours.score(small.strange), theirs.predict(small.strange.images), rtol=1e-4, atol=1e-4
    )


# --- fDBD -----------------------------------------------------------------------------------


def test_fdbd_equals_the_library(small: World) -> None:
    ours = find("fdbd")().fit(small.calibration)
    theirs = ood.fDBD(small.model.pooled, small.model.fc).fit(small.loader)
    for batch in (small.known, small.strange):
        torch.testing.assert_close(
            ours.score(batch), theirs.predict(batch.images).detach(), rtol=1e-4, atol=1e-5
        )


def test_fdbd_bears_two_classes_with_equal_weights(small: World) -> None:
    """The library divides by the zero between them."""
    linear = small.calibration.linear
    twins = replace(linear, weight=linear.weight[[0, 0, 2, 3]])
    detector = find("fdbd")().fit(with_linear(small.calibration, twins))
    assert bool(detector.score(small.known).isfinite().all())


# --- distances ------------------------------------------------------------------------------


@pytest.mark.parametrize("images", [1, 7, 64])
def test_distances_to_points_are_those_of_numpy(images: int) -> None:
    rng = np.random.default_rng(images)
    points, features = rng.normal(5, 1, (90, 12)), rng.normal(5, 1, (images, 12))
    features[0] = points[3]  # a distance of zero, as a difference of large numbers
    expected = np.linalg.norm(features[:, None] - points[None], axis=2)
    found = Points.of(torch.from_numpy(points)).distances(torch.from_numpy(features))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-6)
    assert not found.isnan().any()


# --- Mahalanobis ----------------------------------------------------------------------------


def residuals(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    means = np.stack([z[y == c].mean(axis=0) for c in np.unique(y)])
    return means, z - means[np.searchsorted(np.unique(y), y)]


def read(batch: Representation | Calibration, normalise: str) -> np.ndarray:
    """Features as they are, or each divided by its length."""
    z = features_of(batch).double().numpy()
    return z / np.linalg.norm(z, axis=1, keepdims=True) if normalise == "l2" else z


every_covariance = pytest.mark.parametrize(
    ("shrinkage", "estimator"), [("none", EmpiricalCovariance), ("ledoit-wolf", LedoitWolf)]
)
every_length = pytest.mark.parametrize("normalise", ["l2", "none"])


@every_covariance
@every_length
def test_mahalanobis_is_scikit_learns_distance(
    shrinkage: str, estimator: type[EmpiricalCovariance], normalise: str, small: World
) -> None:
    means, around = residuals(read(small.calibration, normalise), small.labels.numpy())
    fitted = estimator(assume_centered=True).fit(around)
    test = read(small.strange, normalise)
    expected = np.min([fitted.mahalanobis(test - mean) for mean in means], axis=0)
    settings = {"shrinkage": shrinkage, "normalise": normalise}
    scores = find("mahalanobis").configured(settings).fit(small.calibration)
    np.testing.assert_allclose(scores.score(small.strange).numpy(), expected, rtol=1e-6)


@every_covariance
@every_length
def test_relative_mahalanobis_takes_off_the_background(
    shrinkage: str, estimator: type[EmpiricalCovariance], normalise: str, small: World
) -> None:
    z = read(small.calibration, normalise)
    background = estimator().fit(z).mahalanobis(read(small.known, normalise))
    settings = {"shrinkage": shrinkage, "normalise": normalise}
    classes = find("mahalanobis").configured(settings).fit(small.calibration).score(small.known)
    relative = find("rmd").configured(settings).fit(small.calibration).score(small.known)
    np.testing.assert_allclose(relative, classes.numpy() - background, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "library", "factor"), [("mahalanobis", ood.Mahalanobis, 2), ("rmd", ood.RMD, 1)]
)
def test_with_many_images_the_librarys_distances_are_ours(
    name: str, library: type, factor: int
) -> None:
    """The library leaves the covariance undivided by N, and Mahalanobis halves the distance."""
    n, dimensions = 3000, 8
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % CLASSES
    centres = 3 * torch.randn(CLASSES, dimensions, generator=generator)
    features = centres[labels] + torch.randn(n, dimensions, generator=generator)
    test = 4 * torch.randn(100, dimensions, generator=generator)
    theirs = library(None).fit_features(features, labels).predict_features(test)
    settings = {"shrinkage": "none", "normalise": "none"}
    ours = find(name).configured(settings).fit(bare(features, labels))
    scores = ours.score(Representation(test[:, :CLASSES], test))
    torch.testing.assert_close(scores, factor * n * theirs.double(), rtol=1e-3, atol=0.02)


def test_mahalanobis_bears_fewer_images_than_dimensions() -> None:
    """The library's distances are noise there: it inverts a singular matrix."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % CLASSES
    centres = torch.randn(CLASSES, 200, generator=generator)
    draw = lambda y: centres[y] + 0.3 * torch.randn(len(y), 200, generator=generator)  # noqa: E731
    calibration = bare(draw(labels), labels)
    known, strange = draw(labels), torch.randn(40, 200, generator=generator)
    for name in ("mahalanobis", "rmd"):
        detector = find(name)().fit(calibration)
        scores = [detector.score(Representation(z[:, :CLASSES], z)) for z in (known, strange)]
        assert float(scores[0].max()) < float(scores[1].min())
        with pytest.raises(Excused, match=r"at least 20\d .* without shrinkage; there are 40"):
            find(name).configured({"shrinkage": "none"}).fit(calibration)


def test_mahalanobis_bears_missing_classes(small: World) -> None:
    """The library asserts that classes are numbered without gaps."""
    c = small.calibration
    gap = torch.where(small.labels == 1, -1, small.labels)
    detector = find("mahalanobis")().fit(replace(c, labels=gap))
    known = detector.score(small.known)
    of_missing = torch.arange(len(known)) % CLASSES == 1
    assert float(known[of_missing].min()) > float(known[~of_missing].max())


@pytest.mark.parametrize("name", ["mahalanobis", "rmd"])
@pytest.mark.parametrize("labelled", [0, 9])
def test_few_labels_leave_it_to_the_predicted_classes(
    name: str, labelled: int, small: World
) -> None:
    c = small.calibration
    few = torch.where(torch.arange(240) < labelled, (small.labels + 1) % CLASSES, -1)
    predicted = replace(c, labels=c.logits.argmax(dim=1))
    expected = find(name)().fit(predicted).score(small.strange)
    assert torch.equal(find(name)().fit(replace(c, labels=few)).score(small.strange), expected)
    enough = torch.where(torch.arange(240) < 10, (small.labels + 1) % CLASSES, -1)
    by_label = find(name)().fit(replace(c, labels=enough)).score(small.strange)
    assert not torch.equal(by_label, expected)


def test_mahalanobis_names_how_many_images_it_needs(small: World) -> None:
    c = small.calibration
    some = slice(0, 13)
    few = replace(c, logits=c.logits[some], features=c.features[some], labels=small.labels[some])
    find("mahalanobis")().fit(few)  # ten and more with labels are enough
    unlabelled = replace(few, labels=torch.full((13,), -1))
    with pytest.raises(Excused, match=r"at least 14 .* 4 predicted classes; there are 13"):
        find("mahalanobis")().fit(unlabelled)


def test_mahalanobis_says_when_the_features_do_not_vary(small: World) -> None:
    flat = torch.ones_like(features_of(small.calibration))
    with pytest.raises(Excused, match="vary"):
        find("mahalanobis")().fit(replace(small.calibration, features=flat))


def bare(features: Tensor, labels: Tensor) -> Calibration:
    """Calibration of features alone, for detectors that never ask the network."""
    logits = features[:, :CLASSES]
    return Calibration(world().network, logits, features, labels, Representation(logits, features))


# --- ODIN -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("temperature", "eps"), [(1000.0, 0.0014), (10.0, 0.05), (1.0, 0.0)])
def test_odin_is_the_log_of_the_librarys(temperature: float, eps: float, small: World) -> None:
    settings = {"temperature": temperature, "eps": eps}
    ours = find("odin").configured(settings).fit(small.calibration)
    theirs = ood.ODIN(deepcopy(small.model).double(), temperature=temperature, eps=eps)
    for batch in (small.known, small.strange):
        assert batch.images is not None
        library = theirs.predict(batch.images.double())
        expected = -torch.log(-library) - float(np.log(CLASSES))
        torch.testing.assert_close(ours.score(batch), expected, rtol=1e-4, atol=1e-5)


def test_odin_works_inside_inference_mode(small: World) -> None:
    detector = find("odin")().fit(small.calibration)
    expected = detector.score(small.known)
    with torch.inference_mode():
        torch.testing.assert_close(detector.score(small.known), expected)
