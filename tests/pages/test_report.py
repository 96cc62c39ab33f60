"""The report page: preview and downloads."""

import csv
import io
import json

import pytest
from filled_workspace import set_state, work_off
from opened_page import opened, words
from PIL import Image
from small_audit import write_stage
from small_run import RUN, spec_of
from stored_run import write_run

from gsc_core.audit.run import run_audit
from gsc_core.errors import GscError
from gsc_core.evaluation.thresholds import KeepId
from gsc_core.jobs import queue
from gsc_core.jobs.database import Kind, State
from gsc_core.run import decisions, gallery
from gsc_core.run.stored import Run
from gsc_core.workspace import release_policy, report_images

pytestmark = pytest.mark.slow


def preview(app) -> str:
    (frame,) = app.get("iframe")
    return frame.proto.srcdoc


def test_it_shows_the_report_and_four_downloads(home):
    write_run(home / "demo")
    app = opened("report", run="demo")
    assert not app.exception
    assert [button.key for button in app.get("download_button")] == [
        "report_html",
        "report_pdf",
        "report_json",
        "report_csv",
    ]
    assert "sandbox=&quot;" not in preview(app)
    assert 'sandbox=""' in preview(app)
    assert "The limits of this audit" in preview(app)
    assert "No threshold has been chosen" in words(app)


def test_it_follows_the_decision_and_the_switch(home):
    run = Run.load(write_run(home / "demo"))
    first = preview(opened("report", run="demo"))
    decisions.store(run, decisions.decide(run, "msp", KeepId(share=0.8)))
    app = opened("report", run="demo")
    assert "alarm here is &lt;b&gt;Max softmax (msp)" not in first
    assert "alarm here is &lt;b&gt;Max softmax (msp)" in preview(app)
    assert "msp at" in words(app)
    assert "The most informative images" in preview(app)
    app.toggle(key="report_images").set_value(False).run()
    assert not app.exception
    assert "This report was made without images" in preview(app)
    assert ".png" not in preview(app)


def test_it_follows_the_release_policy(home):
    write_run(home / "demo")
    assert "Within the release limits" not in preview(opened("report", run="demo"))
    release_policy.keep('[[rule]]\nmetric = "strangers_passing"\nat_most = 1.0')
    assert "Within the release limits" in preview(opened("report", run="demo"))
    release_policy.keep('[[rule]]\nmetric = "strangers_passing"\nat_most = 0.0')
    assert "Outside the release limits" in preview(opened("report", run="demo"))
    (home.parent / "policy.toml").write_text("[[rule]")
    app = opened("report", run="demo")
    assert not app.exception
    assert "policy.toml" in app.error[0].value.replace("\\", "").replace("\u2060", "")


@pytest.mark.parametrize("images", [True, False])
def test_what_is_made_when_asked_for_is_whole(home, images):
    """What the buttons hand out when they are pressed."""
    from pages import report as page  # noqa: PLC0415 - the app's root is on the path by now

    folder = write_run(home / "demo", n=40, m=20)
    app = opened("report", run="demo")
    assert not app.exception
    asked = page.Asked(str(folder), 0, 0, 0, 0, 0, 0, images)
    document = json.loads(page.as_json(asked))
    assert document["format"] == "gsc-audit-report"
    assert document["decision"]["familiar"]["tested"] == 40
    assert page.as_pdf(asked).startswith(b"%PDF")
    header, *rows = csv.reader(io.StringIO(page.as_csv(asked).decode("utf-8-sig")))
    assert len(rows) == 50 + 40 + 3 * 20
    assert ("file" in header) == images


def test_the_channels_are_added_by_a_job(tmp_path, monkeypatch):
    """Asked for once, seen again after a refresh, and in the report when it is done."""
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))
    run_audit(spec_of(write_stage(tmp_path / "stage")), tmp_path / "home" / "runs" / RUN)
    app = opened("report", run=RUN)
    assert "For 12 of the most informative" in words(app)
    assert "were not computed" in preview(app)
    app.button(key="report_channels").click().run()
    assert not app.exception
    (job,) = queue.jobs(kinds=(Kind.REPORT_IMAGES,))
    again = opened("report", run=RUN)
    assert "report_channels" not in [button.key for button in again.button]
    assert "report_job_cancel" in [button.key for button in again.button]
    assert "were not computed" in preview(again), "the report is there all the while"
    again.toggle(key="report_images").set_value(False).run()
    assert "report_job_cancel" not in [button.key for button in again.button]
    work_off()
    assert queue.jobs(kinds=(Kind.REPORT_IMAGES,), states=(State.DONE,))[0].id == job.id
    done = opened("report", run=RUN)
    assert not done.exception
    assert preview(done).count("the answer falls from") == 12
    assert not {"report_channels", "report_job_cancel"} & {button.key for button in done.button}


def test_a_job_that_failed_says_why_and_is_tried_again(home):
    """Of an audit of which only scores and images are left."""
    folder = write_run(home / "demo", n=10, m=10, sets={"x": 1.0})
    run = Run.load(folder)
    for picture in gallery.run_images(run, run.rows_of(["id", "x"])):
        picture.path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(picture.path)
    opened("report", run="demo").button(key="report_channels").click().run()
    (job,) = queue.jobs(kinds=(Kind.REPORT_IMAGES,))
    with pytest.raises(GscError) as failed:
        report_images.perform(job, lambda _: None)
    set_state(job, State.FAILED, error=str(failed.value))
    app = opened("report", run="demo")
    assert "run it first" in words(app) or "run the audit" in words(app)
    app.button(key="report_job_retry").click().run()
    assert not app.exception
    assert queue.get(job.id).state is State.QUEUED


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
