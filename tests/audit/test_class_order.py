"""The order of the classes compared by predictions: where the audit asks, and where it must not."""

import itertools
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch

from gsc_core.audit.checks.base import Evidence
from gsc_core.audit.checks.class_order import class_order, compare
from gsc_core.cli.options import LabelOrderName
from gsc_core.errors import SpecError
from gsc_core.images import class_indices
from gsc_core.images.class_orders import ORDERS, LabelOrder


def predictions(right, accuracy, classes, seed):
    """Predicted classes of a model of that accuracy, whose errors are any class."""
    random = np.random.default_rng(seed)
    wrong = random.integers(0, classes, len(right))
    return np.where(random.random(len(right)) < accuracy, right, wrong)


def examined(labels, predicted, classes, order=None):
    """The check on these labels, as text, and predictions."""
    match = class_indices(labels, None, classes, order)
    return class_order(
        Evidence(
            classifier=SimpleNamespace(num_classes=classes),
            network=SimpleNamespace(),
            images=tuple(labels),
            logits=torch.nn.functional.one_hot(torch.tensor(predicted), classes).float(),
            labels=torch.tensor(match.indices),
            label_rule=match.how,
            label_order=match.order,
            other_orders={name: torch.tensor(other) for name, other in match.others.items()},
        )
    )


def by_text(classes, start=0):
    """Index of each number's class where a training sorted them as text."""
    return {name: at for at, name in enumerate(sorted(map(str, range(start, start + classes))))}


def test_the_p_value_is_that_of_all_permutations():
    predicted = np.array([0, 0, 1, 1, 2, 0, 2])
    taken, other = np.array([1, 1, 2, 2, 3, 3, 1]), np.array([0, 0, 1, 1, 2, 2, 0])

    def lead(of):
        return sum(o == b for o, b in zip(of, other, strict=True)) - sum(
            o == a for o, a in zip(of, taken, strict=True)
        )

    every = [lead(of) >= lead(predicted) for of in itertools.permutations(predicted)]
    compared = compare(predicted, taken, other)
    assert compared.hits == (0, 5)
    assert compared.classes == (0, 3)
    assert compared.p_value == pytest.approx(np.mean(every), abs=0.005)


def test_images_on_which_both_orders_agree_count_for_nothing():
    some = np.array([0, 1, 2, 3, 4, 5] * 5)
    taken = np.where(some < 2, some, (some + 1) % 6)
    alone = compare(some[some > 1], taken[some > 1], some[some > 1])
    assert compare(some, taken, some) == alone
    assert alone.hits == (0, 20)


@pytest.mark.parametrize("accuracy", [0.25, 0.6, 1.0])
@pytest.mark.parametrize(
    ("order", "spelled"),
    [
        ("text", lambda at: sorted(map(str, range(12)))[at]),
        ("from-1", lambda at: str(at + 1) if at < 11 else None),
        ("natural", lambda at: f"class {at + 3}"),
        ("text-from-1", lambda at: None if at == 0 else sorted(map(str, range(1, 13)))[at]),
    ],
)
def test_an_order_that_fits_far_better_is_asked_for(accuracy, order, spelled):
    right = np.arange(360) % 12
    predicted = predictions(right, accuracy, 12, seed=1)
    labels = [spelled(at) for at in right.tolist()]
    with pytest.raises(SpecError, match=rf"choose label_order {order} \(if the model was") as asked:
        examined(labels, predicted, 12)
    assert len(str(asked.value)) < 400
    check = examined(labels, predicted, 12, order)
    assert check is not None
    assert check.outcome == "fine"


@pytest.mark.parametrize("classes", [3, 12, 100])
@pytest.mark.parametrize("accuracy", [0.0, 0.05, 0.5, 0.95])
@pytest.mark.parametrize("n", [6, 60, 600])
def test_the_right_order_is_not_asked_about(classes, accuracy, n):
    for seed in range(5):
        right = np.arange(n) % classes
        predicted = predictions(right, accuracy, classes, seed)
        check = examined([str(at) for at in right.tolist()], predicted, classes)
        assert check is not None
        if accuracy >= 0.5:
            assert check.outcome == "fine"


@pytest.mark.parametrize("gives", [[5], [3, 5], [2, 3, 5]])
def test_a_model_that_gives_few_classes_is_evidence_for_no_order(gives):
    """Most images are of one label, and by another order they would be of the class it gives."""
    random = np.random.default_rng(0)
    labels = ["6"] * 500 + [str(at) for at in range(1, 12)] * 5
    predicted = random.choice(gives, len(labels))
    check = examined(labels, predicted, 12)
    assert check is not None
    assert check.outcome == "fine"


def test_few_images_are_a_warning_and_no_stop():
    check = examined(["1", "2", "3", "1", "2", "3"], [0, 1, 2, 0, 1, 2], 4)
    assert check is not None
    assert check.outcome == "warning"
    assert "from-1" in check.sentence


@pytest.mark.parametrize("classes", [2, 12])
def test_labels_that_stand_for_other_classes_in_no_order_at_all(classes):
    right = np.arange(20 * classes) % classes
    shuffled = np.roll(np.arange(classes), classes // 2)
    check = examined([str(at) for at in right.tolist()], shuffled[right], classes, "numeric")
    assert check is not None
    assert check.outcome == "warning"
    assert "give the class names in the order" in check.sentence
    swapped = shuffled[right] if classes == 2 else np.where(right < 2, 1 - right, right)
    check = examined([str(at) for at in right.tolist()], swapped, classes, "numeric")
    assert check is not None
    assert check.outcome == "warning"


def test_without_a_class_nothing_is_said():
    assert examined([None, None], [0, 1], 4) is None
    assert examined(["a", "b", "c"], [0, 1, 1], 4) is None


def test_the_command_line_offers_every_order_there_is() -> None:
    """It repeats their names, because `gsc --help` does not wait for what reads images."""
    asked_for, _ = get_args(get_args(LabelOrderName)[0])
    assert set(get_args(asked_for)) == set(get_args(LabelOrder)) == {o.name for o in ORDERS}
