"""A report of a run with marked images: both figures, and the list."""

import json

import jsonschema
import pytest
from places import ROOT
from stored_run import write_run

from gsc_core.report import report_of, to_html
from gsc_core.report.schema import read_report, report_json
from gsc_core.run import decisions, marks
from gsc_core.run.marks import Doubt, marked
from gsc_core.run.stored import Run

SIGNS, FAMILIAR = 250, 60
EVIL = "</td><img src=x onerror=alert(1)> \u202ecba"


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    return Run.load(
        write_run(
            tmp_path / "runs" / "demo",
            sets={"signs": 0.9, "noise": 4.0},
            detectors={"gsc": 1.2, "energy": 1.0},
            settings={"repeats": 20, "classes": 12, "class_names": [EVIL] * 12},
        )
    )


def mark(run: Run, rows: list[int], **said: object) -> None:
    made = marked(run, rows, **said)
    marks.store(run, marks.of_rows(run, rows), made)


def report(run: Run, *, images: bool = True):
    return report_of(run, decisions.current(run), images=images)


def test_without_marks_nothing_is_said_of_them(run):
    assert report(run).without_marked is None
    assert "marked" not in to_html(report(run))


def test_both_figures_and_the_list_are_in_page_and_data(run):
    audited = report(run)
    accepted = [r for r in run.rows_of(["signs"]) if run.column("gsc")[r] <= audited.decision.value]
    mark(run, [int(row) for row in accepted[:5]], doubt=Doubt.NOT_UNFAMILIAR, note=EVIL)
    mark(run, [FAMILIAR], label=3)
    made = report(run)
    assert made.decision == audited.decision
    assert made.verdict == audited.verdict
    revised = made.without_marked
    before, after = made.decision.strangers[0], revised.strangers[0]
    assert (after.passed, after.tested) == (before.passed - 5, before.tested - 5)
    assert revised.left_out == 5
    assert revised.corrected == 1
    assert [one.doubt for one in revised.images] == ["not unfamiliar"] * 5 + [None]
    assert any("5 images are left out (5 not unfamiliar)" in limit for limit in made.limits)
    document = json.loads(report_json(made))
    schema = json.loads((ROOT / "docs" / "report.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(document)
    assert read_report(report_json(made)) == made
    page = to_html(made)
    assert "<h2>Without 5 marked images</h2>" in page
    assert all(one.file in page for one in revised.images)
    assert "<img src=x" not in page
    assert "\u202e" not in page


def test_a_confidential_report_names_no_file_and_no_note(run):
    mark(run, [SIGNS], doubt=Doubt.UNUSABLE, note="of plant 7")
    made = report(run, images=False)
    text = to_html(made) + report_json(made)
    assert "signs/00000" not in text
    assert "plant 7" not in text
    assert "Without 1 marked image<" in text


def test_where_nothing_is_left_the_report_says_so_and_is_made(run):
    mark(run, run.rows_of(run.ood_sets).tolist(), doubt=Doubt.NOT_UNFAMILIAR)
    made = report(run)
    assert made.without_marked is None
    assert any("Every unfamiliar image is marked" in limit for limit in made.limits)
