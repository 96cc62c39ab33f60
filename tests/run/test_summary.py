"""What a large audit stores of all scores: the same as what pages would count."""

import json
import shutil

import pytest
from stored_run import write_run

from gsc_core.errors import Cancelled
from gsc_core.run import picking, score_table, summarise, winners
from gsc_core.run.layout import SCORES_FILE, SUMMARY_FILE
from gsc_core.run.stored import Revision, Run
from gsc_core.run.summary import Summary

DETECTORS = {"one": 1.2, "two": 1.1, "far": 0.1}


@pytest.fixture
def run(tmp_path) -> Run:
    """As an audit has just written it, with no summary yet."""
    return Run.load(write_run(tmp_path / "run", detectors=DETECTORS))


def test_every_answer_is_read_to_the_last_digit_and_no_score_is(run, tmp_path):
    questions = list(summarise.questions_of(run))
    counted = {one.text: one.answered(run) for one in questions}
    assert len(counted) > 10 and len(run.detectors) == 3
    summarise.summarised(run).write(run)
    shutil.copytree(run.path, tmp_path / "copied")
    copied = Run.load(tmp_path / "copied")
    before = score_table.column.cache_info().misses
    for one in questions:
        read = one.of(copied, *one.arguments)
        assert repr(one.of.adapter.dump_python(read)) == repr(counted[one.text]), one.text
    assert score_table.column.cache_info().misses == before
    assert "level" in " ".join(counted) and "candidates" in " ".join(counted)


def test_it_is_read_and_not_counted(run):
    (question, *_) = winners.questions_of(run, "fpr95")
    whole = summarise.summarised(run)
    answers = {**whole.answers, question.text: ["marked"]}
    whole.model_copy(update={"answers": answers}).write(run)
    assert winners.winners(run, "fpr95")[0].level == ("marked",)


def test_a_damaged_answer_is_counted_anew_and_said(run, caplog):
    counted = picking.candidates(run)
    whole = summarise.summarised(run)
    text = picking.candidates.about().text
    whole.model_copy(update={"answers": {**whole.answers, text: [{"detector": 3}]}}).write(run)
    assert picking.candidates(run) == counted
    assert "the answer to candidates [] is damaged" in caplog.text


@pytest.mark.parametrize(
    "damaged", ["{", "[]", '{"format": 1, "candidates": []}', "\udcff", "[" * 9999]
)
def test_a_damaged_file_is_none_and_said(run, damaged, caplog):
    (run.path / SUMMARY_FILE).write_text(damaged, errors="surrogateescape")
    assert Summary.of(run) is None
    assert picking.candidates(run)
    assert "summary.json of run is not used, so pages count anew" in caplog.text


def test_of_other_scores_another_audit_or_marked_images_nothing_is_taken(run, tmp_path, caplog):
    whole = summarise.summarised(run)
    whole.write(run)
    stored = Summary.of(run)
    assert stored is not None and stored.answers.keys() == whole.answers.keys()
    assert Summary.of(Run(run.path, run.document, Revision(frozenset({0})))) is None
    other = write_run(tmp_path / "other", detectors=DETECTORS, seed=1)  # as many bytes, or nearly
    shutil.copy(other / SCORES_FILE, run.path)
    assert Summary.of(run) is None
    assert "it is of other scores" in caplog.text


def test_it_is_plain_json(run):
    summarise.summarised(run).write(run)
    stored = json.loads((run.path / SUMMARY_FILE).read_text())
    named = {one["detector"] for one in stored["answers"]["candidates []"]}
    assert stored["format"] == 2 and named == {*DETECTORS}


def test_it_says_how_far_it_is_and_can_be_stopped(run):
    seen = []
    summarise.summarised(run, lambda *step: seen.append(step))
    count = len({one.text for one in summarise.questions_of(run)})
    assert seen == [("measuring what pages show", at, count) for at in range(count)]

    def stop(_phase: str, done: int, _total: int) -> None:
        if done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        summarise.summarised(run, stop)
