"""A run against its limits: every figure is the run's own, and nothing passes silently."""

import json
import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judged import judged, lost
from policies import rule
from stored_run import SETS, write_run

from gsc_core.evaluation.calibration import confidence_calibration
from gsc_core.evaluation.effects import counted
from gsc_core.evaluation.intervals import Interval
from gsc_core.evaluation.metrics import metrics
from gsc_core.evaluation.thresholds import KeepId, Typed
from gsc_core.release import words
from gsc_core.release.policy import read_policy
from gsc_core.release.verdict import Outcome
from gsc_core.run import decisions, picking
from gsc_core.run.stored import Run


def test_every_figure_is_the_run_s_own(home):
    folder = write_run(home / "demo")
    run = Run.load(folder)
    decision = decisions.default(run)
    table = pd.read_parquet(folder / "scores.parquet")
    known = table[table["role"] == "id"]
    right = (known["label"] == known["predicted"]).to_numpy()
    passing = (known[decision.detector] <= decision.value).to_numpy()
    ood = table[table["role"] == "ood"]
    of_set = (ood[decision.detector] <= decision.value).groupby(ood["set"]).mean()
    of_class = pd.Series(right).groupby(known["label"].to_numpy()).mean()

    def wrong_of(ood_passing: float) -> float:
        mistakes = 0.8 * (passing & ~right).mean()
        accepted = 0.8 * passing.mean() + 0.2 * ood_passing
        return (mistakes + 0.2 * ood_passing) / accepted

    row = run.row("msp", "textures")
    best = picking.candidates(run)[0].detector
    aurocs = [
        metrics(known[best], part.sort_values("sha256")[best].iloc[60:]).auroc
        for _, part in ood.groupby("set")
    ]
    wanted = [
        (rule("fpr95", at_most=0.5, detector="msp", set="textures"), row.metrics["fpr95"].value),
        (rule("auroc", at_least=0.5, detector="best"), np.mean(aurocs)),
        (rule("strangers_passing", at_most=0.5), of_set.mean()),
        (rule("strangers_passing", at_most=0.5, set="noise"), of_set["noise"]),
        (rule("familiar_passing", at_least=0.5), passing.mean()),
        (rule("id_accuracy", at_least=0.5), right.mean()),
        (rule("accuracy_passing", at_least=0.5), right[passing].mean()),
        (rule("worst_class_accuracy", at_least=0.5), of_class.min()),
        (rule("accepted_errors", at_most=0.5, prevalence=0.2), wrong_of(of_set.mean())),
        (
            rule("accepted_errors", at_most=0.5, set="noise", prevalence=0.2),
            wrong_of(of_set["noise"]),
        ),
        (rule("calibration_pictures", at_least=50), 50),
        (rule("familiar_pictures", at_least=201), 200),
        (rule("stranger_pictures", at_least=1, set="noise"), 120),
        (rule("inverted", at_most=0), 0),
        (rule("inverted", at_most=0, detector="gsc-drop"), 1),
    ]
    verdict = judged(folder, "".join(text for text, _ in wanted))
    assert [r.interval.value for r in verdict.rules] == pytest.approx(
        [value for _, value in wanted]
    )
    assert all(r.interval.low <= r.interval.value <= r.interval.high for r in verdict.rules)
    assert [r.rule for r in verdict.rules] == list(range(1, len(wanted) + 1))
    found = {r.title: r.outcome for r in verdict.rules}
    assert found["Calibration images"] is Outcome.MET
    assert found["Familiar images tested"] is Outcome.BROKEN
    assert found["The detector points the wrong way · gsc-drop"] is Outcome.BROKEN


def test_the_calibration_error_is_of_labelled_familiar_test_images(home):
    folder = write_run(home / "demo")
    table = pd.read_parquet(folder / "scores.parquet")
    known = table[(table["role"] == "id")]
    wanted = confidence_calibration(known["label"] == known["predicted"], known["confidence"])
    (found,) = judged(folder, rule("ece", at_most=0.02)).rules
    assert found.interval == wanted.error
    assert found.outcome is Outcome.BROKEN  # the classes are drawn by lot, the confidence is high
    of_others = table["role"] != "id"
    changed = table.assign(confidence=table["confidence"].where(~of_others, 0.5))
    changed.to_parquet(folder / "scores.parquet", index=False)
    assert judged(folder, rule("ece", at_most=0.02)).rules[0].interval == wanted.error


def test_what_is_wrong_of_the_accepted_says_of_which_mix(home):
    folder = write_run(home / "demo")
    texts = [rule("accepted_errors", at_most=0.99, **more) for more in ({}, {"prevalence": 0.001})]
    usual, rare = judged(folder, "".join(texts)).rules
    assert "10 % of the images unfamiliar" in usual.title
    assert "0.1 % of the images unfamiliar" in rare.title
    assert rare.interval.value < usual.interval.value
    decision = decisions.decide(Run.load(folder), "energy", Typed(value=-1e6))
    (nothing,) = judged(folder, rule("accepted_errors", at_most=0.9), decision).rules
    assert (nothing.outcome, nothing.interval) == (Outcome.UNSURE, None)
    assert "Nothing is accepted" in nothing.because


def test_each_is_a_limit_for_every_set(home):
    folder = write_run(home / "demo")
    verdict = judged(folder, rule("fpr95", at_most=0.5, set="each") + rule("auroc", at_least=0.5))
    titles = [r.title for r in verdict.rules]
    assert len(titles) == len(SETS) + 1
    assert all(name in title for name, title in zip(SETS, titles, strict=False))
    assert "mean of the sets" in titles[-1]
    one = write_run(home / "one", sets={"noise": 2.0})
    assert "noise" in judged(one, rule("auroc", at_least=0.5)).rules[0].title


def test_few_perfectly_parted_pictures_pass_no_high_auroc(home):
    folder = write_run(home / "demo", sets={"far": 200.0}, detectors={"energy": 1.0}, m=20)
    (found,) = judged(folder, rule("auroc", at_least=0.95)).rules
    assert (found.interval.value, found.outcome) == (1, Outcome.UNSURE)
    assert found.interval.low == pytest.approx(0.025 ** (1 / 20))


def test_a_short_circuit_s_loss_is_counted_in_pairs(home):
    folder = write_run(home / "demo", directions={"gsc": "as published"})
    table = pd.read_parquet(folder / "scores.parquet")
    known = table["role"] == "id"
    table["label"] = table["label"].where(~known, table["predicted"])
    after = table["predicted"].where(known)
    worse = table.index[known][:7]
    after.loc[worse] = (after.loc[worse] + 1) % 12
    table["predicted_after_gsc"] = after.astype("Int32")
    table.to_parquet(folder / "scores.parquet", index=False)
    text = "".join(rule("accuracy_loss", at_most=0.1, detector=d) for d in ("gsc", "energy"))
    ours, energy = judged(folder, text).rules
    assert (ours.interval, ours.outcome) == (lost(7, 0, 200), Outcome.MET)
    assert ours.interval.value == pytest.approx(7 / 200)
    assert energy.interval == Interval(0, 0, 0)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        (
            {"metric": "fpr95", "set": "texture", "at_most": 1},
            'no set "texture": it has unseen-signs',
        ),
        ({"metric": "stranger_pictures", "set": "x", "at_least": 0}, 'no set "x": it has'),
        ({"metric": "fpr95", "detector": "she", "at_most": 1}, "she was left out: It needs 10"),
        (
            {"metric": "inverted", "detector": "gsd", "at_most": 0},
            'no detector "gsd": it has energy',
        ),
        (
            {"metric": "accuracy_loss", "detector": "gsc", "at_most": 1},
            "was not stored: run the audit again",
        ),
    ],
)
def test_what_a_run_does_not_have_never_passes(home, keys, reason):
    folder = write_run(home / "demo", directions={"gsc": "turned"}, id_accuracy_after={})
    (found,) = judged(folder, rule(**keys)).rules
    assert (found.outcome, found.figure, found.interval) == (Outcome.UNSURE, "no figure", None)
    assert reason in found.because


def test_pictures_without_labels_have_no_accuracy(home):
    folder = write_run(home / "demo")
    table = pd.read_parquet(folder / "scores.parquet").assign(label=-1)
    table.to_parquet(folder / "scores.parquet", index=False)
    metrics = {
        "id_accuracy": "at_least",
        "accuracy_passing": "at_least",
        "accuracy_loss": "at_most",
        "ece": "at_most",
        "worst_class_accuracy": "at_least",
        "accepted_errors": "at_most",
    }
    verdict = judged(folder, "".join(rule(m, **{key: 0.5}) for m, key in metrics.items()))
    assert {r.outcome for r in verdict.rules} == {Outcome.UNSURE}
    assert all("no labels" in r.because for r in verdict.rules)


THRESHOLDS = (
    rule("strangers_passing", at_most=1)
    + rule("familiar_passing", at_least=0)
    + rule("accuracy_passing", at_least=0)
)


def test_a_threshold_that_flags_nothing_is_no_threshold(home):
    folder = write_run(home / "demo")
    run = Run.load(folder)
    decision = decisions.decide(run, "energy", KeepId(share=0.999))
    assert decision.value == math.inf
    verdict = judged(folder, THRESHOLDS, decision)
    assert {r.outcome for r in verdict.rules} == {Outcome.UNSURE}
    assert all("would flag nothing" in r.because for r in verdict.rules)


def test_nothing_passes_a_threshold_below_all_scores(home):
    folder = write_run(home / "demo")
    decision = decisions.decide(Run.load(folder), "energy", Typed(value=-1e6))
    strange, familiar, named = judged(folder, THRESHOLDS, decision).rules
    assert (strange.interval.value, familiar.interval.value) == (0, 0)
    assert (named.outcome, named.interval) == (Outcome.UNSURE, None)


def test_a_run_without_strangers_passes_nothing(home):
    folder = write_run(home / "demo")
    document = json.loads((folder / "metrics.json").read_text())
    document["results"] = [row for row in document["results"] if row["ood_set"] == "mean"]
    (folder / "metrics.json").write_text(json.dumps(document))
    text = "".join(
        rule(metric, set=sets, **limit)
        for metric, limit in {"fpr95": {"at_most": 1}, "strangers_passing": {"at_most": 1}}.items()
        for sets in ("each", "mean")
    )
    found = judged(folder, text + rule("stranger_pictures", at_least=0)).rules
    assert {r.outcome for r in found} == {Outcome.UNSURE}
    assert len(found) == 5
    assert all("no unfamiliar images" in r.because for r in found)


@given(st.integers(0, 200), st.integers(0, 1000))
def test_what_looks_kept_is_kept(passed, limit):
    """The shown ends take the true ones in, and read back they lead to the same outcome."""
    found = counted(passed, 200)
    (one,) = read_policy(rule("strangers_passing", at_most=limit / 1000)).rules
    interval = Interval(found.share, found.low, found.high)
    shown = re.findall(r"[\d.]+", words.figure(one, interval))
    low, high = (float(text) / 100 for text in shown[1:])
    assert low <= found.low + 1e-9
    assert found.high - 1e-9 <= high
    told = Outcome.of(Interval(found.share, low, high), one.limit, at_most=True)
    true = Outcome.of(interval, one.limit, at_most=True)
    assert told is true


def test_a_loss_too_small_to_show_is_no_negative_zero():
    (one,) = read_policy(rule("accuracy_loss", at_most=0.5)).rules
    assert words.figure(one, Interval(-1e-4, -2e-3, 1e-3)) == "0.0 % (−0.2 to 0.1)"
