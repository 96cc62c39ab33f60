"""What is left of images beside their scores: against NumPy's own decomposition and softmax."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from gsc_core.detectors.base import Representation
from gsc_core.scoring.traces import DIMENSIONS, Tracer


def representation(images: int, dimensions: int, seed: int = 0) -> Representation:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.linspace(3, 0.2, dimensions)
    features = torch.randn(images, dimensions, generator=generator).abs() * scale
    shapes = torch.zeros(images, 63)
    return Representation(torch.randn(images, 5, generator=generator), features, shapes=shapes)


def units(batch: Representation) -> np.ndarray:
    features = batch.features.double().numpy()
    return features / np.linalg.norm(features, axis=1, keepdims=True)


@pytest.mark.parametrize(("images", "dimensions"), [(300, 96), (40, 96), (300, 12)])
def test_features_are_made_small_along_the_principal_directions(images, dimensions):
    calibration, batch = representation(images, dimensions), representation(7, dimensions, 1)
    small = Tracer.of(calibration)(batch).features
    rank = min(images - 1, dimensions, DIMENSIONS)
    truth = PCA(rank, svd_solver="full").fit(units(calibration)).transform(units(batch))
    assert small.dtype == torch.float16 and small.shape[0] == 7
    got = small.double().numpy()[:, :rank]
    # the last of a few images' directions are nearly alike: what counts is the cosine
    np.testing.assert_allclose(np.abs(got[:, :6]), np.abs(truth[:, :6]), atol=2e-3)
    np.testing.assert_allclose(got @ got.T, truth @ truth.T, atol=4e-3)


def test_directions_point_the_same_way_on_every_machine():
    calibration = representation(200, 32)
    mirrored = Representation(calibration.logits.flip(0), calibration.features.flip(0))
    one, other = Tracer.of(calibration), Tracer.of(mirrored)
    torch.testing.assert_close(one.directions, other.directions, rtol=0, atol=1e-5)


def test_the_confidence_in_the_label_is_the_softmax_of_its_logit():
    batch = representation(6, 16)
    labels = [3, -1, 0, 4, -1, 1]
    said = Tracer.of(batch)(batch, labels).self_confidence.numpy()
    shares = np.exp(batch.logits.double().numpy())
    shares /= shares.sum(axis=1, keepdims=True)
    assert np.isnan(said[[1, 4]]).all()
    known = [0, 2, 3, 5]
    np.testing.assert_allclose(said[known], shares[known, [3, 0, 4, 1]], atol=1e-6)
    traces = Tracer.of(batch, temperature=2.5)(batch, labels)
    cooler = np.exp(batch.logits.double().numpy() / 2.5)
    cooler /= cooler.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(traces.confidence.numpy(), cooler.max(axis=1), atol=1e-6)
    own = traces.self_confidence.numpy()[known]
    np.testing.assert_allclose(own, cooler[known, [3, 0, 4, 1]], atol=1e-6)
    assert np.isnan(Tracer.of(batch)(batch).self_confidence.numpy()).all()


def test_logits_stand_in_where_there_are_no_features_and_odd_numbers_do_no_harm():
    logits = torch.tensor([[1.0, 2.0, 3.0], [torch.nan, torch.inf, 1.0], [0.0, 0.0, 0.0]])
    batch = Representation(logits, shapes=torch.zeros(3, 63))
    traces = Tracer.of(batch)(batch)
    assert traces.features.isfinite().all()
    assert Tracer.of(batch[:1])(batch[:1]).features.isfinite().all()
