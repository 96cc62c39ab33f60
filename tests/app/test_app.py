"""The web app through Streamlit's own test runner, and once for real on a cold server."""

import importlib
import json
import math
import os
import re
import tomllib

import numpy as np
import pytest
import streamlit as st
from browser import PATIENCE
from opened_page import ROOT, opened, words
from stored_run import DETECTORS, SETS, write_run
from streamlit.testing.v1 import AppTest

from gsc_core.errors import GscError
from gsc_core.jobs.home import home as workspace_home
from gsc_core.run import picking
from gsc_core.run.document import RunDocument
from gsc_core.run.stored import Run
from gsc_core.sentences.detector_names import title_of
from gsc_core.sentences.run import answer, doubt
from gsc_core.workspace.runs import list_runs


@pytest.mark.slow
def test_the_demo_opens_with_an_answer_that_the_files_bear_out(home):
    run = Run.load(write_run(home / "demo"))
    app = opened("results")
    assert not app.exception
    scores = run.scores("gsc")
    limit = np.sort(run.calibration_scores("gsc"))[math.ceil(51 * 0.95) - 1]
    familiar, *unfamiliar = (round(1000 * np.mean(of_set <= limit)) for of_set in scores.values())
    said = re.search(
        r"(\d+) of 1,000 unfamiliar images would be accepted, while (\d+) of 1,000 fam", words(app)
    )
    assert said is not None
    assert int(said[1]) == pytest.approx(np.mean(unfamiliar), abs=1)
    assert int(said[2]) == familiar
    unfamiliar, familiar = (part.proto.body for part in app.get("html"))
    assert f">{said[1]} of 1,000<" in unfamiliar
    assert f">{said[2]} of 1,000<" in familiar
    assert "200 familiar and 360 unfamiliar images" in words(app)
    assert "named before any unfamiliar image was seen" in words(app)


WRONG = "points the wrong way"


def named(run: Run, detector: str, note: str = "") -> str:
    """How the table names a detector."""
    name, title = f"{detector} ({note})" if note else detector, title_of(run, detector)
    return name if title.lower() == detector else f"{name} · {title}"


def on_all_images(app: AppTest) -> AppTest:
    return app.segmented_control(key="results_judged_on").set_value("all").run()


@pytest.mark.slow
def test_the_table_shows_first_the_half_to_choose_by(home):
    run = Run.load(write_run(home / "demo", detectors={"energy": 3.0, "msp": 0.2, "gsc": 0.4}))
    app = opened("results")
    table = app.dataframe[0].value
    assert list(table.index) == [
        named(run, "energy"),
        named(run, "gsc", "default"),
        named(run, "msp"),
    ]
    for one in picking.candidates(run):
        (shown,) = (name for name in table.index if name.split()[0] == one.detector)
        expected = [100 * one.by_set[name]["fpr95"] for name in ("mean", *SETS)]
        assert list(table.loc[shown]) == pytest.approx(expected)
    assert "choose a detector by these figures" in words(app)
    assert "energy does best on these images, but it was picked afterwards" in words(app)
    whole = on_all_images(app)
    assert whole.dataframe[0].value.loc[named(run, "energy"), "mean"] == pytest.approx(
        100 * run.row("energy").value("fpr95")
    )
    assert "95 % interval in brackets" in words(whole)


@pytest.mark.slow
def test_sets_too_small_for_halves_are_shown_whole(home):
    write_run(home / "demo", m=3)
    app = opened("results")
    assert not app.exception
    assert "too few images of its own (3)" in words(app)
    assert len(app.dataframe[0].value) == len(DETECTORS)


@pytest.mark.slow
def test_the_table_holds_every_detector_and_set_as_numbers_to_sort(home):
    folder = write_run(home / "demo")
    app = on_all_images(opened("results"))
    table, excused = app.dataframe[0].value, app.dataframe[1].value
    assert list(table.columns) == ["mean", *SETS]
    run = Run.load(folder)
    notes = {"gsc": "default", "gsc-drop": WRONG}
    assert {*table.index} == {named(run, name, notes.get(name, "")) for name in DETECTORS}
    assert list(table["mean"]) == sorted(table["mean"])
    rows = json.loads((folder / "metrics.json").read_text())["results"]
    for row in rows:
        if row["detector"] == "energy":
            assert table.loc[named(run, "energy"), row["ood_set"]] == pytest.approx(
                100 * row["fpr95"]
            )
    assert excused.loc["she", "Why"].startswith("It needs 10 images")

    app.selectbox(key="results_metric").select("auroc").run()
    table = app.dataframe[0].value
    assert list(table["mean"]) == sorted(table["mean"], reverse=True)
    assert "Higher is better" in words(app)


@pytest.mark.slow
def test_a_detector_is_drawn_and_a_backwards_one_says_so(home):
    write_run(home / "demo")
    app = opened("results")
    assert [chart.proto.id for chart in app.get("plotly_chart")] != []
    before = [chart.proto.spec for chart in app.get("plotly_chart")]
    assert len(before) == 5  # the decision's, the two of a detector, the two of the confidence
    app.selectbox(key="results_detector").select("gsc-drop").run()
    assert not app.exception
    assert "wrong way" in app.warning[0].value
    other = [chart.proto.spec for chart in app.get("plotly_chart")]
    assert before[0] == other[0]
    assert before[1] != other[1]
    app.toggle(key="results_log").set_value(True).run()
    drawn = json.loads(app.get("plotly_chart")[2].proto.spec)
    assert drawn["layout"]["xaxis"]["type"] == "log"


@pytest.mark.slow
def test_the_address_and_the_list_choose_a_run(home):
    write_run(home / "demo")
    write_run(home / "other", detectors={"only": 1.0})
    app = opened("results", run="other")
    assert "decides: only at" in words(app)
    app.selectbox(key="results_run").select("demo").run()
    assert app.query_params["run"] == "demo"
    assert "decides: only at" not in words(app)


@pytest.mark.slow
def test_a_replaced_run_is_read_anew(home):
    folder = write_run(home / "demo", detectors={"first": 1.0})
    assert "decides: first at" in words(opened("results"))
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    write_run(folder, detectors={"second": 1.0})
    assert "decides: second at" in words(opened("results"))


def test_without_a_run_it_says_what_to_type(home):
    app = opened("results")
    assert not app.exception
    assert "No audit has run yet" in words(app)


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        lambda text: None,
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: '{"results": []}',
        lambda text: text.replace('"auroc_low"', '"auroc_lo"', 1),
        lambda text: re.sub(r'"fpr95": [\d.]+', '"fpr95": 31.0', text, count=1),
        lambda text: re.sub(r'"fpr95": [\d.]+', '"fpr95": NaN', text, count=1),
        lambda text: text.replace('"mean"', '"average"'),
        lambda text: "\ud800",
    ],
    ids=["missing", "cut", "list", "empty", "no bound", "percent", "nan", "no mean", "not utf-8"],
)
def test_a_damaged_result_is_one_sentence(home, damage):
    folder = write_run(home / "demo", sets={"x": 1.0})
    file = folder / "metrics.json"
    text = damage(file.read_text())
    file.unlink()
    if text is not None:
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
    app = opened("results", run="demo")
    assert not app.exception
    assert len(app.error) == 1
    assert "run" in app.error[0].value
    assert "Traceback" not in words(app)


@pytest.mark.slow
@pytest.mark.parametrize("junk", [None, b"", b"PAR1 junk"])
def test_damaged_scores_leave_the_table(home, junk):
    folder = write_run(home / "demo")
    (folder / "scores.parquet").unlink()
    if junk is not None:
        (folder / "scores.parquet").write_bytes(junk)
    app = opened("results")
    assert not app.exception
    assert len(app.dataframe[0].value) == len(DETECTORS)
    assert "scores.parquet" in words(app)
    assert not app.get("plotly_chart")


@pytest.mark.slow
def test_hostile_names_stay_text(home):
    evil = "<img src=x onerror=alert(1)> **b** [x](http://e.example) `c` $x$ :red[r]\n# h"
    write_run(
        home / "demo", sets={evil: 0.5, "__b__": 3.0}, detectors={evil: 1.0}, excused={evil: evil}
    )
    app = opened("results")
    assert not app.exception
    for part in [*app.title, *app.markdown, *app.error, *app.warning]:
        assert not getattr(part.proto, "allow_html", False)
        text = re.sub(r"\\[^\w\s]", "", part.value.replace("**Left out**", ""))
        text = re.sub(r"^\*\*(.*)\*\*$", r"\1", text)  # the run's title, in bold
        assert not re.search(r"[<>*_`$#\[\]()]", text), part.value
        assert "\n" not in part.value
    assert app.dataframe[0].value.columns[1] == evil


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked", ["../demo", "..", "/etc", "demo/../demo", "a\\b", "x" * 200, "d\n"]
)
def test_an_address_cannot_leave_the_workspace(home, asked):
    write_run(home / "demo")
    app = opened("results", run=asked)
    assert not app.exception
    assert "choose one" in words(app)
    assert "best detector" not in words(app)


def test_an_unknown_run_is_one_sentence(home):
    assert "no result for the run" in words(opened("results", run="gone"))


def test_scores_are_the_images_of_each_set_without_calibration(home):
    run = Run.load(write_run(home / "demo", n=70, m=30))
    scores = run.scores("energy")
    assert {name: len(values) for name, values in scores.items()} == {"id": 70} | dict.fromkeys(
        SETS, 30
    )
    with pytest.raises(GscError, match="damaged"):
        run.scores("never-ran")


def test_runs_are_listed_newest_first_and_unfinished_ones_left_out(home):
    assert list_runs() == ()
    for age, name in enumerate(["new", "old"]):
        folder = write_run(home / name, sets={"x": 1.0}, detectors={"a": 1.0}, n=20, m=20)
        os.utime(folder / "metrics.json", (1e9 - age, 1e9 - age))
    (home / "running").mkdir()
    assert list_runs() == ("new", "old")
    assert workspace_home() == home.parent


def test_sentences_do_not_round_a_risk_away(home):
    run = Run.load(write_run(home / "demo", sets={"x": 9.0}, detectors={"a": 1.0}, m=3000))
    scores = run.scores("a")["x"]
    low = np.sort(scores)[0]
    named = {"detector": "a", "rule": {"name": "typed", "value": float(low)}, "value": float(low)}
    run = Run(run.path, RunDocument.model_validate(run.document.model_dump() | {"decision": named}))
    assert answer(run).startswith("Fewer than 1 of 1,000 unfamiliar images")
    assert "one set of unfamiliar images" in doubt(run)


def test_a_backwards_detector_is_never_called_best_while_another_runs(home):
    run = Run.load(write_run(home / "demo", detectors={"bad": 1.5, "good": 0.4}, inverted=["bad"]))
    assert run.best().detector == "good"
    run = Run.load(write_run(home / "all", detectors={"bad": 1.5}, inverted=["bad"]))
    assert "wrong way" in doubt(run)


def test_it_listens_on_this_machine_and_reports_to_nobody():
    config = tomllib.loads((ROOT / ".streamlit/config.toml").read_text())
    assert config["server"]["address"] == "127.0.0.1"
    assert config["browser"]["gatherUsageStats"] is False
    assert config["client"]["showErrorDetails"] == "none"


@pytest.mark.slow
def test_every_page_file_starts_at_the_entry_when_run_by_itself(monkeypatch):
    """What a cold server does when a page's address comes first: the page file is the script."""
    monkeypatch.syspath_prepend(str(ROOT))
    entry = importlib.import_module("app")
    monkeypatch.setattr(entry, "main", lambda: st.title("the entry"))
    pages = list((ROOT / "pages").glob("*.py"))
    assert pages
    for page in pages:
        app = AppTest.from_file(str(page), default_timeout=PATIENCE).run()
        assert not app.exception
        assert [part.value for part in app.title] == ["the entry"], page.name


def test_links_and_icons_that_are_found_after_escapes_are_broken_up(monkeypatch):
    """Streamlit turns these into links and emoji in the text that is left once escapes are read."""
    monkeypatch.syspath_prepend(str(ROOT))
    plain = importlib.import_module("pages.parts.shared.text").plain
    read = re.sub(
        r"\\([^\w\s])", r"\1", plain("www.e.example http://e.example me@e.example :smile: a->b")
    )
    assert not re.search(r"www\.|https?:|\w@|:\w+:|->", read)
    assert read.replace("\u2060", "") == "www.e.example http://e.example me@e.example :smile: a->b"
    assert plain("95 % of 1 a%") == "95\xa0\\% of 1 a\\%"  # no line ends between them
