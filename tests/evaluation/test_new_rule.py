"""A new threshold rule is one class and one line in `RULES`: everything else finds it there."""

from types import SimpleNamespace
from typing import Annotated, ClassVar, Literal

import numpy as np
import pytest
from opened_page import opened, words
from pydantic import Field
from stored_run import write_run
from typer.testing import CliRunner

from gsc_core.cli.app import app
from gsc_core.deploy.watch import calibrated_by
from gsc_core.errors import SpecError
from gsc_core.evaluation import thresholds
from gsc_core.evaluation.rules.base import Control, Evidence, ThresholdRule
from gsc_core.evaluation.sequential import Calibrated
from gsc_core.evaluation.thresholds import RULES, format_rule, parse_rule
from gsc_core.report.build import report_of
from gsc_core.run import decisions
from gsc_core.run.stored import Run
from gsc_core.workspace import exports


class AboveMean(ThresholdRule):
    """So many standard deviations above the mean of the calibration scores."""

    name: Literal["above_mean"] = "above_mean"
    deviations: Annotated[float, Field(ge=0, le=9)]

    title: ClassVar[str] = "Above the mean"
    meaning: ClassVar[str] = "What lies far above the usual scores is flagged."
    method: ClassVar[str] = "a z-score"
    example: ClassVar[str] = "above-mean:2"
    controls: ClassVar[tuple[Control, ...]] = (
        Control("deviations", "deviations", "How far above?", low=0, high=5, step=0.5, start=2),
    )
    needs_ood: ClassVar[bool] = False

    def threshold(self, evidence: Evidence) -> float:
        scores = evidence.calibration
        return float(scores.mean() + self.deviations * scores.std())

    def words(self) -> str:
        return f"{self.deviations:g} deviations above the mean"

    def outcomes(self, effect: thresholds.Effect) -> tuple[str, ...]:
        return (f"That is {self.deviations:g} deviations.",)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run that is judged by the new rule."""
    monkeypatch.setattr(thresholds, "RULES", (*RULES, AboveMean))
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    stored = Run.load(write_run(tmp_path / "runs" / "demo"))
    decisions.store(stored, decisions.decide(stored, "energy", AboveMean(deviations=1.5)))
    return stored


def expected(run, deviations: float) -> float:
    scores = run.calibration_scores("energy")
    return scores.mean() + deviations * scores.std()


def test_it_is_stored_and_read_again(run):
    stored = decisions.standing(run)
    assert stored.rule == AboveMean(deviations=1.5)
    assert stored.value == pytest.approx(expected(run, 1.5))


def test_the_command_line_offers_and_reads_it(run):
    helped = " ".join(CliRunner().invoke(app, ["export", "--help"]).stdout.replace("│", "").split())
    for rule in thresholds.RULES:
        assert rule.example in helped
    assert parse_rule("above-mean:1.5") == AboveMean(deviations=1.5)
    assert parse_rule(format_rule(AboveMean(deviations=1.5))) == AboveMean(deviations=1.5)
    with pytest.raises(SpecError, match="above-mean:2"):
        parse_rule("above-mean:10")


@pytest.mark.slow
def test_the_thresholds_page_asks_for_it(run):
    page = opened("thresholds", run="demo")
    assert not page.exception
    assert page.button_group(key="threshold_rule").value == "above_mean"
    assert AboveMean.meaning in words(page)
    assert page.number_input(key="threshold_deviations").value == 1.5
    assert page.slider(key="threshold_value").value == pytest.approx(expected(run, 1.5))
    assert "by hand" not in words(page)
    assert "That is 1.5 deviations." in words(page)
    assert AboveMean.title + ": a z-score." in page.button_group(key="threshold_rule").help

    page.number_input(key="threshold_deviations").set_value(2.5).run()
    assert page.slider(key="threshold_value").value == pytest.approx(expected(run, 2.5))
    page.button(key="threshold_save").click().run()
    assert decisions.stored(run).rule == AboveMean(deviations=2.5)
    assert "2.5 deviations above the mean" in words(page)


def test_the_report_says_it(run):
    said = report_of(run, decisions.current(run), images=False).decision
    assert said.rule == "1.5 deviations above the mean"
    assert said.value == pytest.approx(expected(run, 1.5))
    assert "That is 1.5 deviations." in said.sentences
    assert any("set on calibration images: nothing is promised" in each for each in said.sentences)


@pytest.mark.slow
def test_an_export_carries_it_and_another_detector_gets_it(run):
    assert decisions.offered(run, "msp").rule == AboveMean(deviations=1.5)
    command = exports.command(run, decisions.current(run))
    assert "--threshold above-mean:deviations=1.5" in command
    page = opened("deploy", run="demo")
    assert not page.exception
    assert "1.5 deviations above the mean" in words(page)


def test_a_watch_trusts_it_no_more_than_it_says(run, monkeypatch):
    """A rule that does not say that it is fixed beforehand is taken for one that is searched."""
    card = SimpleNamespace(
        rule=format_rule(AboveMean(deviations=1)), calibration=200, calibration_flagged=9
    )
    assert calibrated_by(card) == Calibrated(9, 200, searched=True)
    monkeypatch.setattr(AboveMean, "searched", False)
    assert calibrated_by(card) == Calibrated(9, 200, searched=False)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_says_what_it_must(rule):
    example = parse_rule(rule.example)
    assert type(example) is rule
    assert rule.title and rule.meaning and example.words()
    assert parse_rule(format_rule(example)) == example
    shown = example.answers()
    assert list(shown) == [control.key for control in rule.controls]
    for control in rule.controls:
        assert control.low <= control.start <= control.high
        assert control.low <= shown[control.key] <= control.high
    if not rule.by_hand:
        assert rule.answered(shown) == pytest.approx(example) or rule.answered(shown) == example


def test_rules_of_one_name_are_not_two():
    assert len(thresholds.kinds()) == len({rule.title for rule in RULES}) == len(RULES)


def test_what_is_said_to_be_fixed_beforehand_does_not_move_with_calibration_counts():
    """Independent of the flags: a rule that is not searched is a rank, or sees no calibration."""
    rng = np.random.default_rng(0)
    calibration, ood = rng.normal(size=200), {"a": rng.normal(1, 1, 200)}
    for rule in RULES:
        example = parse_rule(rule.example)
        if example.searched:
            continue
        ranks = {
            int(np.searchsorted(np.sort(c), example.threshold(Evidence(c, {}))))
            if not example.needs_ood and not example.by_hand
            else example.threshold(Evidence(c, ood))
            for c in (calibration, calibration**3, calibration + rng.normal(size=200))
        }
        assert len(ranks) == 1, rule
