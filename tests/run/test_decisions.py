"""The stored threshold of a run, and the sentences about it."""

import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from stored_run import write_run

from gsc_core.errors import GscError
from gsc_core.evaluation import counts
from gsc_core.evaluation.cutpoints import least_cost
from gsc_core.evaluation.selective import selective
from gsc_core.evaluation.thresholds import (
    F1,
    Acceptance,
    CatchOod,
    Cost,
    Effect,
    KeepId,
    Typed,
    Youden,
    catch_ood,
    promise,
)
from gsc_core.run import decisions
from gsc_core.run.decisions import Decision
from gsc_core.run.ood_halves import halves
from gsc_core.run.stored import Run
from gsc_core.sentences import decision as said_of
from gsc_core.sentences import outcomes
from gsc_core.sentences import threshold as words
from gsc_core.sentences import warnings as doubts


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    return tmp_path / "runs"


def stored_run(home, name="demo", **extra) -> Run:
    return Run.load(write_run(home / name, **extra))


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


def test_a_picked_detector_is_counted_on_the_half_that_did_not_pick_it(home):
    run = stored_run(home, m=31)
    made = decisions.decide(run, "energy", KeepId(share=0.9))
    assert made.picked
    _, testing = parted(run, "energy")
    found = decisions.effect_of(run, made)
    assert found.id.total == 200
    for name, scores in testing.items():
        one = found.ood[name]
        assert (one.accepted, one.total) == (np.sum(scores <= made.value), 16)
    by_class = decisions.effect_by_class(run, made)
    assert sum(one.ood.total for one in by_class if one.ood) == 16 * 3
    usual = decisions.decide(run, "gsc", KeepId(share=0.9))
    assert {one.total for one in decisions.effect_of(run, usual).ood.values()} == {31}
    said = said_of.picked_sentence(run, made)
    assert "energy was picked after the audit, in place of gsc" in said
    assert "(45 images) is for choosing, and all counts are of the other half (48)" in said
    assert said_of.picked_sentence(run, usual) == ""


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


def parted(run: Run, detector: str) -> tuple[dict, dict]:
    """By pandas: of each OOD set the half with the smaller digests, and the other half."""
    table = pd.read_parquet(run.path / "scores.parquet")
    setting, testing = {}, {}
    for name, part in table[table.role == "ood"].groupby("set"):
        ranked = part.sort_values("sha256")[detector].to_numpy(dtype=np.float64)
        middle = len(ranked) // 2
        setting[name], testing[name] = ranked[:middle], ranked[middle:]
    return setting, testing


@pytest.mark.parametrize("m", [4, 31, 120])
def test_one_half_of_the_strangers_sets_a_threshold_and_the_other_tests_it(home, m):
    run = stored_run(home, m=m)
    setting, testing = parted(run, "energy")
    assert {len(part) for part in setting.values()} == {m // 2}
    rules = {
        CatchOod(share=0.8): catch_ood(setting, 0.8),
        Cost(miss=5, alarm=1, prevalence=0.3): least_cost(
            run.calibration_scores("energy"), setting, 5, 1, 0.3
        ),
    }
    for rule, value in rules.items():
        made = decisions.decide(run, "energy", rule)
        assert made.halved
        assert made.value == value
        found = decisions.effect_of(run, made)
        assert found.id.total == 200
        for name, scores in testing.items():
            one = found.ood[name]
            assert (one.accepted, one.total) == (np.sum(scores <= value), m - m // 2)
    assert not decisions.decide(run, "energy", KeepId(share=0.9)).halved


def test_the_testing_half_never_moves_the_threshold(home):
    """Whatever those images score, the threshold is the same; so is it in another row order."""
    run = stored_run(home)
    path = run.path / "scores.parquet"
    table = pd.read_parquet(path)
    rules = [CatchOod(share=0.8), Youden(), F1(prevalence=0.2)]
    before = [decisions.decide(run, "energy", rule).value for rule in rules]
    testing = [
        part.sort_values("sha256").index[len(part) // 2 :]
        for _, part in table[table.role == "ood"].groupby("set")
    ]
    table.loc[np.concatenate(testing), "energy"] = np.float32(-50)
    table.sample(frac=1, random_state=1).to_parquet(path, index=False)
    again = Run.load(run.path)
    assert [decisions.decide(again, "energy", rule).value for rule in rules] == before
    found = decisions.effect_of(again, decisions.decide(again, "energy", rules[0]))
    assert found.ood_share == 1


def test_a_picture_that_is_in_two_sets_never_sets_and_tests(home):
    """One set is a part of another: its images lie in other halves of the larger one."""
    run = stored_run(home, sets={"all": 1.0, "part": 1.0})
    path = run.path / "scores.parquet"
    table = pd.read_parquet(path)
    every = table[table["set"] == "all"].sort_values("sha256")
    copied = table["set"] == "part"
    table = table.drop(table.index[copied][:80])  # 40 are left
    table.loc[table["set"] == "part", "sha256"] = every["sha256"].to_numpy()[:40]
    table.to_parquet(path, index=False)
    run = Run.load(run.path)
    made = halves(run)
    digests = pd.read_parquet(path)["sha256"].to_numpy()
    setting, testing = (
        {digest for rows in half.values() for digest in digests[rows]}
        for half in (made.setting, made.testing)
    )
    assert not setting & testing
    assert {name: len(rows) for name, rows in made.testing.items()} == {"all": 60, "part": 20}
    assert {name: len(rows) for name, rows in made.setting.items()} == {"all": 40, "part": 20}


def test_too_few_strangers_to_part_is_one_sentence(home):
    run = stored_run(home, m=3)
    with pytest.raises(GscError, match=r"too few images of its own \(3\).*accept a share of fam"):
        decisions.decide(run, "energy", Youden())
    assert decisions.decide(run, "energy", KeepId(share=0.9)).value < math.inf


@pytest.mark.parametrize("digest", [None, "", "no digest at all", "abc"])
def test_without_digests_nothing_is_parted(home, digest):
    run = stored_run(home)
    path = run.path / "scores.parquet"
    table = pd.read_parquet(path)
    if digest is None:
        table = table.drop(columns="sha256")
    else:
        table.loc[3, "sha256"] = digest
    table.to_parquet(path, index=False)
    run = Run.load(run.path)
    with pytest.raises(GscError, match=r"scores\.parquet of run \"demo\" is damaged"):
        decisions.decide(run, "energy", Youden())
    assert decisions.decide(run, "energy", KeepId(share=0.9)).value < math.inf


def test_a_decision_of_before_the_halves_is_read_and_told_of_all_strangers(home):
    run = stored_run(home)
    scores = run.scores("energy")
    old = {"detector": "energy", "rule": {"name": "youden"}, "value": 0.5, "audited": None}
    (run.path / "threshold.json").write_text(json.dumps(old))
    stored = decisions.standing(run)
    assert stored is not None
    assert not stored.halved
    found = decisions.effect_of(run, stored)
    assert {one.total for one in found.ood.values()} == {120}
    assert found.ood["noise"].accepted == np.sum(scores["noise"] <= 0.5)
    assert "same unfamiliar images" in words.basis_sentence(run, stored, found)
    said = words.basis_sentence(run, decisions.decide(run, "energy", Youden()), found)
    assert "one half of the unfamiliar images (180 images)" in said
    assert "the other half (180)" in said


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


def test_refusing_in_words():
    right = np.arange(1000) >= 60
    scores = np.where(np.arange(1000) < 40, 1.0, 0.0)  # 40 of the 60 wrong ones are flagged
    said = outcomes.refusing_sentence(selective(right, scores, 0.5))
    assert "accepted familiar images, 979 are classified correctly (95 % interval 968 to" in said
    assert "987), instead of 940" in said
    assert "40 of 1,000 are flagged" in said
    nothing = outcomes.refusing_sentence(selective(right, scores, 1.0))
    assert "940 are classified correctly" in nothing
    assert "as many as when none is flagged; 0 of 1,000" in nothing
    random = outcomes.area_sentence(selective(right, np.zeros(1000), 0))
    assert "60 of 1,000 accepted images are classified wrongly; if" in random
    assert random.endswith("at random, 60 would be.")
    few = selective(np.ones(80), np.arange(80) >= 49, 0.5)  # 612.5 and 387.5 of 1,000
    assert "388 of 1,000 are flagged" in outcomes.refusing_sentence(few)
    assert "388 are flagged" in words.familiar_sentence(effect_of((49, 80)))


def test_what_a_rule_with_prevalence_leads_to():
    found = effect_of((950, 1000), a=(200, 1000), b=(400, 1000))
    (alarms,) = F1(prevalence=0.1).outcomes(found)
    assert alarms == (
        "Of 1,000 images with 100 unfamiliar images among them, expect 70 unfamiliar images and "
        "45 familiar "
        "images to be flagged, and 30 unfamiliar images to be accepted."
    )
    rare = Cost(miss=10, alarm=2, prevalence=0.0001)
    alarms, costs = rare.outcomes(found)
    assert alarms.startswith("Of 100,000 images with 10 unfamiliar images among them, expect 7 ")
    # 3 missed at 10 and 5 % of 99,990 at 2
    assert costs == (
        "That costs 10,029, where accepting an unfamiliar image costs 10 and flagging a familiar "
        "image 2; flagging nothing would cost 100, flagging everything 199,980."
    )
    assert KeepId(share=0.9).outcomes(found) == ()


@pytest.mark.parametrize(
    ("prevalence", "said"),
    [
        (0.5, "Of 1,000 images with 500 unfamiliar images"),
        (0.01, "Of 1,000 images with 10 unfamiliar images"),
        (0.0015, "Of 10,000 images with 15 unfamiliar images"),
        (0.001, "Of 10,000 images with 10 unfamiliar images"),
        (0.0001, "Of 100,000 images with 10 unfamiliar images"),
    ],
)
def test_a_stream_is_long_enough_to_count_its_strangers(prevalence, said):
    (alarms,) = F1(prevalence=prevalence).outcomes(effect_of((9, 10), a=(1, 2)))
    assert alarms.startswith(said)


def test_one_stranger_is_one_and_half_a_stranger_is_not_none():
    def alarms(passed, of):
        found = effect_of((999, 1000), a=(passed, of))
        return F1(prevalence=0.01).outcomes(found)[0]

    assert "expect 9 unfamiliar images and 1 familiar image to be flagged" in alarms(1, 10)
    assert alarms(1, 10).endswith("and 1 unfamiliar image to be accepted.")
    assert alarms(1, 20).endswith("and fewer than 1 unfamiliar image to be accepted.")  # 0.5
    assert alarms(0, 20).endswith("and 0 unfamiliar images to be accepted.")


def test_no_price_or_share_is_said_with_an_exponent_or_rounded_to_all():
    cheap = Cost(miss=1e-6, alarm=1, prevalence=0.01)
    text = cheap.outcomes(effect_of((10, 10), a=(1, 2)))[1]
    assert text.startswith(
        "That costs 0.000005, where accepting an unfamiliar image costs 0.000001 and f"
    )
    assert (
        "accepting an unfamiliar image being 1,000,000 times as bad as"
        in Cost(miss=1e6, alarm=1, prevalence=0.01).words()
    )
    assert (
        "flagging a familiar image being 1,000,000 times as bad as accepting an unfamiliar image"
        in (cheap.words())
    )
    assert KeepId(share=0.99999).words() == "accept 99.999 % of familiar images"


def test_every_rule_has_its_words():
    said = {
        "accept 95 % of familiar images": KeepId(share=0.95),
        "catch 99.9 % of unfamiliar images": CatchOod(share=0.999),
        "widest gap between familiar and unfamiliar images": Youden(),
        "best balance of unfamiliar images caught and correct alarms (F1), expecting 1 unfamiliar "
        "image in 1,000": F1(prevalence=0.001),
        "least cost, accepting an unfamiliar image being 2.5 times as bad as flagging a familiar "
        "image, expecting 10 unfamiliar images in 1,000": Cost(miss=5, alarm=2, prevalence=0.01),
        "set by hand": Typed(value=1),
    }
    for text, rule in said.items():
        assert rule.words() == text
    equal = Cost(miss=2, alarm=2, prevalence=0.01).words()
    assert "being as bad as" in equal


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


def effect_of(known: tuple[int, int], **strangers: tuple[int, int]) -> Effect:
    sets = {name: Acceptance(*counts, 0.1, 0.2) for name, counts in strangers.items()}
    return Effect(0.0, Acceptance(*known, 0.9, 0.97), sets)


def test_counts_are_said_of_1000():
    found = effect_of((951, 1000), textures=(312, 1000))
    assert words.familiar_sentence(found) == (
        "Of 1,000 familiar images, 951 are accepted (95 % interval 900 to 970) and 49 are flagged."
    )
    assert (
        "1,000 unfamiliar images from textures, 312 would be accepted"
        in words.strangers_sentence(found)
    )
    found = effect_of((951, 1000), a=(1, 10), b=(5, 10), c=(3, 10))
    said = words.strangers_sentence(found)
    assert "300 would be accepted, the mean of 3 sets" in said
    assert "fewest from a (100), most from b (500)" in said
    said = words.strangers_sentence(effect_of((951, 1000), a=(0, 10), b=(0, 20)))
    assert said == "Of 1,000 unfamiliar images, 0 would be accepted, the same from each of 2 sets."


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0, "0"),
        (0.0001, "fewer than 1"),
        (1 / 2000, "fewer than 1"),
        (1999 / 2000, "more than 999"),
        (0.9999, "more than 999"),
        (1, "1,000"),
        (0.5, "500"),
    ],
)
def test_a_rare_event_is_not_rounded_away(share, said):
    assert counts.in_1000(share) == said


def test_what_passes_and_what_is_flagged_make_a_thousand():
    """49 of 80 are 612.5 of 1,000, and 31 are 387.5."""
    for n in (80, 160, 2000):
        for k in range(1, n):
            passing, flagged = counts.parted(k / n)
            if passing.isdigit():
                assert int(passing) + int(flagged) == 1000
                assert abs(int(passing) - 1000 * k / n) <= 0.5 + 1e-9
    said = words.familiar_sentence(effect_of((49, 80)))
    assert "612 are accepted" in said
    assert "388 are flagged" in said


def test_an_interval_is_not_rounded_to_none_or_all():
    assert counts.between(0.0, 0.0002) == "0 to fewer than 1"
    assert counts.between(0.0001, 0.002) == "0 to 2"
    assert counts.between(0.9998, 0.9999) == "more than 999 to 1,000"
    assert counts.between(0.928, 0.968) == "928 to 968"


KEEP_90 = KeepId(share=0.9)


def basis(run: Run, known: tuple[int, int], detector="msp", rule=KEEP_90) -> str:
    made = Decision(detector=detector, rule=rule, value=0.0)
    return words.basis_sentence(run, made, effect_of(known, a=(1, 2)))


def test_what_was_promised_stands_beside_what_was_shown(home):
    run = stored_run(home)
    said = basis(run, (903, 1000))
    assert "The 50 calibration images" in said
    assert "at least 900 of 1,000" in said  # nothing of MSP is learned: exact
    assert "showed 903: the promise holds" in said
    assert "showed 700, fewer than that" in basis(run, (700, 1000))
    assert "Either this is chance" in basis(run, (700, 1000))
    assert "more than that" in basis(run, (1000, 1000))
    assert "same unfamiliar images" in basis(run, (900, 1000), rule=Youden())
    assert "by hand" in basis(run, (900, 1000), rule=Typed(value=1.0))


def test_a_detector_that_learns_promises_less_and_one_without_held_out_scores_nothing(home):
    run = stored_run(home, detectors={"msp": 1.0, "knn": 1.0, "of-later": 1.0})
    for name in ("knn", "of-later"):
        assert "on average about 900 of 1,000" in basis(run, (903, 1000), name)
    few = stored_run(home, "few", detectors={"msp": 1.0, "knn": 1.0}, in_sample=["knn"])
    said = basis(few, (400, 1000), "knn")
    assert "nothing is promised" in said
    assert "differ from" not in said
    assert "at least 900" in basis(few, (903, 1000))


def test_the_band_and_the_verdict_never_contradict_each_other_when_rounded(home):
    """A share just under the band that is said with the same number does not break the promise."""
    run = stored_run(home)
    low = promise(50, 0.9, 100_000).low
    passed = round(low * 100_000) - 1
    said = basis(run, (passed, 100_000))
    assert f"may show {round(1000 * low)} to" in said
    assert f"showed {round(1000 * low)}: the promise holds" in said


def test_too_few_calibration_pictures_are_told():
    warned = words.shortage(KeepId(share=0.999), 200)
    assert warned is not None
    assert "999 calibration images" in warned
    assert "has 200" in warned
    assert words.shortage(KeepId(share=0.95), 19) is None
    assert words.shortage(KeepId(share=0.95), 18) is not None
    assert words.shortage(Youden(), 1) is None
