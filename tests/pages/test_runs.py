"""The page Runs: the queue, the history, and runs side by side."""

import json
import shutil
from pathlib import Path

import pytest
from filled_workspace import set_state
from opened_page import opened, words
from stored_run import write_run
from streamlit.testing.v1 import AppTest

from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec
from gsc_core.errors.questions import Answer, Question, Setting
from gsc_core.evaluation.metrics import metrics
from gsc_core.jobs import queue
from gsc_core.jobs.database import Job, Kind, State
from gsc_core.run.layout import METRICS_FILE
from gsc_core.run.stored import Run
from gsc_core.sentences.run import answer
from gsc_core.workspace.audits import AuditOrder, submit_audit

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("written") / "run")


def job(run_id: str, state: State = State.QUEUED, title: str = "", **fields) -> Job:
    asked = queue.submit(Kind.AUDIT, title or f"audit {run_id}", run_id, {"spec": {}})
    set_state(asked, state, **fields)
    return asked


def finished(home: Path, written: Path, run_id: str, title: str = "") -> Path:
    shutil.copytree(written, home / run_id)
    job(run_id, State.DONE, title)
    return home / run_id


def headings(app: AppTest) -> list[str]:
    return [each.value for each in app.header]


def links(app: AppTest) -> list[str]:
    return [link.proto.label for link in app.get("page_link")]


def buttons(app: AppTest) -> set[str]:
    return {button.key for button in app.button}


def test_an_empty_workspace_says_what_to_do(home):
    app = opened("runs")
    assert not app.exception
    assert "No audit has run yet" in words(app)
    assert links(app) == ["New audit", "Home, with the demo"]


def test_while_the_first_audit_is_at_work_results_leads_to_it(home):
    queue.submit(Kind.AUDIT, "one", "one", {})
    app = opened("results")
    assert not app.exception
    assert "No audit has finished yet" in words(app)
    assert links(app) == ["Runs"]


def test_an_audit_without_result_says_on_each_of_its_pages_how_it_stands(home):
    job("mine", State.FAILED, error="The disk is full")
    app = opened("results", run="mine")
    assert not app.exception
    assert [error.value for error in app.error] == ["The disk is full"]
    assert "This audit has no result yet" in words(app)
    assert "run_retry_mine" in buttons(app)
    assert "There is no result for the run" in words(opened("images", run="another"))


def test_an_empty_page_says_what_it_will_show(home):
    assert "Thresholds will show what a lower or higher threshold would" in words(
        opened("thresholds")
    )


def test_a_finished_run_says_its_answer_and_leads_on(home, written):
    folder = finished(home, written, "one")
    app = opened("runs")
    assert not app.exception
    assert answer(Run.load(folder)) in words(app)
    assert {"Results", "Images", "Thresholds", "Report"} <= set(links(app))
    queries = {link.proto.query_string for link in app.get("page_link")}
    assert "run=one" in queries
    assert headings(app) == ["History"]
    assert "runs_compare" not in {each.key for each in app.multiselect}


def test_a_running_one_comes_before_the_queue_and_can_be_cancelled(home, written):
    finished(home, written, "old")
    job("later", State.QUEUED)
    working = job(
        "now",
        State.RUNNING,
        phase="scoring id",
        done=50,
        total=200,
        images_done=100,
        images_total=400,
        rate=20.0,
    )
    app = opened("runs")
    text = words(app)
    assert headings(app)[:2] == ["In progress", "History"]
    assert text.index("audit now") < text.index("audit later") < text.index("audit old")
    assert "20 images a second" in text
    assert "15 s left" in text
    assert not {
        key for key in buttons(app) if key.startswith("run_delete_yes") and "old" not in key
    }
    app.button(key="run_job_now_cancel").click().run()
    assert queue.get(working.id).cancel


def test_a_failed_run_says_why_and_is_tried_again(home):
    failed = job("bad", State.FAILED, error="The disk is full: free some space.")
    (home / "bad").mkdir(parents=True)
    (home / "bad" / "log.txt").write_text("12:00 scoring id\n12:01 no space left\n")
    app = opened("runs")
    assert len(app.error) == 1
    assert "The disk is full: free some space." in words(app)
    assert "no space left" in app.code[0].value
    app.button(key="run_retry_bad").click().run()
    assert not app.exception
    assert queue.get(failed.id).state is State.QUEUED
    assert headings(app) == ["In progress"]


def test_a_cancelled_run_can_go_on(home):
    stopped = job("half", State.CANCELLED)
    app = opened("runs")
    assert "Finished work is kept" in words(app)
    assert app.button(key="run_retry_half").label == "Resume"
    app.button(key="run_retry_half").click().run()
    assert queue.get(stopped.id).state is State.QUEUED


def test_a_run_whose_folder_is_gone_is_no_crash(home):
    job("gone", State.DONE)
    app = opened("runs")
    assert not app.exception
    assert "The folder of this run is gone" in words(app)
    assert "Results" not in links(app)
    app.button(key="run_delete_yes_gone").click().run()
    assert "No audit has run yet" in words(app)


def test_a_damaged_result_is_named_and_the_others_shown(home, written):
    finished(home, written, "good")
    (finished(home, written, "bad") / METRICS_FILE).write_text("{")
    app = opened("runs")
    assert not app.exception
    assert "damaged" in words(app)
    assert "unfamiliar images would be accepted" in words(app)


def test_delete_asks_first_and_then_forgets(home, written):
    finished(home, written, "one")
    finished(home, written, "two")
    app = opened("runs", run="one")
    assert app.button(key="run_delete_yes_one").proto.type == "primary"
    app.button(key="run_delete_yes_one").click().run()
    assert not app.exception
    assert not (home / "one").exists()
    assert (home / "two").exists()
    assert "run" not in app.query_params
    assert "audit one" not in words(app)


def test_work_that_came_meanwhile_keeps_a_run_from_deletion(home, written):
    finished(home, written, "one")
    app = opened("runs")
    queue.submit(Kind.EXPLAIN, "row 3", "one", {})
    app.button(key="run_delete_yes_one").click().run()
    assert not app.exception
    assert "is not finished: cancel it" in words(app)
    assert (home / "one").exists()


def test_the_address_puts_a_run_on_top(home, written):
    for name in ("one", "two", "three"):
        finished(home, written, name)
    app = opened("runs", run="one")
    text = words(app)
    assert headings(app)[0] == "Others"
    assert text.index("audit one") < text.index("audit three") < text.index("audit two")
    assert text.count("audit one") == 1


@pytest.mark.parametrize("run_id", ["nobody", "../..", "**x**", "a" * 5000])
def test_an_unknown_run_is_said_to_be_unknown(home, written, run_id):
    finished(home, written, "one")
    app = opened("runs", run=run_id)
    assert not app.exception
    assert "There is no run" in words(app)
    assert "audit one" in words(app)


def test_many_runs_come_in_pages(home):
    for n in range(30):
        job(f"run-{n:02}", State.CANCELLED)
    app = opened("runs")
    assert len([key for key in buttons(app) if key.startswith("run_retry_")]) == 12
    assert "run_retry_run-29" in buttons(app)
    last = opened("runs", runs_page="3")
    assert len([key for key in buttons(last) if key.startswith("run_retry_")]) == 6
    assert "run_retry_run-00" in buttons(last)


def test_hostile_titles_stay_text(home, written):
    title = "![x](http://evil) :material/home: $x$ **b** <i>"
    finished(home, written, "one", title)
    app = opened("runs")
    assert not app.exception
    assert title in words(app)
    raw = next(each.value for each in app.markdown if "evil" in each.value)
    assert "](http" not in raw
    assert ":material/home:" not in raw


# --- side by side ------------------------------------------------------------------------------


def test_two_runs_are_compared_in_figures_that_the_files_bear_out(home, written):
    finished(home, written, "one", "same title")
    finished(home, written, "two", "same title")
    app = opened("runs")
    assert app.multiselect(key="runs_compare").options == ["same title (two)", "same title (one)"]
    assert not app.get("plotly_chart")
    app.multiselect(key="runs_compare").set_value(["one", "two"]).run()
    assert not app.exception
    overview, table = (each.value for each in app.dataframe)
    assert list(overview.index) == ["same title (one)", "same title (two)"]
    assert overview["Detector"].tolist() == ["gsc"] * 2
    assert overview["ID accuracy"].tolist() == ["95.3 %"] * 2
    rows = json.loads((home / "one" / METRICS_FILE).read_text())["results"]
    for row in rows:
        ood_set = "mean of the sets" if row["ood_set"] == "mean" else row["ood_set"]
        shown = table.loc[f"{row['detector']}, {ood_set}"]
        assert shown.tolist() == pytest.approx([100 * row["fpr95"]] * 2)
    (chart,) = app.get("plotly_chart")
    figure = json.loads(chart.proto.spec)
    assert len(figure["data"]) >= 2
    assert len(chart.proto.spec) < 200_000


def test_the_overlaid_curves_are_of_the_pair_that_is_chosen(home, written):
    finished(home, written, "one")
    other = home / "two"
    write_run(other, seed=1)
    job("two", State.DONE)
    app = opened("runs", runs_compare=["audit one", "audit two"])
    pairs = app.selectbox(key="runs_compare_pair").options
    assert "mean" not in " ".join(pairs)
    app.selectbox(key="runs_compare_pair").select("gsc, noise").run()
    assert not app.exception
    figure = json.loads(app.get("plotly_chart")[0].proto.spec)
    assert {"audit one", "audit two"} <= {trace.get("name") for trace in figure["data"]}
    scores = Run.load(other).scores("gsc")
    assert metrics(scores["id"], scores["noise"]).auroc > 0.5


def test_runs_without_anything_in_common_are_told_so(home, written):
    finished(home, written, "one")
    write_run(home / "two", sets={"fog": 1.0}, detectors={"knn": 1.0})
    app = opened("runs", runs_compare=["audit one", "two"])
    assert not app.exception
    assert "share no detector" in words(app)


def test_a_damaged_run_is_not_compared(home, written):
    finished(home, written, "one")
    (finished(home, written, "two") / METRICS_FILE).write_text("{")
    app = opened("runs", runs_compare=["audit one", "audit two"])
    assert not app.exception
    assert "damaged" in words(app)


def test_a_failed_audit_leads_to_the_form(home):
    job("a", State.FAILED, error="There is no layer x: choose another.")
    app = opened("runs")
    assert not app.exception
    assert "Choose again" in links(app)


def test_an_audit_that_asks_is_answered_by_a_button(home, tmp_path):
    """It goes on as it was asked for, with the answer; nothing about it has failed."""
    spec = AuditSpec(
        model=ModelSpec(checkpoint=tmp_path / "m.pt2"),
        id=tmp_path / "id",
        ood={"x": tmp_path / "x"},
        detectors=(DetectorSpec(name="energy"),),
    )
    question = Question(
        doubt="The labels fit better as text",
        answers=(Answer.of(Setting.LABEL_ORDER, "text"), Answer.of(Setting.LABEL_ORDER, "names")),
    )
    run_id = submit_audit(spec, "mine", 10)
    asked = queue.claim(Kind.AUDIT.lane, 1)
    assert asked is not None
    queue.end(asked.id, State.FAILED, str(question), question)
    app = opened("runs")
    assert not app.exception
    assert "Needs an answer" in words(app)
    assert "Failed" not in words(app)
    assert not app.error
    assert "press “Label order text" in words(app)
    assert "--" not in words(app)
    order = [button.key for button in app.button]
    assert order.index(f"run_{run_id}_answer_0") < order.index(f"run_retry_{run_id}")
    app.button(key=f"run_{run_id}_answer_0").click().run()
    assert not app.exception
    again = queue.get(asked.id)
    assert again is not None
    assert (again.state, again.error, again.question) == (State.QUEUED, None, None)
    assert AuditOrder.of(again).spec == spec.model_copy(update={"label_order": "text"})
    home_page = opened("home")
    assert "Needs an answer" not in words(home_page)
