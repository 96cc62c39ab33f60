"""One half of the OOD images sets a threshold, and the other tests it."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from decided import stored_run

from gsc_core.errors import GscError
from gsc_core.evaluation.cutpoints import least_cost
from gsc_core.evaluation.thresholds import (
    F1,
    CatchOod,
    Cost,
    KeepId,
    Youden,
    catch_ood,
)
from gsc_core.run import decisions
from gsc_core.run.ood_halves import halves
from gsc_core.run.stored import Run
from gsc_core.sentences import decision as said_of
from gsc_core.sentences import threshold as words


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
