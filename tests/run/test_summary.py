"""What a large audit stores of all scores: the same as what pages would count."""

import json

import pytest
from stored_run import SETS, write_run

from gsc_core.run import picking, summarise, winners
from gsc_core.run.layout import SCORES_FILE, SUMMARY_FILE
from gsc_core.run.stored import Revision, Run
from gsc_core.run.summary import Summary


@pytest.fixture
def run(tmp_path) -> Run:
    return Run.load(write_run(tmp_path / "run", detectors={"one": 1.2, "two": 1.1, "far": 0.1}))


def test_pages_show_what_was_stored_and_it_is_what_they_would_count(run, tmp_path):
    counted = picking.candidates(run), winners.winners(run, "fpr95")
    summarise.summarised(run).write(run)
    again = write_run(tmp_path / "other", detectors={"one": 1.2, "two": 1.1, "far": 0.1})
    (again / SUMMARY_FILE).write_bytes((run.path / SUMMARY_FILE).read_bytes())
    stored = Run.load(again)
    assert Summary.of(stored) is not None
    assert (picking.candidates(stored), winners.winners(stored, "fpr95")) == counted
    assert [winner.ood_set for winner in counted[1]] == ["mean", *SETS]


def test_it_is_read_and_not_counted(run):
    small = summarise.summarised(run)
    small.model_copy(update={"level": {"fpr95": {"mean": ("marked",)}}}).write(run)
    winners._tied.cache_clear()
    assert winners.winners(run, "fpr95")[0].level == ("marked",)


def test_of_other_scores_marked_images_or_a_damaged_file_nothing_is_taken(run):
    whole = summarise.summarised(run)
    for damaged in (whole.model_copy(update={"scores_bytes": 1}).model_dump_json(), "{", "[]"):
        (run.path / SUMMARY_FILE).write_text(damaged)
        assert Summary.of(run) is None
    whole.write(run)
    assert Summary.of(run) == whole
    assert Summary.of(Run(run.path, run.document, Revision(frozenset({0})))) is None
    assert json.loads((run.path / SUMMARY_FILE).read_text())["scores_bytes"] == (
        (run.path / SCORES_FILE).stat().st_size
    )
