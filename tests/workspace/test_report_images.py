"""The twelve most telling images: which they are, and the one job that explains them."""

import base64
import io
import json
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from small_run import NAMES, RUN, copy, do, make
from stored_run import write_run

from gsc_core.audit.reopen import reopen
from gsc_core.errors import Cancelled, GscError
from gsc_core.evaluation.thresholds import KeepId
from gsc_core.jobs import queue
from gsc_core.jobs.database import Kind
from gsc_core.progress import Progress
from gsc_core.report import report_of, to_html
from gsc_core.run import decisions, gallery
from gsc_core.run.decisions import Decision
from gsc_core.run.stored import Run
from gsc_core.workspace import explanations, report_images


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stage and a finished run."""
    return make(tmp_path_factory.mktemp("made"))


@pytest.fixture
def run(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run.load(copy(made, tmp_path, monkeypatch))


@pytest.fixture
def decision(run: Run) -> Decision:
    return decisions.decide(run, "gsc", KeepId(share=0.9))


def rows_of(run: Run, decision: Decision) -> list[int]:
    return [row for group in report_images.telling(run, decision) for row in group.rows]


def picture_of(run: Run, row: int) -> Path:
    return gallery.run_images(run, [row])[0].path


def without(run: Run, tmp_path: Path, set_name: str) -> Path:
    """The images of one OOD set, as a copy that may be spoilt."""
    copy = tmp_path / set_name
    shutil.copytree(run.settings.ood[set_name], copy)
    stored = json.loads((run.path / "metrics.json").read_text())
    stored["settings"]["ood"][set_name] = str(copy)
    (run.path / "metrics.json").write_text(json.dumps(stored))
    return copy


@pytest.mark.slow
@pytest.mark.parametrize("detector", NAMES)
def test_which_they_are_by_sorting_the_table(run: Run, detector: str) -> None:
    table = pd.read_parquet(run.path / "scores.parquet").reset_index()
    groups = report_images.telling(run, decisions.decide(run, detector, KeepId(share=0.9)))
    for group, role, rising in zip(groups, ("ood", "id", "ood"), (True, False, False), strict=True):
        ranked = table[table["role"] == role].sort_values(
            detector, ascending=rising, kind="stable", key=None
        )
        assert list(group.rows) == list(ranked["index"][:4])


def test_few_pictures_are_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    folder = write_run(tmp_path / "runs" / "few", n=2, m=1, sets={"x": 1.0})
    few = Run.load(folder)
    groups = report_images.telling(few, decisions.decide(few, "energy", KeepId(share=0.9)))
    assert [len(group.rows) for group in groups] == [1, 2, 1]


@pytest.mark.parametrize(("detector", "explains"), [("energy", "gsc"), ("gsc-drop", "gsc-drop")])
def test_who_explains(run: Run, detector: str, explains: str) -> None:
    asked = decisions.decide(run, detector, KeepId(share=0.9))
    assert report_images.explainer(run, asked) == explains


@pytest.mark.slow
def test_one_job_explains_all(run: Run, decision: Decision) -> None:
    rows = rows_of(run, decision)
    assert len(report_images.missing(run, decision)) == len(set(rows)) == 12
    job = report_images.ask(run, decision)
    assert job is not None and (job.kind, job.subject) == (Kind.REPORT_IMAGES, RUN)
    assert report_images.ask(run, decision) is None, "one is waiting"
    waiting = report_images.asked(run, decision)
    assert waiting is not None and waiting.id == job.id
    do(job)
    assert report_images.missing(run, decision) == ()
    assert report_images.ask(run, decision) is None and report_images.asked(run, decision) is None
    audit = reopen(run.path)
    for row in rows:
        found = report_images.explained(run, row, decision)
        assert found is not None
        assert found.explanation == audit.explain(picture_of(run, row), "gsc")


def test_of_many_who_ask_at_once_one_is_heard(run: Run, decision: Decision) -> None:
    with ThreadPoolExecutor(8) as pool:
        asked = list(pool.map(lambda _: report_images.ask(run, decision), range(8)))
    assert len([job for job in asked if job is not None]) == 1
    assert len(queue.jobs(kinds=(Kind.REPORT_IMAGES,))) == 1


@pytest.mark.slow
def test_what_was_made_before_a_cancel_is_kept(run: Run, decision: Decision) -> None:
    heard: list[Progress] = []

    def stop(progress: Progress) -> None:
        heard.append(progress)
        if progress.done == 5:
            raise Cancelled

    with pytest.raises(Cancelled):
        report_images.explain(run, decision, stop)
    assert [(each.done, each.total) for each in heard] == [(i, 12) for i in range(6)]
    assert list(report_images.missing(run, decision)) == rows_of(run, decision)[5:]
    heard.clear()
    report_images.explain(run, decision, heard.append)
    assert [(each.done, each.total) for each in heard] == [(i, 7) for i in range(8)]
    assert report_images.missing(run, decision) == ()


@pytest.mark.slow
def test_another_audit_in_the_folder_is_explained_anew(run: Run, decision: Decision) -> None:
    report_images.explain(run, decision, lambda _: None)
    os.utime(run.path / "metrics.json", ns=(0, 0))
    again = Run.load(run.path)
    assert len(report_images.missing(again, decision)) == 12
    assert report_images.ask(again, decision) is not None


@pytest.mark.slow
def test_pictures_that_are_gone_are_not_waited_for(
    run: Run, decision: Decision, tmp_path: Path
) -> None:
    copies = without(run, tmp_path, "faint")
    run = Run.load(run.path)
    gone = [row for row in rows_of(run, decision) if picture_of(run, row).is_relative_to(copies)]
    for row in gone:
        picture_of(run, row).unlink()
    assert gone
    assert not set(gone) & set(report_images.missing(run, decision))
    do(report_images.ask(run, decision))
    assert report_images.missing(run, decision) == ()
    note = report_of(run, decision).channels_note
    assert note == f"The short-circuited channels of {len(gone)} of these images were not computed."


@pytest.mark.slow
def test_one_bad_picture_does_not_cost_the_others(
    run: Run, decision: Decision, tmp_path: Path
) -> None:
    copies = without(run, tmp_path, "faint")
    run = Run.load(run.path)
    bad = next(row for row in rows_of(run, decision) if copies in picture_of(run, row).parents)
    picture_of(run, bad).write_text("no image")
    with pytest.raises(GscError, match=re.escape(picture_of(run, bad).name)):
        report_images.explain(run, decision, lambda _: None)
    assert report_images.missing(run, decision) == (bad,)


def test_a_run_of_long_ago_says_why_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept of it but scores and images."""
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    folder = write_run(tmp_path / "runs" / "old", n=20, m=20)
    old = Run.load(folder)
    for row in range(old.members().codes.size):
        path = picture_of(old, row)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
    with pytest.raises(GscError, match="run"):
        report_images.explain(old, decisions.current(old), lambda _: None)


# --- in the report -----------------------------------------------------------------------------


@pytest.mark.slow
def test_the_report_tells_what_was_cut(run: Run, decision: Decision) -> None:
    before = report_of(run, decision)
    assert not [one for group in before.pictures for one in group.pictures if one.explained]
    assert before.channels_note == "The short-circuited channels of these images were not computed."
    report_images.explain(run, decision, lambda _: None)
    after = report_of(run, decision)
    assert after.channels_note is None
    page = to_html(after)
    for row, one in zip(
        rows_of(run, decision), [p for g in after.pictures for p in g.pictures], strict=True
    ):
        found = report_images.explained(run, row, decision)
        assert found is not None and found.explanation is not None and one.explained is not None
        truth = found.explanation
        removed = sorted(
            (each.removed for each in truth.channels if each.removed > 0), reverse=True
        )
        assert [each.removed for each in one.explained.channels] == removed[:3]
        assert one.explained.logit_before == truth.logit_before
        assert one.explained.detector == "gsc"
        for channel in one.explained.channels:
            assert channel.usual is not None and channel.usual[0] <= channel.usual[1]
            assert f"channel {channel.index}" not in page  # a number says nothing to a colleague
        if truth.heat is None:
            assert one.explained.heat is None
            continue
        assert one.explained.heat is not None
        heat = base64.b64decode(one.explained.heat.removeprefix("data:image/jpeg;base64,"))
        assert Image.open(io.BytesIO(heat)).size == (12, 12)
        assert f'src="{one.explained.heat}"' in page
    assert page.count("the answer falls from") == 12


@pytest.mark.slow
def test_confidential_pictures_leave_no_trace(run: Run, decision: Decision) -> None:
    report_images.explain(run, decision, lambda _: None)
    report = report_of(run, decision, images=False)
    written = to_html(report) + report.model_dump_json()
    assert "data:image" not in written
    assert report.channels_note is None
    assert not [name for name in run.files().to_pylist() if name in written]


@pytest.mark.slow
def test_a_network_that_cannot_be_cut_says_so(run: Run, decision: Decision) -> None:
    report_images.explain(run, decision, lambda _: None)
    for path in (run.path / "explanations").glob("*/found.json"):
        found = json.loads(path.read_text())
        path.write_text(
            json.dumps(found | {"explanation": None, "unexplained": "It has no <layer>."})
        )
    report = report_of(run, decision)
    assert report.channels_note == "It has no <layer>."
    assert "It has no &lt;layer&gt;." in to_html(report)
    assert explanations.stored(run, rows_of(run, decision)[0], "gsc") is not None
    assert report_images.missing(run, decision) == (), "asking again would not help"
