"""What is said of the confidence: nothing that the figures beside it deny."""

import pytest

from gsc_core.evaluation.calibration import confidence_calibration
from gsc_core.evaluation.interval import Interval
from gsc_core.run.document import Temperature
from gsc_core.sentences.confidence import off_by, temperature_sentence


@pytest.mark.parametrize(
    ("right", "sure", "said"),
    [
        ([0], [0.771], "says 77.1 % and is right 0.0 % of the time: a difference that may be"),
        ([1, 0], [0.5, 0.5], "says 50.0 % and is right 50.0 % of the time: the two agree."),
        ([0] * 50 + [1] * 50, [0.9] * 100, "is right 50.0 % of the time: it is too sure of itself"),
    ],
)
def test_two_figures_agree_only_where_they_are_the_same(right, sure, said):
    assert said in off_by(confidence_calibration(right, sure))


def test_how_far_two_shares_differ_is_in_percentage_points():
    found = confidence_calibration([0] * 50 + [1] * 50, [0.9] * 100)
    assert "the two differ by 40.0 percentage points (" in off_by(found)


def temperature(before: float, after: float) -> Temperature:
    return Temperature(
        value=0.949,
        fitted_on=1,
        tested=480,
        error_before=Interval(before, before, before),
        error_after=Interval(after, after, after),
        log_loss_before=0.0702,
        log_loss_after=0.0698,
        gain=Interval(0.0, -0.1, 0.1),
    )


def test_a_figure_that_stays_is_not_said_to_be_another():
    assert temperature_sentence(temperature(0.0001, 0.0002)) == (
        "Dividing the logits by 0.949 before the softmax (temperature scaling, fitted on 1 "
        "calibration image) was tried on 480 test images: the calibration error stays at 0.0 %, "
        "and the log loss stays at 0.070."
    )
    said = temperature_sentence(temperature(0.18, 0.05))
    assert (
        "the calibration error is 5.0 % instead of 18.0 %, and the log loss stays at 0.070: a"
        in said
    )
