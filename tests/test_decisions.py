"""The stored threshold of a run, and the sentences about it."""

import json
import math

import numpy as np
import pytest
from stored_run import write_run

from gsc_core.errors import GscError
from gsc_core.evaluation import counts
from gsc_core.evaluation.thresholds import (
    CatchOod,
    Effect,
    KeepId,
    Passed,
    Typed,
    Youden,
    promise,
)
from gsc_core.workspace import decision_words as words
from gsc_core.workspace import decisions
from gsc_core.workspace.decisions import Decision
from gsc_core.workspace.runs import StoredRun, load_run


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    return tmp_path / "runs"


def stored_run(home, name="demo", **extra) -> StoredRun:
    return load_run(write_run(home / name, **extra))


def test_a_decision_is_found_again_until_it_is_forgotten(home):
    run = stored_run(home)
    assert decisions.chosen("demo") is None
    assert decisions.version("demo") == 0
    made = decisions.decide(run, "energy", CatchOod(share=0.9))
    kept = decisions.choose("demo", made)
    assert kept.chosen is not None
    assert decisions.chosen("demo") == kept == decisions.standing(run) == decisions.current(run)
    assert decisions.version("demo") > 0
    text = json.loads((run.path / "threshold.json").read_text())
    assert (text["detector"], text["rule"]) == ("energy", {"name": "catch_ood", "share": 0.9})
    assert not list(run.path.glob("*.part"))
    decisions.forget("demo")
    decisions.forget("demo")
    assert decisions.chosen("demo") is None


def test_the_default_keeps_95_percent_with_the_best_detector(home):
    run = stored_run(home)
    made = decisions.current(run)
    assert made.detector == run.best().detector
    assert made.chosen is None
    scores = np.sort(run.calibration_scores(made.detector))
    assert made.value == scores[math.ceil(51 * 0.95) - 1]  # 50 calibration images


def test_the_effect_is_counted_on_test_pictures_alone(home):
    run = stored_run(home, n=70, m=30)
    found = decisions.effect_of(run, Decision(detector="energy", rule=Youden(), value=0.5))
    scores = run.scores("energy")
    assert found.known.total == 70
    assert found.known.passed == np.sum(scores["id"] <= 0.5)
    for name, one in found.strangers.items():
        assert (one.passed, one.total) == (np.sum(scores[name] <= 0.5), 30)


def test_a_rule_that_needs_no_strangers_never_sees_them(home):
    run = stored_run(home)
    other = stored_run(home, "other", sets={"elsewhere": -3.0})
    same = run.calibration_scores("energy")
    assert np.array_equal(same, other.calibration_scores("energy"))
    rule = KeepId(share=0.9)
    mine, theirs = (decisions.decide(each, "energy", rule) for each in (run, other))
    assert mine.value == theirs.value


@pytest.mark.parametrize("text", ["", "{", "[]", '{"detector": "energy"}', "\udcff"])
def test_a_damaged_file_is_one_sentence(home, text):
    run = stored_run(home)
    (run.path / "threshold.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(GscError, match=r"damaged: delete threshold\.json"):
        decisions.current(run)


def test_a_decision_about_other_scores_does_not_stand(home):
    run = stored_run(home, provenance={"finished": "2026-01-01"})
    decisions.choose("demo", decisions.decide(run, "energy", KeepId(share=0.8)))
    assert decisions.standing(run) is not None
    metrics = run.path / "metrics.json"
    metrics.write_text(metrics.read_text().replace("2026-01-01", "2026-02-02"))
    again = load_run(run.path)
    assert decisions.standing(again) is None
    assert decisions.current(again) == decisions.default(again)
    decisions.choose("demo", Decision(detector="gone", rule=Youden(), value=1.0))
    assert decisions.standing(run) is None


def test_a_threshold_that_flags_nothing_is_refused(home):
    run = stored_run(home)
    made = decisions.decide(run, "energy", KeepId(share=0.999))
    assert made.value == math.inf
    with pytest.raises(GscError, match="nothing at all"):
        decisions.choose("demo", made)
    assert decisions.chosen("demo") is None


@pytest.mark.parametrize("run_id", ["../demo", "gone"])
def test_there_must_be_a_run(home, run_id):
    home.mkdir(parents=True)
    made = Decision(detector="x", rule=Youden(), value=1.0)
    with pytest.raises(GscError, match="from the list"):
        decisions.choose(run_id, made)
    assert not list(home.rglob("*"))


def effect_of(known: tuple[int, int], **strangers: tuple[int, int]) -> Effect:
    sets = {name: Passed(*counts, 0.1, 0.2) for name, counts in strangers.items()}
    return Effect(0.0, Passed(*known, 0.9, 0.97), sets)


def test_counts_are_said_of_1000():
    found = effect_of((951, 1000), textures=(312, 1000))
    assert words.familiar_sentence(found) == (
        "Of 1,000 familiar pictures 951 pass (95 % interval 900 to 970) and 49 are flagged."
    )
    assert "1,000 strangers from textures 312 would pass" in words.strangers_sentence(found)
    found = effect_of((951, 1000), a=(1, 10), b=(5, 10), c=(3, 10))
    said = words.strangers_sentence(found)
    assert "300 would pass, the mean of 3 sets" in said
    assert "fewest from a (100), most from b (500)" in said
    said = words.strangers_sentence(effect_of((951, 1000), a=(0, 10), b=(0, 20)))
    assert said == "Of 1,000 strangers 0 would pass, the same from each of 2 sets."


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
    assert "612 pass" in said
    assert "388 are flagged" in said


def test_an_interval_is_not_rounded_to_none_or_all():
    assert counts.between(0.0, 0.0002) == "0 to fewer than 1"
    assert counts.between(0.0001, 0.002) == "0 to 2"
    assert counts.between(0.9998, 0.9999) == "more than 999 to 1,000"
    assert counts.between(0.928, 0.968) == "928 to 968"


KEEP_90 = KeepId(share=0.9)


def basis(run: StoredRun, known: tuple[int, int], detector="msp", rule=KEEP_90) -> str:
    made = Decision(detector=detector, rule=rule, value=0.0)
    return words.basis_sentence(run, made, effect_of(known, a=(1, 2)))


def test_what_was_promised_stands_beside_what_was_shown(home):
    run = stored_run(home)
    said = basis(run, (903, 1000))
    assert "The 50 calibration pictures" in said
    assert "at least 900 of 1,000" in said  # nothing of MSP is learned: exact
    assert "showed 903: the promise holds" in said
    assert "showed 700, fewer than that" in basis(run, (700, 1000))
    assert "by chance, or because" in basis(run, (700, 1000))
    assert "more than that" in basis(run, (1000, 1000))
    assert "very strangers" in basis(run, (900, 1000), rule=Youden())
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
    assert f"show {round(1000 * low)} to" in said
    assert f"showed {round(1000 * low)}: the promise holds" in said


def test_too_few_calibration_pictures_are_told():
    warned = words.shortage(KeepId(share=0.999), 200)
    assert warned is not None
    assert "999 calibration pictures" in warned
    assert "has 200" in warned
    assert words.shortage(KeepId(share=0.95), 19) is None
    assert words.shortage(KeepId(share=0.95), 18) is not None
    assert words.shortage(Youden(), 1) is None
