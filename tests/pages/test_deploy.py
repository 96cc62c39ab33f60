"""The Deploy page: what goes into a detector, how far its making is, and what was made."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser import at_rest, served
from opened_page import opened, words
from playwright.sync_api import Browser
from small_audit import PREPROCESS, write_stage
from stored_run import write_run
from streamlit.testing.v1 import AppTest

from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.errors import GscError
from gsc_core.evaluation.thresholds import Cost, KeepId, Typed
from gsc_core.jobs import queue
from gsc_core.jobs.database import Kind, Lane, State
from gsc_core.run import decisions
from gsc_core.run.stored import Run
from gsc_core.sentences.threshold import familiar_sentence, strangers_sentence
from gsc_core.workspace import exports, runs
from gsc_core.workspace.tasks import TASKS

pytestmark = pytest.mark.slow

RUN = "small"
HOSTILE = "<img src=x onerror=alert(1)> [x](http://e.org) `c` :red[r]"


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a real small audit, whose best detector was exported as it stands.

    One of its sets has a hostile name.
    """
    stage = write_stage(tmp_path_factory.mktemp("stage"))
    home = tmp_path_factory.mktemp("audited") / "home"
    spec = AuditSpec(
        model=ModelSpec(
            checkpoint=stage / "small.pt2", preprocessing=Preprocessing.parse(PREPROCESS)
        ),
        id=stage / "id",
        calibration=stage / "calibration",
        ood={"noise": stage / "noise", HOSTILE: stage / "faint"},
        detectors=({"name": "energy"}, {"name": "gsc"}),
        repeats=10,
    )
    run_audit(spec, home / "runs" / RUN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GSC_HOME", str(home))
        run = Run.load(runs.run_folder(RUN))
        job = exports.submit_export(RUN, decisions.default(run))
        exports.perform(job, lambda _: None)
    (home / "workspace.db").unlink()
    return home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def made(home: Path, audited: Path) -> exports.StoredExport:
    """The one that was made."""
    shutil.copytree(audited, home)
    (stored,) = exports.exports(Run.load(runs.run_folder(RUN)))
    return stored


@pytest.fixture
def run(home: Path, made: exports.StoredExport) -> Run:
    """The run before anything was made of it."""
    shutil.rmtree(made.folder)
    return Run.load(runs.run_folder(RUN))


def page() -> AppTest:
    app = opened("deploy", run=RUN)
    assert not app.exception
    return app


def pressed(app: AppTest, key: str) -> AppTest:
    app.button(key=key).click().run()
    assert not app.exception
    return app


def work(app: AppTest) -> AppTest:
    """Do what the worker of the lane would, and show the page again."""
    while job := queue.claim(Lane.EXPLAIN, os.getpid()):
        try:
            TASKS[job.kind](job, lambda _: None)
            queue.end(job.id, State.DONE, None)
        except GscError as error:
            queue.end(job.id, State.FAILED, str(error))
    app.run()
    assert not app.exception
    return app


def keys(app: AppTest, kind: str = "button") -> list[str]:
    return [str(each.key) for each in app.get(kind)]


def order_of(run_id: str = RUN) -> exports.Order:
    (job,) = exports.at_work(run_id)
    return exports.Order.model_validate(job.payload)


# --- before ------------------------------------------------------------------------------------


def test_without_a_run_it_says_what_to_do(home: Path) -> None:
    app = opened("deploy")
    assert not app.exception
    assert "No audit has run yet" in words(app)


def test_it_starts_at_the_runs_own_decision_and_says_what_that_does(run: Run) -> None:
    app = page()
    decision = decisions.default(run)
    assert app.selectbox(key="deploy_detector").value == decision.detector
    found = decisions.effect_of(run, decision)
    said = words(app)
    assert familiar_sentence(found) in said
    assert strangers_sentence(found) in said
    assert "Its alarm: accept 95 % of familiar images." in said
    command, watch = (each.value for each in app.code)
    assert command.startswith(f"gsc export {RUN} --detector {decision.detector} ")
    assert "gsc watch --detector detector.pt2" in watch
    assert "Made so far" not in said

    stored = decisions.store(run, decisions.decide(run, "gsc", KeepId(share=0.8)))
    app = page()
    assert app.selectbox(key="deploy_detector").value == "gsc"
    assert (
        f"accept 80 % of familiar images. It flags images that score above {stored.value:.4g}"
        in (words(app).replace("**", ""))
    )


def test_another_detector_borrows_the_rule_and_says_so(run: Run) -> None:
    decisions.store(run, decisions.decide(run, "gsc", KeepId(share=0.8)))
    app = page()
    app.selectbox(key="deploy_detector").select("energy").run()
    assert "The run's threshold is for gsc: this is the same rule for energy." in words(app)
    pressed(app, "deploy_start")
    assert order_of().decision == decisions.decide(run, "energy", KeepId(share=0.8))


def test_a_value_by_hand_goes_with_its_own_detector_alone(run: Run) -> None:
    by_hand = decisions.store(run, decisions.decide(run, "gsc", Typed(value=0.25)))
    app = page()
    app.selectbox(key="deploy_detector").select("energy").run()
    assert "was set by hand for gsc" in words(app)
    app.selectbox(key="deploy_detector").select("gsc").run()
    assert "by hand for" not in words(app)
    pressed(app, "deploy_start")
    assert order_of().decision == by_hand


def test_the_address_names_the_detector_and_another_run_starts_anew(run: Run, home: Path) -> None:
    worst = run.ranked()[-1]
    app = opened("deploy", run=RUN, deploy_detector=worst)
    assert app.selectbox(key="deploy_detector").value == worst
    app = opened("deploy", run=RUN, deploy_detector="nosuch")
    assert not app.exception
    assert app.selectbox(key="deploy_detector").value == decisions.default_detector(run)

    other = Run.load(write_run(home / "runs" / "other"))
    app = opened("deploy", run=RUN, deploy_detector="gsc")
    app.query_params["run"] = "other"
    app.run()
    assert not app.exception
    assert app.selectbox(key="deploy_detector").value == decisions.default_detector(other)


@pytest.mark.parametrize("missing", ["spec.json", "calibration.safetensors"])
def test_a_run_that_cannot_be_opened_again_says_so_and_offers_no_button(
    run: Run, missing: str
) -> None:
    (run.path / missing).unlink()
    app = page()
    assert exports.obstacle(run) in words(app)
    assert app.button(key="deploy_start").disabled


def test_too_few_calibration_pictures_make_no_detector(run: Run) -> None:
    table = pd.read_parquet(run.path / "scores.parquet")
    few = pd.concat(
        [table[table["role"] == "calibration"][:10], table[table["role"] != "calibration"]]
    )
    few.to_parquet(run.path / "scores.parquet", index=False)
    metrics = run.path / "metrics.json"
    document = json.loads(metrics.read_text()) | {"decision": None}  # of these scores, then
    metrics.write_text(json.dumps(document))
    app = page()
    assert "takes 19 calibration images, and this run has 10" in words(app)
    assert app.button(key="deploy_start").disabled


def test_a_threshold_that_flags_all_or_nothing_makes_no_detector(run: Run) -> None:
    """The costs that the run is judged by, for a detector that tells nobody apart: flag all."""
    table = pd.read_parquet(run.path / "scores.parquet")
    table["energy"] = np.float32(1)
    table.to_parquet(run.path / "scores.parquet", index=False)
    run = Run.load(run.path)
    rule = Cost(miss=1.2, alarm=1, prevalence=0.5)
    decisions.store(run, decisions.decide(run, "gsc", rule))
    assert decisions.decide(run, "energy", rule).value == -float("inf")
    app = page()
    assert not app.button(key="deploy_start").disabled
    app.selectbox(key="deploy_detector").select("energy").run()
    assert "would flag every image" in words(app)
    assert "score above" not in words(app)
    assert app.button(key="deploy_start").disabled


# --- at work -----------------------------------------------------------------------------------


def test_asked_for_it_waits_a_refresh_shows_it_and_it_can_be_cancelled(run: Run) -> None:
    pressed(page(), "deploy_start")
    (job,) = exports.at_work(RUN)
    app = page()
    assert f"Detector {decisions.default_detector(run)} of {RUN}" in words(app)
    assert "Starts in a moment" in words(app)
    app = pressed(page(), "deploy_start")
    assert [each.id for each in exports.at_work(RUN)] == [job.id], "pressed twice, asked for once"
    queue.claim(Lane.EXPLAIN, os.getpid())
    queue.report(job.id, queue.Status("opening the model", 0, 1, 0, None))
    assert "Running for" in words(page())
    queue.end(job.id, State.CANCELLED)
    app = page()
    assert "Cancelled" in words(app)
    pressed(app, "deploy_last_retry")
    assert [each.id for each in exports.at_work(RUN)] == [job.id]
    pressed(page(), "deploy_job_0_cancel")
    assert exports.at_work(RUN) == []


def test_failed_it_says_why_in_a_sentence_and_is_tried_again(run: Run, home: Path) -> None:
    app = pressed(page(), "deploy_start")
    spec = run.path / "spec.json"
    whole = spec.read_text()
    other = home / "other.pt2"
    other.write_bytes(b"PK\x03\x04 *no* program")
    told = json.loads(whole)
    told["model"]["checkpoint"] = str(other)
    spec.write_text(json.dumps(told))
    work(app)
    (error,) = app.error
    assert "other.pt2" in words(app) and "*no*" not in error.value
    spec.write_text(whole)
    work(pressed(app, "deploy_last_retry"))
    assert not app.error
    assert "Made so far" in words(app)


def test_no_more_than_a_few_wait(run: Run) -> None:
    for share in (0.5, 0.6, 0.7, 0.8):
        exports.submit_export(RUN, decisions.decide(run, "gsc", KeepId(share=share)))
    app = page()
    assert app.button(key="deploy_start").disabled
    assert "deploy_job_3_cancel" in keys(app)


# --- made --------------------------------------------------------------------------------------


def test_made_it_is_offered_with_its_figures_and_its_example(made: exports.StoredExport) -> None:
    app, card = page(), made.card
    assert keys(app, "download_button") == [f"deploy_{kind}_{made.id}" for kind in ("pt2", "json")]
    said = words(app)
    run = Run.load(runs.run_folder(RUN))
    scores = run.calibration_scores(card.detector)
    flagged = int((scores > decisions.default(run).value).sum())
    assert f"{flagged} of its {len(scores)} calibration images" in said
    assert f"On {card.agreement.pictures} test images its scores match " in said
    assert app.code[1].value == card.example.strip()
    assert "The audit has been repeated" not in said


@pytest.mark.parametrize(
    ("found", "words_of_it"),
    [
        ({"largest_difference": 0.0}, "On 48 test images its scores match the audit's exactly."),
        (
            {"decided_otherwise": 1},
            "to within 0.000002; 1 right at the threshold is decided differently",
        ),
        ({"largest_difference": 1.21e-5}, "its scores match the audit's to within 0.00002."),
        (
            {"against": "reopened audit"},
            "on 48 generated ones its scores match the audit's to within",
        ),
    ],
)
def test_how_equal_it_is_to_the_audit(
    made: exports.StoredExport, found: dict[str, object], words_of_it: str
) -> None:
    path = made.path("detector.json")
    card = json.loads(path.read_text())
    card["agreement"] |= {"pictures": 48, "largest_difference": 2e-6} | found
    path.write_text(json.dumps(card))
    assert words_of_it in words(page())


def test_one_of_an_earlier_audit_says_so(made: exports.StoredExport, home: Path) -> None:
    metrics = home / "runs" / RUN / "metrics.json"
    metrics.write_text(metrics.read_text() + "\n")
    assert "The audit has been repeated since" in words(page())


def test_onnx_is_offered_where_it_was_made(made: exports.StoredExport) -> None:
    made.path("detector.onnx").write_bytes(b"o" * 1_234_567)
    (button,) = (each for each in page().get("download_button") if "onnx" in str(each.key))
    assert button.proto.label == "ONNX (1.2 MB)"


def test_one_is_deleted(made: exports.StoredExport) -> None:
    app = pressed(page(), f"deploy_delete_yes_{made.id}")
    assert not app.error
    assert "Made so far" not in words(app)
    assert not made.folder.exists()


def test_what_cannot_be_deleted_is_a_sentence(
    made: exports.StoredExport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission *denied*")

    monkeypatch.setattr(shutil, "rmtree", refuse)
    app = pressed(page(), f"deploy_delete_yes_{made.id}")
    assert "cannot be deleted (Permission *denied*)" in words(app)


def test_names_of_users_are_shown_as_they_are(run: Run) -> None:
    queue.submit(Kind.AUDIT, HOSTILE, RUN, {})
    app = pressed(page(), "deploy_start")
    assert f"of {HOSTILE}" in words(app)
    assert HOSTILE in words(app), "the set from which most or fewest pass"
    raw = "\n".join(each.value for each in [*app.caption, *app.markdown])
    assert not re.search(r"(?<!\\)(<|\[|\]|`|:red)", raw), "markup that was not escaped"


# --- in a real browser, with a real worker -----------------------------------------------------


def test_a_visitor_makes_one_and_gets_the_files_that_lie_on_the_server(
    browser: Browser, audited: Path, tmp_path: Path
) -> None:
    home = tmp_path / "workspace"
    shutil.copytree(audited, home)
    shutil.rmtree(home / "runs" / RUN / "exports")
    with served(home) as app:
        visitor = browser.new_page()
        visitor.goto(f"{app.address}/deploy?run={RUN}")
        button = visitor.locator(".st-key-deploy_start button").first
        button.click()
        visitor.get_by_text("Made so far").wait_for()
        at_rest(visitor)
        (folder,) = (home / "runs" / RUN / "exports").glob("*")
        for file in ("detector.pt2", "detector.json"):
            kind = file.rpartition(".")[2]
            with visitor.expect_download() as found:
                visitor.locator(f".st-key-deploy_{kind}_{folder.name} button").first.click()
            assert found.value.suggested_filename == file
            assert Path(found.value.path()).read_bytes() == (folder / file).read_bytes()
        visitor.close()
