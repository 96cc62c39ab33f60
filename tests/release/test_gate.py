"""The release gate: the interval decides, nothing passes silently, and CI can read the verdict."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from command_line import gsc
from hypothesis import given
from hypothesis import strategies as st
from junitparser import Error, Failure, JUnitXml
from markdown_it import MarkdownIt
from places import IMPORTABLE, ROOT
from policies import HOSTILE, rule
from scipy.optimize import minimize_scalar
from scipy.stats import binom, multinomial
from small_audit import PREPROCESS, known, write_stage
from small_classifier import Small
from stored_run import SETS, write_run

from gsc_core.errors import GscError, SpecError
from gsc_core.evaluation.auroc import surest
from gsc_core.evaluation.calibration import confidence_calibration
from gsc_core.evaluation.effects import counted
from gsc_core.evaluation.intervals import Interval
from gsc_core.evaluation.metrics import metrics
from gsc_core.evaluation.thresholds import KeepId, Typed
from gsc_core.release import intervals, words
from gsc_core.release.judge import judge
from gsc_core.release.junit import junit_xml
from gsc_core.release.markdown import cell, summary
from gsc_core.release.metrics import METRICS
from gsc_core.release.policy import example, read_policy
from gsc_core.release.verdict import Judged, Outcome, Verdict
from gsc_core.run import decisions, picking
from gsc_core.run.stored import Run
from gsc_core.workspace import release_policy


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    return tmp_path / "runs"


def judged(folder: Path, policy: str, decision=None) -> Verdict:
    run = Run.load(folder)
    return judge(run, decision or decisions.default(run), read_policy(policy))


# --- the interval decides --------------------------------------------------------------------

thousandths = st.integers(-1000, 2000)


@given(thousandths, thousandths, thousandths, st.booleans())
def test_a_limit_is_kept_or_broken_by_the_whole_interval(one, other, limit, at_most):
    """Told from whole numbers, exactly at the limit included."""
    low, high = sorted((one, other))
    within = {x <= limit if at_most else x >= limit for x in (low, high)}
    wanted = {(True,): Outcome.MET, (False,): Outcome.BROKEN}.get(tuple(within), Outcome.UNSURE)
    figure = Interval(low / 1000, low / 1000, high / 1000)
    assert Outcome.of(figure, limit / 1000, at_most=at_most) is wanted


def test_rounding_of_floats_breaks_no_limit():
    summed = 0.1 + 0.2  # 0.30000000000000004
    assert Outcome.of(Interval(summed, 0.1, summed), 0.3, at_most=True) is Outcome.MET
    assert Outcome.of(Interval(0.3, 0.3, 0.5), summed, at_most=False) is Outcome.MET


@given(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_the_gravest_outcome_is_the_verdict(kept, broken, unsure):
    parts = [(Outcome.MET, kept), (Outcome.BROKEN, broken), (Outcome.UNSURE, unsure)]
    rules = [Judged(f"{o} {i}", "at most 1 %", "2 %", o, "") for o, n in parts for i in range(n)]
    verdict = Verdict(tuple(rules))
    if not rules:
        return
    total = len(rules)
    if broken:
        assert verdict.outcome is Outcome.BROKEN
        assert "breaks" in verdict.headline
    elif unsure:
        assert verdict.outcome is Outcome.UNSURE
        assert "cannot be decided yet" in verdict.headline
    else:
        assert verdict.outcome is Outcome.MET
        assert verdict.sentence == verdict.headline
    assert ("the one limit" if total == 1 else str(total)) in verdict.headline
    assert f"{unsure} more cannot be decided yet." in verdict.sentence or not (broken and unsure)


def test_the_sentence_names_what_stands_against_a_pass():
    figure = Interval(0.02, 0.02, 0.02)
    broken = [
        Judged(f"Limit {i}", "at most 1 %", "2.0 %", Outcome.BROKEN, "", i, figure)
        for i in range(5)
    ]
    unsure = Judged("Doubt", "at most 1 %", "no figure", Outcome.UNSURE, "The run has no set x.")
    assert Verdict((*broken, unsure)).sentence == (
        "This model breaks 5 of 6 limits of the release policy. Limit 0: 2.0 %, required: at most "
        "1 %. Limit 1: 2.0 %, required: at most 1 %. Limit 2: 2.0 %, required: at most 1 %. And 2 "
        "more. 1 more cannot be decided yet."
    )
    assert Verdict((*[replace(b, outcome=Outcome.MET) for b in broken], unsure)).headline == (
        "This model breaks none of 6 limits of the release policy, but 1 cannot be decided yet."
    )
    assert Verdict((unsure,)).sentence == (
        "Whether this model keeps the one limit of the release policy cannot be decided yet. "
        "Doubt: The run has no set x."
    )


# --- intervals of its own --------------------------------------------------------------------


def test_the_paired_interval_is_where_the_score_test_does_not_refuse():
    """The most likely shares under a supposed difference found by search, not by the formula."""

    def statistic(worse: int, better: int, n: int, difference: float) -> float:
        def unlikely(gained: float) -> float:
            lost, same = gained + difference, 1 - 2 * gained - difference
            parts = ((worse, lost), (better, gained), (n - worse - better, same))
            return -sum(k * math.log(max(p, 1e-300)) for k, p in parts if k)

        bounds = (max(0.0, -difference), (1 - difference) / 2)
        found = minimize_scalar(unlikely, bounds=bounds, method="bounded", options={"xatol": 1e-12})
        variance = n * (2 * found.x + difference - difference**2)
        return (worse - better - n * difference) / math.sqrt(variance)

    for worse, better, n in [(12, 2, 50), (0, 7, 40), (9, 9, 30), (1, 0, 500), (30, 5, 35)]:
        found = lost(worse, better, n)
        assert statistic(worse, better, n, found.low) == pytest.approx(1.959964, abs=2e-3)
        assert statistic(worse, better, n, found.high) == pytest.approx(-1.959964, abs=2e-3)


def lost(worse: int, better: int, n: int) -> Interval:
    before = np.zeros(n, dtype=bool)
    after = np.zeros(n, dtype=bool)
    before[:worse] = True
    after[worse : worse + better] = True
    return intervals.lost(before, after)


def test_a_paired_interval_at_the_ends():
    square = 1.959964**2
    for n in (1, 20, 500):
        assert lost(0, 0, n).low == pytest.approx(-square / (n + square), abs=1e-6)
        assert lost(0, 0, n).high == pytest.approx(square / (n + square), abs=1e-6)
        assert lost(n, 0, n).low == pytest.approx((n - square) / (n + square), abs=1e-6)
        assert (lost(n, 0, n).high, lost(0, n, n).low) == (1, -1)


@pytest.mark.parametrize(
    ("shares", "most"), [((0.02, 0.01), 0.999), ((0.2, 0.05), 0.965), ((0.4, 0.3), 0.965)]
)
def test_the_paired_interval_holds_what_it_promises(shares, most):
    """Its exact coverage: every outcome of 60 images, weighed by its chance. Rare: held more."""
    n, (worse, better) = 60, shares
    outcomes = [(i, j) for i in range(n + 1) for j in range(n + 1 - i)]
    chance = multinomial(n, [worse, better, 1 - worse - better])
    weight = {each: chance.pmf([*each, n - sum(each)]) for each in outcomes}
    likely = [each for each in outcomes if weight[each] > 1e-7]
    held = [e for e in likely if (f := lost(*e, n)).low <= worse - better <= f.high]
    assert 0.94 <= sum(weight[each] for each in held) <= most


@pytest.mark.slow
def test_the_interval_of_a_mean_of_sets_holds_what_it_promises():
    rng = np.random.default_rng(0)
    truth, totals = np.array([0.02, 0.3, 0.9]), (40, 100, 60)
    held = 0
    for _ in range(2000):
        drawn = rng.binomial(totals, truth)
        found = intervals.mean_share([counted(k, n) for k, n in zip(drawn, totals, strict=True)])
        assert found.value == pytest.approx(np.mean(drawn / totals))
        held += found.low <= truth.mean() <= found.high
    assert binom(2000, 0.95).ppf(1e-4) <= held
    one = counted(3, 20)
    alone = intervals.mean_share([one])
    assert (alone.low, alone.high) == pytest.approx((one.low, one.high))


@pytest.mark.parametrize(
    ("known", "strangers", "pairs"), [(9, [6], 6), (9, [30, 3], 6), (1, [5, 5], 0)]
)
def test_so_many_pairs_prove_no_more(known, strangers, pairs):
    most = surest(known, strangers, 0.95)
    assert most**pairs == pytest.approx(0.025) if pairs else most == 0


# --- a run against its limits ----------------------------------------------------------------


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
            "no set texture: it has unseen-signs",
        ),
        ({"metric": "stranger_pictures", "set": "x", "at_least": 0}, "no set x: it has"),
        ({"metric": "fpr95", "detector": "she", "at_most": 1}, "she was left out: It needs 10"),
        ({"metric": "inverted", "detector": "gsd", "at_most": 0}, "no detector gsd: it has energy"),
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


# --- the file --------------------------------------------------------------------------------


def test_the_example_and_the_documentation_are_right(home):
    policy = read_policy(example())
    assert {r.metric for r in policy.rules} <= {metric.name for metric in METRICS}
    assert len({r.metric for r in policy.rules}) >= 6
    text = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL):
        read_policy(block)
    for metric in METRICS:
        key = "at_most" if metric.low_is_good else "at_least"
        assert re.search(rf"^\| `{metric.name}` \|.*\| `{key}` \|", text, re.MULTILINE), metric.name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "The policy has no rules: begin each with [[rule]]."),
        ("rule = []", "no rules"),
        ("rule = 3", "no rules"),
        ("rule = [1]", "Rule 1 of the policy is not a table"),
        ("rule = [", "The policy is not TOML: "),
        ("limits = 3\n" + rule("fpr95", at_most=1), 'unknown key "limits"'),
        (rule("fpr", at_most=1), 'Rule 1 of the policy has the metric "fpr": choose one of fpr95,'),
        (rule("aupr_in", at_least=1), 'metric "aupr_in"'),
        ("[[rule]]\nat_most = 0.1", "Rule 1 of the policy has no metric: choose one of fpr95,"),
        (rule("fpr95", at_most=1) + rule("fpr95"), "Rule 2 of the policy needs one limit"),
        (rule("fpr95", at_most=1, at_least=0), "needs one limit: give either"),
        (rule("fpr95", at_least=0.1), "fpr95 is good when low: give at_most"),
        (rule("auroc", at_most=0.1), "auroc is good when high: give at_least"),
        (rule("fpr95", at_most=30), "at_most = 30, but fpr95 is a share from 0 to 1"),
        (rule("id_accuracy", at_least=-0.1), "a share from 0 to 1: write 0.3 for 30 %"),
        (rule("familiar_pictures", at_least=0.5), "give a whole number of images"),
        (rule("familiar_pictures", at_least=-5), "give a whole number of images"),
        (rule("inverted", at_most=1), "give at_most = 0"),
        (rule("fpr95", atmost=1), 'unknown key "atmost": the keys are metric, detector, set,'),
        (rule("fpr95", at_most="0.3"), "has a wrong at_most: give a number"),
        (rule("fpr95", at_most=True), "has a wrong at_most: give a number"),
        (rule("fpr95", at_most=1, prevalence=0.1), "fpr95 is not of a mix of images: leave it out"),
        (rule("accepted_errors", at_most=1, prevalence=10), "has a wrong prevalence: give a share"),
        (rule("accepted_errors", at_most=1, prevalence=0), "has a wrong prevalence: give a share"),
        (rule("accepted_errors", at_most=1, detector="msp"), "is of the run's threshold"),
        (rule("ece", at_most=0.1, set="each"), "ece has no figure for each"),
        (rule("worst_class_accuracy", at_most=0.1), "is good when high: give at_least"),
        ('[[rule]]\nmetric = "fpr95"\nat_most = nan', "has a wrong at_most: give a number"),
        ('[[rule]]\nmetric = "fpr95"\nat_most = inf', "has a wrong at_most: give a number"),
        (rule("fpr95", at_most=1, set=3), "has a wrong set: give a name in quotes"),
        (rule("fpr95", at_most=1, detector=""), "has a wrong detector: give a name in quotes"),
        (rule("id_accuracy", at_least=1, set="each"), "id_accuracy has no figure for each"),
        (rule("id_accuracy", at_least=1, detector="msp"), "id_accuracy is of the run"),
        (rule("strangers_passing", at_most=1, detector="msp"), "is of the run's threshold"),
        (rule("stranger_pictures", at_least=1, set="mean"), "asks for the mean"),
        (rule("fpr95", at_most=1) * 201, "more than 200 rules"),
        (rule("x" * 500, at_most=1), "x…"),
        (b"\xff\xfe", "not text in UTF-8"),
        (b"#" * 100_001, "at most 100,000 bytes"),
        ("rule = " + "[" * 20_000, "The policy"),
    ],
)  # fmt: skip
def test_a_slip_of_the_pen_is_one_sentence_with_the_rule_s_number(text, said):
    with pytest.raises(SpecError) as refused:
        read_policy(text)
    sentence = str(refused.value)
    assert said in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert len(sentence) < 400


def test_a_policy_saved_by_an_editor_of_windows_is_read():
    text = rule("fpr95", at_most=0.3).replace("\n", "\r\n")
    assert read_policy(b"\xef\xbb\xbf" + text.encode()) == read_policy(text)
    assert tomllib.loads(text)["rule"][0]["at_most"] == 0.3


def test_a_workspace_keeps_one_policy(home):
    assert release_policy.current() is None
    assert release_policy.version() == 0
    first = release_policy.keep(example())
    assert release_policy.current() == first
    before = release_policy.version()
    with pytest.raises(SpecError):
        release_policy.keep(b"rule = 3")
    assert (release_policy.current(), release_policy.version()) == (first, before)
    other = release_policy.keep(rule("fpr95", at_most=0.1).encode())
    assert release_policy.current() == other != first
    assert release_policy.version() != before
    (home.parent / "policy.toml").write_text(rule("fpr", at_most=1))
    with pytest.raises(GscError, match=r"workspace .* is damaged\. Rule 1"):
        release_policy.current()
    release_policy.forget()
    release_policy.forget()
    assert release_policy.current() is None


# --- what CI reads ---------------------------------------------------------------------------


@pytest.fixture
def hostile(home) -> Verdict:
    """A verdict of every outcome about sets and detectors with awkward names."""
    folder = write_run(home / "demo", sets={HOSTILE: 5.0, "easy": 8.0}, detectors={"energy": 1.0})
    text = (
        rule("auroc", at_least=0.5, set="each")
        + rule("fpr95", at_most=0, set=HOSTILE)
        + rule("stranger_pictures", at_least=500, set=HOSTILE)
        + rule("fpr95", at_most=1, detector=HOSTILE)
    )
    verdict = judged(folder, text)
    assert {r.outcome for r in verdict.rules} == set(Outcome)
    return verdict


def test_junit_says_failure_and_error_and_is_read_back(hostile):
    text = junit_xml(hostile, HOSTILE)
    document = JUnitXml.fromstring(text)
    (suite,) = document
    cases = list(suite)
    assert len(cases) == len(hostile.rules)
    for case, judgement in zip(cases, hostile.rules, strict=True):
        assert judgement.title in case.name
        found = [type(result) for result in case.result]
        wanted = {Outcome.MET: [], Outcome.BROKEN: [Failure], Outcome.UNSURE: [Error]}
        assert found == wanted[judgement.outcome]
        if found:
            assert judgement.because in case.result[0].message
    root = ET.fromstring(text)
    assert root.tag == "testsuites"
    assert {each.tag for each in root} == {"testsuite"}
    assert {each.tag for each in root[0]} == {"testcase"}
    assert {each.tag for case in root[0] for each in case} == {"system-out", "failure", "error"}
    for part in (root, root[0]):
        counted_by_hand = {
            "tests": len(cases),
            "failures": len(hostile.having(Outcome.BROKEN)),
            "errors": len(hostile.having(Outcome.UNSURE)),
            "skipped": 0,
        }
        assert {key: int(part.attrib[key]) for key in counted_by_hand} == counted_by_hand
    assert all(case.attrib.keys() >= {"name", "classname", "time"} for case in root[0])


GITHUB = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def test_markdown_keeps_hostile_names_in_their_cells(hostile):
    tokens = GITHUB.parse(summary(hostile, HOSTILE))
    opened = [token.type for token in tokens if token.nesting == 1]
    assert opened.count("table_open") == 1
    assert opened.count("tr_open") == 1 + len(hostile.rules)
    assert opened.count("td_open") == 5 * len(hostile.rules)
    inline = [token for token in tokens if token.type == "inline"]
    assert {child.type for token in inline for child in token.children} <= {"text", "text_special"}
    titles = [shown(token) for token in inline[7::5]]
    assert titles == [" ".join(r.title.split()) for r in hostile.rules]
    assert "html" not in {token.type.split("_")[0] for token in tokens}


def shown(token) -> str:
    text = "".join(child.content for child in token.children)
    return text.replace("\N{WORD JOINER}", "")


@pytest.mark.slow
@given(st.text())
def test_any_text_is_shown_as_it_is(text):
    (token,) = [
        t for t in GITHUB.parse(f"| a |\n|---|\n| x{cell(text)}x |\n") if t.type == "inline"
    ][1:]
    printable = "".join(c if c.isprintable() else " " for c in text).replace("\N{WORD JOINER}", "")
    assert shown(token) == f"x{' '.join(printable.split())}x"


# --- the command -----------------------------------------------------------------------------

POLICY = (
    rule("id_accuracy", at_least=0.7)
    + rule("fpr95", at_most=0.5, set="noise")
    + rule("accuracy_loss", at_most=0.3, detector="gsc")
    + rule("strangers_passing", at_most=0.4)
    + rule("familiar_pictures", at_least=80)
)


@pytest.fixture(scope="module")
def audits(tmp_path_factory) -> Path:
    """Two audits of the same images: of the trained classifier, and of one that never learned."""
    stage = write_stage(tmp_path_factory.mktemp("stage"))
    known(stage / "id", 100, seed=11)  # of fewer than 88 an FPR95 has no upper end
    torch.manual_seed(3)
    untrained = Small().eval()
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(untrained, (torch.rand(4, 3, 12, 12),), dynamic_shapes=shapes)
    torch.export.save(program, stage / "bad.pt2")
    (stage / "policy.toml").write_text(POLICY)
    for name, model in {"good": "small", "bad": "bad"}.items():
        ran = gsc(
            "audit", "--model", stage / f"{model}.pt2", "--preprocess", PREPROCESS,
            "--id", stage / "id", "--calibration", stage / "calibration",
            "--ood", f"noise={stage / 'noise'}", "--detectors", "energy,gsc",
            "--split", "block", "--out", stage / name,
        )  # fmt: skip
        assert ran.code == 0, ran.err
    return stage


@pytest.mark.slow
def test_the_good_model_passes_and_the_bad_one_fails(audits):
    policy = audits / "policy.toml"
    good = gsc("gate", audits / "good", "--policy", policy)
    assert good.code == 0, good.out
    assert "This model keeps all 5 limits of the release policy." in good.out
    bad = gsc("gate", audits / "bad", "--policy", policy)
    assert bad.code == 3, bad.out
    assert "This model breaks" in bad.out
    assert "Familiar images classified correctly" in bad.out
    assert not good.told
    assert not bad.told


@pytest.mark.slow
def test_it_does_not_wait_for_the_engine(audits):
    """A pipeline asks for a verdict, which takes the stored run alone."""
    order = [sys.executable, "-X", "importtime", "-m", "gsc_core", "gate", str(audits / "good")]
    done = subprocess.run(
        [*order, "--policy", str(audits / "policy.toml")],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": IMPORTABLE},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "gsc_core" in imported
    assert not imported & {"torch", "torchvision", "timm", "sklearn", "streamlit", "pytorch_ood"}


@pytest.mark.slow
def test_too_few_pictures_are_neither(audits):
    """100 images cannot show that 99 % are classified correctly; a set that is not there,
    nothing."""
    for text in (rule("id_accuracy", at_least=0.99), rule("fpr95", at_most=1, set="faint")):
        (audits / "more.toml").write_text(text)
        ran = gsc("gate", audits / "good", "--policy", audits / "more.toml")
        assert ran.code == 4, ran.out
        assert "cannot be decided yet" in ran.out
        assert "not enough data" in ran.out


def test_the_same_verdict_in_every_form(audits, tmp_path):
    junit, markdown = tmp_path / "new" / "gate.xml", tmp_path / "summary.md"
    markdown.write_text("what another step wrote\n")
    order = ["gate", audits / "bad", "--policy", audits / "policy.toml"]
    ran = gsc(*order, "--junit", junit, "--markdown", markdown, "--json")
    assert ran.code == 3
    document = json.loads(ran.out)
    assert document["outcome"] == "fail"
    assert document["run"] == "bad"
    assert document["detector"] in {"energy", "gsc"}
    assert math.isfinite(document["threshold"])
    assert [limit["rule"] for limit in document["limits"]] == [1, 2, 3, 4, 5]
    first = document["limits"][0]
    assert first["low"] <= first["value"] <= first["high"] < 0.7
    assert JUnitXml.fromfile(str(junit)).failures == sum(
        limit["outcome"] == "fail" for limit in document["limits"]
    )
    printed = gsc(*order, "--markdown", "-")
    assert printed.code == 3
    assert printed.out.startswith("### ❌ Release gate: fail (bad)")
    assert markdown.read_text() == "what another step wrote\n" + printed.out


def test_what_a_user_can_mend_is_told_and_ends_with_2(audits, tmp_path, home):
    policy, good = audits / "policy.toml", audits / "good"
    (tmp_path / "bad.toml").write_text(rule("fpr", at_most=1))
    for arguments, said in (
        ((good,), "No limits were given: name a file with --policy"),
        ((good, "--policy", tmp_path / "none.toml"), "none.toml cannot be used"),
        ((good, "--policy", tmp_path / "bad.toml"), 'Rule 1 of the policy has the metric "fpr"'),
        (("nothing", "--policy", policy), 'no result for the run "nothing"'),
        (("../nowhere", "--policy", policy), "letters, digits"),
        ((tmp_path, "--policy", policy), "There is no result"),
        ((good, "--policy", policy, "--json", "--markdown", "-"), "both print"),
    ):
        ran = gsc("gate", *arguments)
        assert (ran.code, ran.out) == (2, ""), arguments
        assert len(ran.told) == 1
        assert said in ran.told[0]


def test_the_workspace_s_policy_and_the_run_s_threshold_hold(audits, home, monkeypatch):
    """By its name and by its folder; a copy elsewhere has the default threshold."""
    shutil.copytree(audits / "good", home / "good")
    release_policy.keep(rule("familiar_passing", at_least=0.8))
    assert gsc("gate", "good").code == 0
    run = Run.load(home / "good")
    decision = decisions.decide(run, "energy", Typed(value=-1e6))
    decisions.store(run, decision)
    assert gsc("gate", "good").code == 3
    assert gsc("gate", home / "good").code == 3
    monkeypatch.chdir(home)
    assert gsc("gate", "good").code == 3
    assert gsc("gate", audits / "good").code == 0
