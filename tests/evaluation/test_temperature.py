"""Temperature scaling against a search over a grid and temperatures that are known."""

import numpy as np
import pytest
from scipy.special import softmax

from gsc_core.evaluation import temperature as module
from gsc_core.evaluation.temperature import fit_temperature, log_losses


def labelled(images: int, classes: int, temperature: float, seed: int = 0):
    """Logits whose softmax is right when they are divided by this temperature."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 2, (images, classes))
    chances = softmax(true, axis=1)
    labels = (chances.cumsum(axis=1) > rng.random(images)[:, None]).argmax(axis=1)
    return (temperature * true).astype(np.float32), labels


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 7.0])
@pytest.mark.parametrize("classes", [2, 10])
def test_the_temperature_that_was_put_in_comes_out(temperature, classes):
    logits, labels = labelled(20_000, classes, temperature)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.05)


def test_no_temperature_of_a_grid_has_less_log_loss():
    logits, labels = labelled(60, 4, 3.0, seed=1)
    found = fit_temperature(logits, labels)
    least = log_losses(logits, labels, found).mean()
    grid = np.geomspace(0.03, 40, 2000)
    assert least <= min(log_losses(logits, labels, t).mean() for t in grid) + 1e-12


def test_log_losses_are_those_of_the_softmax():
    logits, labels = labelled(50, 5, 1.5)
    by_hand = [
        -np.log(softmax(z / 2.0)[y]) for z, y in zip(logits.astype(float), labels, strict=True)
    ]
    assert log_losses(logits, labels, 2.0) == pytest.approx(by_hand)


def test_images_without_a_label_are_not_looked_at():
    logits, labels = labelled(300, 3, 2.0)
    more = np.concatenate([logits, np.full((50, 3), 99.0, dtype=np.float32)])
    with_unknown = np.concatenate([labels, np.full(50, -1)])
    assert fit_temperature(more, with_unknown) == fit_temperature(logits, labels)


def test_slices_change_nothing(monkeypatch):
    logits, labels = labelled(301, 3, 2.0)
    whole = fit_temperature(logits, labels)
    monkeypatch.setattr(module, "_AT_ONCE", 30)
    assert fit_temperature(logits, labels) == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (np.zeros((0, 3)), np.zeros(0, dtype=int)),
        (np.ones((4, 3)), np.full(4, -1)),
        (np.eye(3), np.arange(3)),  # all right: the surer, the better
        (np.ones((5, 3)), np.arange(5) % 3),  # nothing to scale
        (np.eye(3), (np.arange(3) + 1) % 3),  # all wrong: the less sure, the better
    ],
)
def test_where_no_temperature_is_best_there_is_none(logits, labels):
    assert fit_temperature(logits, labels) is None
