"""The stored threshold of a run: who decided, what it leads to, and files that are damaged."""

import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
from decided import stored_run
from scipy.stats import binomtest

from gsc_core.errors import GscError
from gsc_core.evaluation.selective import selective
from gsc_core.evaluation.thresholds import (
    F1,
    CatchOod,
    Cost,
    KeepId,
    Typed,
    Youden,
)
from gsc_core.run import decisions
from gsc_core.run.decisions import Decision
from gsc_core.run.stored import Run
from gsc_core.sentences import decision as said_of
from gsc_core.sentences import warnings as doubts


def test_a_decision_is_found_again_until_it_is_forgotten(home):
    run = stored_run(home)
    assert decisions.stored(run) is None
    assert decisions.version(run) == 0
    made = decisions.decide(run, "energy", CatchOod(share=0.9))
    kept = decisions.store(run, made)
    assert kept.chosen is not None
    assert decisions.stored(run) == kept == decisions.standing(run) == decisions.current(run)
    assert decisions.version(run) > 0
    text = json.loads((run.path / "threshold.json").read_text())
    assert (text["detector"], text["rule"]) == ("energy", {"name": "catch_ood", "share": 0.9})
    assert not list(run.path.glob("*.part"))
    decisions.discard(run)
    decisions.discard(run)
    assert decisions.stored(run) is None


def test_the_default_keeps_95_percent_with_a_detector_that_the_figures_did_not_choose(home):
    run = stored_run(home, detectors={"energy": 1.0, "msp": 9.0, "gsc": 0.1, "home-made": 5.0})
    made = decisions.current(run)
    assert made.detector == "gsc" != run.best().detector
    assert made.chosen is None
    scores = np.sort(run.calibration_scores(made.detector))
    assert made.value == scores[math.ceil(51 * 0.95) - 1]  # 50 calibration images


def of_detectors(home, name, *detectors, **extra) -> str:
    """The detector that decides by default in a run of these, in that order."""
    run = stored_run(home, name, detectors=dict.fromkeys(detectors, 1.0), **extra)
    return decisions.default_detector(run)


@pytest.mark.slow
def test_who_decides_is_the_first_by_preference_that_ran(home):
    others = ("vim", "gsc", "energy")
    assert of_detectors(home, "a", *others, "gsc-auto", "auto-ensemble") == "auto-ensemble"
    assert (
        of_detectors(home, "b", *others, "gsc-auto", excused={"auto-ensemble": "x"}) == "gsc-auto"
    )
    assert of_detectors(home, "c", *others) == "gsc"
    assert of_detectors(home, "d", "home-made", "vim") == "vim"
    assert of_detectors(home, "e", "home-made", "other") == "home-made"


def test_one_that_points_the_wrong_way_on_surrogates_decides_only_where_all_do(home):
    wrong = {"surrogate_auroc": {"gsc-auto": 0.4, "energy": 0.6}}
    assert of_detectors(home, "a", "energy", "gsc-auto", **wrong) == "energy"
    assert of_detectors(home, "b", "gsc-auto", **wrong) == "gsc-auto"
    # what OOD images show has no say
    assert of_detectors(home, "c", "energy", "gsc-auto", inverted=["gsc-auto"]) == "gsc-auto"


def test_the_recorded_decision_is_the_default_whatever_the_figures_say(home):
    named = {"detector": "msp", "rule": {"name": "keep_id", "share": 0.8}, "value": 0.25}
    run = stored_run(home, decision=named)
    made = decisions.default(run)
    assert (made.detector, made.rule, made.value) == ("msp", KeepId(share=0.8), 0.25)
    assert not made.picked
    assert not decisions.decide(run, "msp", KeepId(share=0.9)).picked
    assert decisions.decide(run, "gsc", KeepId(share=0.9)).picked
    without = stored_run(home, "few", decision=named | {"value": None})
    assert decisions.default(without).value == math.inf
    gone = stored_run(home, "gone", decision=named | {"detector": "gone"})
    assert decisions.default(gone).detector == "gsc"


def test_what_an_audit_names_beforehand_is_what_its_calibration_images_give(home):
    run = stored_run(home)
    named = decisions.name_beforehand(run, ["gone", "energy", "gsc"])
    kept = decisions.decide(run, "energy", KeepId(share=0.95)).value
    assert (named.detector, named.rule, named.value) == ("energy", KeepId(share=0.95), kept)
    assert (
        named.value
        == decisions.default(
            Run(run.path, run.document.model_copy(update={"decision": named}))
        ).value
    )


def test_who_chose_when_and_why_is_kept_and_said(home):
    run = stored_run(home)
    made = decisions.decide(run, "gsc", KeepId(share=0.9))
    assert "No threshold has been chosen" in said_of.standing_sentence(run, decisions.current(run))
    stored = decisions.store(run, made, who="ann@example.org", note="  two <b>weeks</b> of trial ")
    assert stored == decisions.current(run)
    assert (stored.who, stored.note) == ("ann@example.org", "two <b>weeks</b> of trial")
    said = said_of.standing_sentence(run, stored)
    assert said.startswith("The run's threshold: gsc at")
    assert "by ann@example.org. Note: two <b>weeks</b> of trial" in said
    nobody = decisions.store(run, made, note=" ")
    assert (nobody.who, nobody.note) == (None, None)
    unset = decisions.decide(run, "gsc", KeepId(share=0.99))  # 50 calibration images are too few
    assert "gsc with no threshold, so that it flags nothing (accept 99 %" in (
        said_of.standing_sentence(run, unset)
    )
    with pytest.raises(GscError, match="at most 500 characters"):
        decisions.store(run, made, note="x" * 501)
    assert decisions.stored(run) == nobody


def test_why_another_than_the_usual_detector_decides_is_said(home):
    run = stored_run(home, excused={"auto-ensemble": "x", "she": "y"})
    said = said_of.excused_sentence(run, decisions.current(run))
    assert said == ("auto-ensemble would decide by default, but was left out here, so gsc does.")
    picked = decisions.decide(run, "energy", KeepId(share=0.9))
    assert said_of.excused_sentence(run, picked) == ""
    whole = stored_run(home, "whole")
    assert said_of.excused_sentence(whole, decisions.current(whole)) == ""


def test_the_effect_is_counted_on_test_pictures_alone(home):
    run = stored_run(home, n=70, m=30)
    found = decisions.effect_of(run, Decision(detector="energy", rule=Youden(), value=0.5))
    scores = run.scores("energy")
    assert found.id.total == 70
    assert found.id.accepted == np.sum(scores["id"] <= 0.5)
    for name, one in found.ood.items():
        assert (one.accepted, one.total) == (np.sum(scores[name] <= 0.5), 30)


def test_a_rule_that_needs_no_strangers_never_sees_them(home):
    run = stored_run(home)
    other = stored_run(home, "other", sets={"elsewhere": -3.0})
    same = run.calibration_scores("energy")
    assert np.array_equal(same, other.calibration_scores("energy"))
    rule = KeepId(share=0.9)
    mine, theirs = (decisions.decide(each, "energy", rule) for each in (run, other))
    assert mine.value == theirs.value


@pytest.mark.parametrize("rule", [KeepId(share=0.8), CatchOod(share=0.7)])
@pytest.mark.parametrize("detector", ["gsc", "energy"])
def test_each_class_has_its_own_counts(home, rule, detector):
    run = stored_run(home)
    made = decisions.decide(run, detector, rule)
    assert made.spares_half == (rule.needs_ood or detector == "energy")
    table = pd.read_parquet(run.path / "scores.parquet")
    tested = table[table.role != "calibration"]
    if made.spares_half:
        kept = [
            part.sort_values("sha256").iloc[len(part) // 2 :]
            for _, part in tested[tested.role == "ood"].groupby("set")
        ]
        tested = pd.concat([tested[tested.role == "id"], *kept])
    tested = tested.assign(passes=tested[detector].astype(float) <= made.value)
    found = decisions.effect_by_class(run, made)
    assert {one.name for one in found} == {f"class {i}" for i in range(12)}
    for one in found:
        part = tested[tested.predicted == int(one.name.removeprefix("class "))]
        for role, shown in (("id", one.id), ("ood", one.ood)):
            passes = part[part.role == role].passes
            assert (shown.accepted, shown.total) == (passes.sum(), len(passes))
            exact = binomtest(shown.accepted, shown.total).proportion_ci(0.95, method="exact")
            assert (shown.low, shown.high) == pytest.approx((exact.low, exact.high))
    order = [(-one.ood.accepted, -one.id.flagged) for one in found]
    assert order == sorted(order)


def test_a_class_of_strangers_alone_has_no_familiar_counts(home):
    run = stored_run(home)
    path = run.path / "scores.parquet"
    table = pd.read_parquet(path)
    table.loc[table.set == "noise", "predicted"] = 99
    table.loc[table.predicted == 3, "predicted"] = 4
    table.to_parquet(path, index=False)
    run = Run.load(run.path)
    found = {one.name: one for one in decisions.effect_by_class(run, decisions.default(run))}
    assert "class 3" not in found
    assert found["class 99"].id is None
    assert found["class 99"].ood.total == 120
    assert found["class 99"].lost == 0


def test_what_refusing_gains_is_of_labelled_test_pictures(home):
    run = stored_run(home)
    path = run.path / "scores.parquet"
    table = pd.read_parquet(path)
    table.loc[table.role != "ood", "predicted"] = table.label  # all right but every fourth
    table.loc[table.index % 4 == 0, "predicted"] = 11
    table.loc[table.index % 5 == 0, "label"] = -1
    table.to_parquet(path, index=False)
    run = Run.load(run.path)
    made = decisions.default(run)
    known = table[(table.role == "id") & (table.label >= 0)]
    right = (known.label == known.predicted).to_numpy()
    found = decisions.selective_of(run, made)
    assert found.total == len(known) == 160
    scores = known[made.detector].to_numpy(dtype=np.float64)
    assert found.area == selective(right, scores, made.value).area
    assert found.passing == right[scores <= made.value].mean()
    assert found.accuracy == right.mean()
    assert decisions.selective_of(run, made.model_copy(update={"value": -99.0})) is None
    table["label"] = -1
    table.to_parquet(path, index=False)
    assert decisions.selective_of(Run.load(run.path), made) is None


def test_no_threshold_serves_some_costs(home):
    run = stored_run(home)
    cheap = Cost(miss=1e-6, alarm=1e6, prevalence=0.001)
    dear = Cost(miss=1e9, alarm=1e-9, prevalence=0.999)
    for detector, rule, value, said in (
        ("gsc-drop", cheap, math.inf, "nothing"),
        ("gsc-drop", dear, -math.inf, "every image"),
    ):
        made = decisions.decide(run, detector, rule)
        assert made.value == value
        assert f"flagging {said}" in doubts.extreme(made)
        with pytest.raises(GscError, match=f"would flag {said}"):
            decisions.store(run, made)
        decisions.effect_of(run, made)
    assert doubts.extreme(decisions.decide(run, "energy", KeepId(share=0.999))) is None
    assert doubts.extreme(decisions.decide(run, "energy", Youden())) is None


def test_a_threshold_on_too_few_pictures_is_doubted(home):
    run = stored_run(home)  # 50 to calibrate, 60 unfamiliar images of each set to set it with

    def doubt(rule):
        return doubts.rough(run, decisions.decide(run, "energy", rule))

    assert doubt(KeepId(share=0.9)) is None
    assert doubt(Youden()) is None
    assert doubt(CatchOod(share=0.98)) is None  # 49 are enough
    assert "takes 99 unfamiliar images of each set" in doubt(CatchOod(share=0.99))
    assert doubt(F1(prevalence=0.02)) is None  # 49 familiar ones for each unfamiliar image
    assert "takes 99 calibration images, and this run has 50" in doubt(F1(prevalence=0.01))
    assert doubt(Cost(miss=10, alarm=1, prevalence=0.01)) is None
    assert "90 unfamiliar images of each set" in doubt(Cost(miss=10, alarm=1, prevalence=0.9))
    assert doubt(Typed(value=0)) is None
    assert "None of the 50 calibration images" in doubt(Typed(value=99))
    few = stored_run(home, "few", m=20)
    said = doubts.rough(few, decisions.decide(few, "energy", Youden()))
    assert "20 unfamiliar images of each set to set it on, and unseen-signs has 10" in said


def test_a_detector_that_the_run_has_not_is_one_sentence(home):
    with pytest.raises(GscError, match='no detector "gone": choose one of energy, msp'):
        decisions.decide(stored_run(home), "gone", KeepId(share=0.9))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"detector": "energy"}', "\udcff"])
def test_a_damaged_file_is_one_sentence(home, text):
    run = stored_run(home)
    (run.path / "threshold.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(GscError, match=r"damaged: delete threshold\.json"):
        decisions.current(run)


def test_a_decision_about_other_scores_does_not_stand(home):
    run = stored_run(home, provenance={"finished": "2026-01-01"})
    decisions.store(run, decisions.decide(run, "energy", KeepId(share=0.8)))
    assert decisions.standing(run) is not None
    metrics = run.path / "metrics.json"
    metrics.write_text(metrics.read_text().replace("2026-01-01", "2026-02-02"))
    again = Run.load(run.path)
    assert decisions.standing(again) is None
    assert decisions.current(again) == decisions.default(again)
    decisions.store(run, Decision(detector="gone", rule=Youden(), value=1.0))
    assert decisions.standing(run) is None


def test_a_threshold_that_flags_nothing_is_refused(home):
    run = stored_run(home)
    made = decisions.decide(run, "energy", KeepId(share=0.999))
    assert made.value == math.inf
    with pytest.raises(GscError, match="nothing at all"):
        decisions.store(run, made)
    assert decisions.stored(run) is None


def test_there_must_be_a_run(home):
    run = stored_run(home)
    shutil.rmtree(run.path)
    made = Decision(detector="x", rule=Youden(), value=1.0)
    with pytest.raises(GscError, match="from the list"):
        decisions.store(run, made)
    assert not list(home.rglob("*"))
