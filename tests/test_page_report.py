"""The report page: preview and downloads."""

import csv
import io
import json
from pathlib import Path

import pytest
from opened_page import opened, words
from stored_run import write_run

from gsc_core.evaluation.thresholds import KeepId
from gsc_core.workspace import decisions
from gsc_core.workspace.runs import load_run


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    return tmp_path / "runs"


def preview(app) -> str:
    (frame,) = app.get("iframe")
    return frame.proto.srcdoc


def test_it_shows_the_report_and_three_downloads(home):
    write_run(home / "demo")
    app = opened("report", run="demo")
    assert not app.exception
    assert [button.key for button in app.get("download_button")] == [
        "report_html",
        "report_json",
        "report_csv",
    ]
    assert "sandbox=&quot;" not in preview(app)
    assert 'sandbox=""' in preview(app)
    assert "The limits of this audit" in preview(app)
    assert "Nobody has chosen" in words(app)


def test_it_follows_the_decision_and_the_switch(home):
    run = load_run(write_run(home / "demo"))
    first = preview(opened("report", run="demo"))
    decisions.choose("demo", decisions.decide(run, "msp", KeepId(share=0.8)))
    app = opened("report", run="demo")
    assert "With the detector msp" not in first
    assert "With the detector msp" in preview(app)
    assert "msp at" in words(app)
    assert "Pictures that tell most" in preview(app)
    app.toggle(key="report_images").set_value(False).run()
    assert not app.exception
    assert "Pictures were left out" in preview(app)
    assert ".png" not in preview(app)


def test_json_and_csv_are_whole(home):
    """What the two buttons hand out when they are pressed."""
    from pages import report as page  # noqa: PLC0415 - the app's root is on the path by now

    folder = write_run(home / "demo", n=40, m=20)
    app = opened("report", run="demo")
    assert not app.exception
    key = (str(folder), 0, 0)
    document = json.loads(page.as_json(*key, True))
    assert document["format"] == "gsc-audit-report"
    assert document["decision"]["familiar"]["tested"] == 40
    rows = list(csv.reader(io.StringIO(page.as_csv(*key[:2]).decode("utf-8-sig"))))
    assert len(rows) == 1 + 50 + 40 + 3 * 20


@pytest.mark.parametrize("damage", ["scores", "decision", "gone"])
def test_what_is_damaged_is_one_sentence(home, damage):
    folder = write_run(home / "demo")
    if damage == "scores":
        (folder / "scores.parquet").write_bytes(b"PAR1 junk")
    elif damage == "decision":
        (folder / "threshold.json").write_text("{")
    app = opened("report", run="gone" if damage == "gone" else "demo")
    assert not app.exception
    assert len(app.error) == 1
    assert not app.get("download_button")


def test_without_a_run_it_says_what_to_do(home):
    app = opened("report")
    assert not app.exception
    assert "No audit has run yet" in words(app)


def test_hostile_names_stay_in_the_frame(home):
    evil = "</iframe><script>alert(1)</script>"
    write_run(home / "demo", sets={evil: 1.0}, detectors={evil: 1.0})
    app = opened("report", run="demo")
    assert not app.exception
    assert "<script" not in preview(app)
    assert preview(app).count("<iframe") == 1
    assert preview(app).count("</iframe>") == 1
