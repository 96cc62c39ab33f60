"""The page Home: the demo a click away, one's own audit in three steps, what ran lately."""

import re
from pathlib import Path

import pytest
from filled_workspace import fill, set_state
from opened_page import opened, words
from stored_run import write_run
from streamlit.testing.v1 import AppTest

from gsc_core.demo import Sizes, render_demo
from gsc_core.detectors.catalogue import CATALOGUE
from gsc_core.jobs import queue
from gsc_core.jobs.database import Kind, State
from gsc_core.run.layout import METRICS_FILE
from gsc_core.run.stored import Run
from gsc_core.sentences.run import answer
from gsc_core.workspace import demo, runs

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def links(app: AppTest) -> list[str]:
    return [re.sub(r"\*\*", "", link.proto.label) for link in app.get("page_link")]


def icons(app: AppTest) -> list[str]:
    return [link.proto.icon for link in app.get("page_link")]


def buttons(app: AppTest) -> dict[str, str]:
    return {button.key: button.label for button in app.button}


def test_a_newcomer_reads_three_sentences_and_finds_the_demo(home):
    app = opened("home")
    assert not app.exception
    assert app.title[0].value.startswith("What does your classifier do")
    lead = next(each.value for each in app.markdown if "unfamiliar" in each.value)
    assert len(re.findall(r"\.(?:\s|$)", lead)) == 3
    ours = {"gsc", "gsc-drop", "gsc-energy", "gsc-auto", "auto-ensemble"}
    others = {detector.name for detector in CATALOGUE} - ours
    assert f"Gradient Short-Circuit (GSC) and {len(others)} established detectors" in lead
    assert buttons(app) == {"home_demo": "Run the demo audit", "home_add": "Add a model"}
    assert app.button(key="home_demo").proto.type == "primary"
    assert [link.split(":")[0] for link in links(app)] == [
        "Glossary",
        "A model",
        "Familiar images",
        "Unfamiliar images",
    ]


def test_one_press_queues_the_demo_and_shows_how_far_it_is(home):
    app = opened("home")
    app.button(key="home_demo").click().run()
    assert not app.exception
    (job,) = queue.jobs()
    assert (job.kind, job.subject) == (Kind.DEMO, runs.DEMO_RUN)
    assert "home_demo" not in buttons(app)
    set_state(job, State.RUNNING, phase="drawing road signs", done=30, total=100)
    assert "home_demo_job_cancel" in buttons(opened("home"))


def test_two_visitors_do_not_start_two_demos(home):
    first, second = opened("home"), opened("home")
    first.button(key="home_demo").click().run()
    second.button(key="home_demo").click().run()
    assert not second.exception
    assert len(queue.jobs()) == 1


def test_a_failed_demo_says_why_and_can_be_run_again(home):
    set_state(demo.submit_demo(), State.FAILED, error="The disk is full: free some space.")
    app = opened("home")
    assert "The disk is full" in words(app)
    app.button(key="home_demo").click().run()
    assert [job.state for job in queue.jobs()] == [State.QUEUED]


def test_a_finished_demo_is_opened(home):
    folder = write_run(home / "runs" / runs.DEMO_RUN)
    app = opened("home")
    assert answer(Run.load(folder)) in words(app).replace("_", "")
    assert buttons(app)["home_demo"] == "Open the demo audit"
    app.button(key="home_demo").click().run()
    assert not app.exception
    assert app.query_params["run"] == runs.DEMO_RUN


def test_a_damaged_demo_is_a_sentence(home):
    folder = write_run(home / "runs" / runs.DEMO_RUN)
    (folder / METRICS_FILE).write_text("{")
    app = opened("home")
    assert not app.exception
    assert "damaged" in words(app)


def test_own_steps_are_ticked_and_lead_to_the_start(home, tmp_path):
    fill(tmp_path / "files")
    app = opened("home")
    assert not app.exception
    assert icons(app).count(":material/check:") == 3
    assert "home_add" not in buttons(app)
    assert [b.key for b in app.button if b.proto.type == "primary"] == ["home_start"]
    app.button(key="home_start").click().run()
    assert not app.exception


def test_what_the_demo_brought_is_not_ones_own(home):
    render_demo(demo.images_folder(), sizes=Sizes(calibration=16, id=16, ood=2))
    demo.register(lambda _: None)
    app = opened("home")
    assert icons(app).count(":material/add:") == 3
    assert buttons(app)["home_add"] == "Add a model"
    assert "Or try it with the model and images of the demo" in links(app)


def test_recent_audits_are_the_last_few_with_state_and_answer(home):
    for n in range(7):
        job = queue.submit(Kind.AUDIT, f"audit {n}", f"run-{n}", {})
        set_state(job, State.FAILED, error=f"Reason {n}.")
    folder = write_run(home / "runs" / "by-hand")
    app = opened("home")
    text = words(app)
    assert answer(Run.load(folder)) in text
    assert [f"audit {n}" in text for n in range(7)] == [False] * 3 + [True] * 4
    assert "Reason 6." in text
    assert "All runs" in links(app)
    assert not {key for key in buttons(app) if "delete" in key or "retry" in key}


def test_a_damaged_index_is_one_sentence(home):
    home.mkdir()
    (home / "workspace.db").write_bytes(b"no database at all" * 100)
    app = opened("home")
    assert not app.exception
    assert "workspace.db is damaged: move it away" in words(app)
