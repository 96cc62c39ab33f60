"""What a run says of its confidences and of its errors, against counting in its table."""

import numpy as np
import pandas as pd
import pytest
from stored_run import write_run

from gsc_core.evaluation.thresholds import Typed
from gsc_core.run import decisions
from gsc_core.run.confidence import trust_of
from gsc_core.run.ood_halves import halves
from gsc_core.run.reliability import errors_of, frontier_of
from gsc_core.run.stored import Run


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "demo", settings={"classes": 15})


def changed(folder, **columns) -> Run:
    table = pd.read_parquet(folder / "scores.parquet")
    table.assign(**{name: change(table) for name, change in columns.items()}).to_parquet(
        folder / "scores.parquet", index=False
    )
    return Run.load(folder)


def test_trust_counts_labelled_familiar_test_images(folder):
    run = changed(folder, label=lambda table: table["label"].where(table.index % 3 > 0, -1))
    table = pd.read_parquet(folder / "scores.parquet")
    tested = table[(table["role"] == "id") & (table["label"] >= 0)]
    right = tested["label"] == tested["predicted"]
    found = trust_of(run)
    assert found.calibration.images == len(tested)
    assert found.calibration.accuracy.value == right.mean()
    assert found.calibration.confidence == pytest.approx(tested["confidence"].mean())
    counted = {one.index: (one.right, one.images) for one in found.classes}
    by_class = right.groupby(tested["label"]).agg(["sum", "count"])
    assert counted == {index: tuple(row) for index, row in by_class.iterrows()}
    assert found.untested == 15 - len(by_class)
    assert found.temperature is None


def test_without_labels_there_is_nothing_to_trust(folder):
    run = changed(folder, label=lambda _: -1)
    decision = decisions.default(run)
    assert trust_of(run) is None
    assert errors_of(run, decision) is None
    assert frontier_of(run, decision.detector) is None


def test_a_run_that_does_not_say_how_many_classes_it_has(tmp_path):
    assert trust_of(Run.load(write_run(tmp_path / "demo"))).untested is None


def test_errors_have_two_parts(folder):
    run = Run.load(folder)
    decision = decisions.decide(run, "gsc", Typed(value=0.5))
    table = pd.read_parquet(folder / "scores.parquet")
    accepted = table["gsc"] <= decision.value
    of_id, is_ood = table["role"] == "id", table["role"] == "ood"
    wrong = table["label"] != table["predicted"]
    mistakes = 0.9 * (accepted & wrong)[of_id].mean()
    unfamiliar = 0.1 * accepted[is_ood].groupby(table["set"][is_ood]).mean().mean()
    whole = 0.9 * accepted[of_id].mean() + unfamiliar
    found = errors_of(run, decision)
    assert found.accepted == pytest.approx(whole)
    assert found.mistakes == pytest.approx(mistakes / whole)
    assert found.unfamiliar == pytest.approx(unfamiliar / whole)
    assert found.wrong.value == pytest.approx(found.mistakes + found.unfamiliar)
    assert found.wrong.low < found.wrong.value < found.wrong.high


def test_errors_are_counted_on_the_images_that_test_the_decision(folder):
    """A detector that was picked by one half of each set is judged on the other."""
    run = Run.load(folder)
    decision = decisions.decide(run, "energy", Typed(value=0.5))
    assert decision.picked
    ood = [run.column("energy")[rows] <= 0.5 for rows in halves(run).testing.values()]
    found = errors_of(run, decision)
    share = 0.1 * np.mean([accepted.mean() for accepted in ood]) / found.accepted
    assert found.unfamiliar == pytest.approx(share)


def test_limits_come_from_calibration_and_one_half_and_are_tested_on_the_rest(folder):
    """What is tested does not move the limits, and what is compared does not move the counts."""
    run = Run.load(folder)
    before = frontier_of(run, "energy")
    tested = np.concatenate([run.rows_of(["id"]), *halves(run).testing.values()])

    def flipped(table):
        return table["energy"].where(~table.index.isin(tested), -table["energy"])

    after = frontier_of(changed(folder, energy=flipped), "energy")
    for name in ("confidence", "detector", "both"):
        one, other = getattr(before, name), getattr(after, name)
        assert set(one.limits) >= set(other.limits) or set(other.limits) >= set(one.limits)
    assert not np.array_equal(before.detector.wrong, after.detector.wrong)
    assert np.array_equal(before.confidence.wrong, after.confidence.wrong)


def test_a_run_of_unlabelled_calibration_images_has_no_frontier(folder):
    run = changed(folder, label=lambda t: t["label"].where(t["role"] != "calibration", -1))
    assert frontier_of(run, "energy") is None
    assert errors_of(run, decisions.default(run)) is not None
