"""The thresholds page: its controls move the counts, and a decision is kept."""

import json
import math
import re

import numpy as np
import pandas as pd
import pytest
import streamlit as st
from opened_page import opened, words
from PIL import Image
from stored_run import write_run
from streamlit.testing.v1 import AppTest

from gsc_core.charts.threshold import figures, marked, refusing
from gsc_core.evaluation.metrics import metrics
from gsc_core.evaluation.selective import selective
from gsc_core.evaluation.thresholds import (
    F1,
    CatchOod,
    Cost,
    KeepId,
    Rule,
    Typed,
    effect,
)
from gsc_core.evaluation.tradeoff import Tradeoff
from gsc_core.run import decisions
from gsc_core.run.decisions import Decision
from gsc_core.run.set_colours import SetColours
from gsc_core.run.stored import Run
from gsc_core.sentences.run import answer
from gsc_core.team import acting
from gsc_core.workspace import runs
from pages.parts.entry import access


def counts(app: AppTest) -> tuple[int, int]:
    """The two large numbers: accepted familiar and unfamiliar images, of 1,000."""
    strange, known = (int(one.value.split()[0].replace(",", "")) for one in app.metric)
    return known, strange


def told(run_id: str, detector: str, rule: Rule) -> tuple[int, int]:
    """The same two numbers by the core, while they are tried."""
    run = Run.load(runs.run_folder(run_id))
    found = decisions.effect_of(run, decisions.decide(run, detector, rule), trial=True)
    return round(1000 * found.id.share), round(1000 * found.ood_share)


def drawn(app: AppTest) -> list[str]:
    return [chart.proto.spec for chart in app.get("plotly_chart")]


@pytest.mark.slow
def test_it_opens_at_the_default_with_true_counts(home):
    run = Run.load(write_run(home / "demo"))
    app = opened("thresholds", run="demo")
    assert not app.exception
    best = decisions.default_detector(run)
    assert app.selectbox(key="threshold_detector").value == best
    assert app.button_group(key="threshold_rule").value == "keep_id"
    scores = run.scores(best)
    threshold = np.sort(run.calibration_scores(best))[math.ceil(51 * 0.95) - 1]
    known = np.mean(scores.pop("id") <= threshold)
    strange = np.mean([np.mean(values <= threshold) for values in scores.values()])
    assert counts(app) == (round(1000 * known), round(1000 * strange))
    assert app.slider(key="threshold_value").value == pytest.approx(threshold)
    assert "No threshold has been chosen" in words(app)
    assert "50 calibration images promise" in words(app)
    assert KeepId.meaning in words(app)


@pytest.mark.slow
def test_share_rule_and_slider_move_everything(home):
    write_run(home / "demo")
    app = opened("thresholds", run="demo", threshold_detector="energy")
    first, charts_before = counts(app), drawn(app)
    assert len(charts_before) == 3
    app.slider(key="threshold_share").set_value(70.0).run()
    lower = counts(app)
    assert lower[0] < first[0]
    assert lower[1] <= first[1]
    assert all(a != b for a, b in zip(charts_before, drawn(app), strict=True))

    app.button_group(key="threshold_rule").set_value("catch_ood").run()
    assert counts(app) == told("demo", "energy", CatchOod(share=0.7))
    assert "all counts are of one half of the unfamiliar images (180 images)" in words(app)
    assert CatchOod.meaning in words(app)
    assert KeepId.meaning not in words(app)
    app.button_group(key="threshold_rule").set_value("youden").run()
    assert [slider.key for slider in app.slider] == ["threshold_value"]
    assert not app.exception

    app.slider(key="threshold_value").set_value(app.slider(key="threshold_value").max).run()
    assert not app.exception
    assert app.button_group(key="threshold_rule").value == "typed"
    assert counts(app)[0] >= 990
    assert "by hand" in words(app)

    app.selectbox(key="threshold_detector").select("msp").run()
    assert app.button_group(key="threshold_rule").value == "keep_id"  # a value fits one scale


@pytest.mark.slow
def test_a_detector_is_tried_on_one_half_and_used_on_the_other(home):
    run = Run.load(write_run(home / "demo", m=31))
    app = opened("thresholds", run="demo", threshold_detector="energy")
    value = decisions.decide(run, "energy", KeepId(share=0.95)).value
    table = pd.read_parquet(run.path / "scores.parquet")
    halves = [
        np.split((part.sort_values("sha256").energy <= value).to_numpy(), [15])
        for _, part in table[table.role == "ood"].groupby("set")
    ]
    tried, used = (
        round(1000 * float(np.mean([half.mean() for half in side])))
        for side in zip(*halves, strict=True)
    )
    assert tried != used
    assert counts(app)[1] == tried
    assert "While you try energy in place of gsc" in words(app)
    app.text_input(key="threshold_note").set_value("Because of <b>this</b>.").run()
    app.button(key="threshold_save").click().run()
    assert not app.exception
    assert counts(app)[1] == used
    assert "energy was picked after the audit, in place of gsc" in words(app)
    assert "Note: Because of <b>this</b>." in words(app)
    stored = decisions.standing(run)
    assert (stored.note, stored.who, stored.picked) == ("Because of <b>this</b>.", None, True)
    app.button(key="threshold_forget").click().run()
    assert "While you try energy" in words(app)


@pytest.mark.slow
def test_who_is_logged_in_is_kept_with_what_they_chose(home, monkeypatch):
    run = Run.load(write_run(home / "demo"))
    monkeypatch.setattr(st, "user", {"is_logged_in": True, "email": "ann@example.org"})
    app = opened("thresholds", run="demo")
    app.secrets["auth"] = {"client_id": "x"}
    acting.ask_for_person(access.visitor)  # as the app's entry does
    app.slider(key="threshold_share").set_value(80.0).run()
    app.button(key="threshold_save").click().run()
    assert not app.exception
    assert decisions.standing(run).who == "ann@example.org"
    assert "by ann@example.org" in words(app)


@pytest.mark.slow
def test_a_decision_of_before_is_shown_as_everywhere_until_it_is_used_anew(home):
    run = Run.load(write_run(home / "demo"))
    made = decisions.decide(run, "energy", KeepId(share=0.8))
    old = {"detector": "energy", "rule": {"name": "keep_id", "share": 0.8}, "value": made.value}
    (run.path / "threshold.json").write_text(json.dumps(old | {"chosen": "2026-01-01T00:00:00Z"}))
    app = opened("thresholds", run="demo")
    assert not app.exception
    found = decisions.effect_of(run, decisions.standing(run))
    assert {one.total for one in found.ood.values()} == {120}
    assert counts(app) == (round(1000 * found.id.share), round(1000 * found.ood_share))
    assert "picked after the audit, by the same unfamiliar images" in words(app)
    assert answer(run) in words(opened("results", run="demo"))


@pytest.mark.slow
def test_what_strangers_cost_sets_the_threshold(home):
    write_run(home / "demo")
    app = opened("thresholds", run="demo", threshold_detector="energy")
    app.button_group(key="threshold_rule").set_value("cost").run()
    app.number_input(key="threshold_ratio").set_value(50.0).run()
    app.number_input(key="threshold_strangers").set_value(30.0).run()
    assert not app.exception
    rule = Cost(miss=50, alarm=1, prevalence=0.03)
    assert counts(app) == told("demo", "energy", rule)
    assert "Of 1,000 images with 30 unfamiliar images among them" in words(app)
    assert "flagging nothing would cost 1,500, flagging everything 970." in words(app)
    app.button_group(key="threshold_rule").set_value("f1").run()
    assert counts(app) == told("demo", "energy", F1(prevalence=0.03))
    assert "That costs" not in words(app)
    app.button_group(key="threshold_rule").set_value("cost").run()
    assert app.number_input(key="threshold_ratio").value == 50.0
    app.button(key="threshold_save").click().run()
    stored = decisions.stored(Run.load(home / "demo"))
    assert (stored.rule, stored.halved) == (rule, True)
    fresh = opened("thresholds", run="demo")
    assert fresh.button_group(key="threshold_rule").value == "cost"
    assert fresh.number_input(key="threshold_ratio").value == 50.0
    assert fresh.number_input(key="threshold_strangers").value == 30.0
    assert counts(fresh) == counts(app)
    assert fresh.button(key="threshold_save").disabled


@pytest.mark.slow
def test_costs_that_no_threshold_serves_are_a_warning(home):
    write_run(home / "demo")
    asked = {"threshold_rule": "Least cost", "threshold_ratio": "0.000001"}
    app = opened(
        "thresholds", run="demo", threshold_detector="gsc-drop",
        threshold_strangers="0.1", **asked,
    )  # fmt: skip
    assert not app.exception
    assert "best served by flagging nothing" in words(app)
    assert app.button(key="threshold_save").disabled
    assert counts(app) == (1000, 1000)


@pytest.mark.slow
def test_a_threshold_that_few_pictures_cannot_set_is_a_warning(home):
    write_run(home / "demo")
    asked = {"threshold_rule": "Catch unfamiliar images", "threshold_share": "99.5"}
    app = opened("thresholds", run="demo", threshold_detector="energy", **asked)
    assert "199 unfamiliar images of each set" in app.warning[0].value.replace("\\", "")
    assert app.button(key="threshold_save").disabled


@pytest.mark.slow
def test_too_few_strangers_leave_the_other_rules(home):
    write_run(home / "demo", m=3)
    app = opened("thresholds", run="demo", threshold_rule="Widest gap")
    assert not app.exception
    assert "too few images" in app.error[0].value
    app.button_group(key="threshold_rule").set_value("keep_id").run()
    assert not app.error
    assert counts(app)[0] > 0


@pytest.mark.slow
def test_each_class_has_its_row_once_that_is_opened(home):
    run = Run.load(write_run(home / "demo"))
    app = opened("thresholds", run="demo")
    assert len(app.dataframe) == 1  # the sets
    app.session_state["threshold_classes_open"] = True
    app.run()
    assert not app.exception
    table = app.dataframe[1].value
    found = decisions.effect_by_class(run, decisions.default(run))
    assert list(table["Classified as"]) == [one.name for one in found]
    assert list(table["Accepted unfamiliar images"]) == [1000 * one.ood.share for one in found]
    assert list(table["familiar: tested"]) == [one.id.total for one in found]


@pytest.mark.slow
def test_refusing_says_what_it_gains(home):
    write_run(home / "demo")
    app = opened("thresholds", run="demo")
    assert re.search(r"Of 1,000 accepted familiar images, \d+ are classified correctly", words(app))
    curve = json.loads(drawn(app)[2])["data"]
    assert [line["name"] for line in curve][-1] == "This threshold"


@pytest.mark.slow
def test_without_labels_there_is_nothing_to_gain_from_refusing(home):
    folder = write_run(home / "demo")
    table = pd.read_parquet(folder / "scores.parquet")
    table["label"] = -1
    table.to_parquet(folder / "scores.parquet", index=False)
    app = opened("thresholds", run="demo")
    assert not app.exception
    assert "takes labelled familiar images" in words(app)
    assert len(drawn(app)) == 2


@pytest.mark.slow
def test_the_address_sets_the_controls(home):
    run = Run.load(write_run(home / "demo"))
    asked = {"threshold_rule": "By hand", "threshold_detector": "msp", "threshold_value": "0.6"}
    app = opened("thresholds", run="demo", **asked)
    assert app.selectbox(key="threshold_detector").value == "msp"
    assert app.slider(key="threshold_value").value == 0.6
    assert counts(app)[0] == round(1000 * np.mean(run.scores("msp")["id"] <= 0.6))
    app = opened("thresholds", run="demo", threshold_share="80", threshold_detector="gone")
    assert app.slider(key="threshold_share").value == 80.0
    assert app.selectbox(key="threshold_detector").value == decisions.default_detector(run)


@pytest.mark.slow
def test_a_decision_is_kept_and_taken_back(home):
    run = Run.load(write_run(home / "demo"))
    app = opened("thresholds", run="demo")
    app.selectbox(key="threshold_detector").select("msp").run()
    app.slider(key="threshold_value").set_value(0.5).run()
    app.button(key="threshold_save").click().run()
    assert not app.exception
    stored = decisions.standing(run)
    assert stored is not None
    assert (stored.detector, stored.rule) == ("msp", Typed(value=stored.value))
    assert "The run's threshold: msp at" in words(app)
    assert app.button(key="threshold_save").disabled

    fresh = opened("thresholds", run="demo")
    assert fresh.selectbox(key="threshold_detector").value == "msp"
    assert fresh.slider(key="threshold_value").value == pytest.approx(stored.value)
    assert counts(fresh) == counts(app)
    fresh.button(key="threshold_forget").click().run()
    assert decisions.stored(run) is None
    assert "No threshold has been chosen" in words(fresh)


@pytest.mark.slow
def test_another_run_starts_at_its_own_decision(home):
    write_run(home / "demo")
    other = Run.load(write_run(home / "other", detectors={"only": 1.0}))
    decisions.store(other, Decision(detector="only", rule=KeepId(share=0.6), value=0.1))
    app = opened("thresholds", run="demo")
    app.selectbox(key="threshold_detector").select("msp").run()
    app.selectbox(key="thresholds_run").select("other").run()
    assert not app.exception
    assert app.selectbox(key="threshold_detector").value == "only"
    assert app.slider(key="threshold_share").value == 60.0


@pytest.mark.slow
def test_too_few_calibration_pictures_is_a_warning(home):
    write_run(home / "demo")
    app = opened("thresholds", run="demo")
    app.slider(key="threshold_share").set_value(99.9).run()
    assert not app.exception
    assert "999 calibration images, and this run has 50" in words(app)
    assert app.button(key="threshold_save").disabled
    assert counts(app) == (1000, 1000)


@pytest.mark.slow
def test_a_backwards_detector_says_so(home):
    write_run(home / "demo")
    app = opened("thresholds", run="demo", threshold_detector="gsc-drop")
    assert "wrong way" in app.warning[0].value


@pytest.mark.slow
def test_each_set_has_its_row_the_worst_first(home):
    sets = {f"set {i}": i / 10 for i in range(50)}
    run = Run.load(write_run(home / "demo", sets=sets, detectors={"energy": 1.0}, m=40))
    app = opened("thresholds", run="demo")
    table = app.dataframe[0].value
    assert len(table) == 50
    assert list(table["Of 1,000"]) == sorted(table["Of 1,000"], reverse=True)
    found = decisions.effect_of(run, decisions.default(run)).ood
    for row in table.itertuples():
        assert row.Accepted == found[row[1]].accepted
        assert row[2] == pytest.approx(1000 * found[row[1]].share)
    app.selectbox(key="threshold_set").select("set 7").run()
    assert not app.exception
    assert '"set 7"' in drawn(app)[0]


@pytest.mark.slow
def test_pictures_nearest_the_threshold_lead_to_their_page(home):
    folder = write_run(home / "demo", sets={"textures": 2.0}, detectors={"energy": 1.0}, n=30, m=30)
    rows = Run.load(folder)
    for name, unpacked in (("id", "id"), ("textures", b"textures".hex())):
        for file in (f"{name}/{i:05}.png" for i in range(30)):
            path = folder / "unpacked" / unpacked / file
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), "teal").save(path)
    app = opened("thresholds", run="demo")
    assert not app.exception
    links = [link.proto for link in app.get("page_link") if "image=" in link.proto.query_string]
    assert 5 < len(links) <= 10
    asked = [int(re.search(r"image=(\d+)", link.query_string)[1]) for link in links]
    scores, threshold = rows.column("energy"), decisions.default(rows).value
    members = rows.members()
    inside = [row for row in asked if scores[row] <= threshold]
    outside = [row for row in asked if scores[row] > threshold]
    every = [
        row for row, code in enumerate(members.codes) if members.groups[code][0] != "calibration"
    ]
    nearest = sorted((row for row in every if scores[row] <= threshold), key=lambda r: -scores[r])
    assert inside == nearest[:5]
    nearest = sorted((row for row in every if scores[row] > threshold), key=lambda r: scores[r])
    assert outside == nearest[:5]


@pytest.mark.slow
def test_hostile_names_stay_text(home):
    evil = "<img src=x onerror=alert(1)> **b** [x](http://e.example) :red[r]"
    write_run(home / "demo", sets={evil: 0.5, "__b__": 3.0}, detectors={evil: 1.0})
    app = opened("thresholds", run="demo")
    assert not app.exception
    app.button(key="threshold_save").click().run()
    for part in [*app.title, *app.markdown, *app.caption, *app.error, *app.warning]:
        text = re.sub(r"\\[!-/:-@\[-`{-~]", "", part.value).replace("**", "")
        assert not re.search(r"[<>*_`$#\[\]]", text), part.value
    app.selectbox(key="threshold_set").select(evil).run()
    assert "<img" not in drawn(app)[0]


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["scores", "decision", "none"])
def test_what_is_damaged_is_one_sentence(home, damage):
    folder = write_run(home / "demo")
    if damage == "scores":
        (folder / "scores.parquet").write_bytes(b"PAR1 junk")
    elif damage == "decision":
        (folder / "threshold.json").write_text("{")
    app = opened("thresholds", run="gone" if damage == "none" else "demo")
    assert not app.exception
    assert len(app.error) == 1
    if damage == "decision":
        app.button(key="threshold_forget").click().run()
        assert not app.error
        assert counts(app)[0] > 0


@pytest.mark.slow
def test_one_detectors_damaged_scores_leave_the_others(home):
    folder = write_run(home / "demo")
    app = opened("thresholds", run="demo")
    choice = app.selectbox(key="threshold_detector")
    sound = choice.value
    scores = pd.read_parquet(folder / "scores.parquet")
    harmed = next(name for name in choice.options if name in scores and name != sound)
    scores.loc[5, harmed] = math.nan
    scores.to_parquet(folder / "scores.parquet")
    choice.set_value(harmed).run()
    assert not app.exception and len(app.error) == 1 and not app.metric
    app.selectbox(key="threshold_detector").set_value(sound).run()
    assert not app.exception and not app.error
    assert counts(app)[0] > 0


def test_without_a_run_it_says_what_to_do(home):
    app = opened("thresholds")
    assert not app.exception
    assert "No audit has run yet" in words(app)


@pytest.fixture(scope="module")
def large() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"id": rng.normal(0, 1, 100_000)} | {
        f"set {i}": rng.normal(1 + i, 1, 25_000) for i in range(4)
    }


def test_a_step_is_light_at_200000_scores(large):
    sets = dict(large)
    known = sets.pop("id")
    prepared = figures(Tradeoff.of(known, sets), list(sets), colours=SetColours.of(sets))
    histogram, roc = marked(prepared, effect(1.2, known, sets))
    assert len(histogram.to_json()) + len(roc.to_json()) < 40_000
    again = figures(Tradeoff.of(known, sets), list(sets), colours=SetColours.of(sets))
    assert prepared.histogram == again.histogram  # the marks went to copies


def test_the_point_lies_on_the_curve_and_the_line_at_the_threshold(large):
    sets = {"set 1": large["set 1"]}
    prepared = figures(Tradeoff.of(large["id"], sets), list(sets), colours=SetColours.of(sets))
    assert prepared.low < prepared.high
    assert (prepared.high - prepared.low) / prepared.step == pytest.approx(500, rel=0.7)
    histogram, roc = marked(prepared, effect(0.75, large["id"], sets))
    assert histogram.layout.shapes[1].x0 == 0.75
    line, point = prepared.roc.data[0], roc.data[1]
    assert np.trapezoid(line.y, line.x) == pytest.approx(
        metrics(large["id"], sets["set 1"]).auroc, abs=5e-3
    )
    assert np.interp(point.x[0], line.x, line.y) == pytest.approx(point.y[0], abs=5e-3)
    assert point.y[0] == np.mean(large["id"] <= 0.75)
    far, _ = marked(prepared, effect(math.inf, large["id"], sets))
    assert far.layout.shapes[1].x0 == far.layout.xaxis.range[1]
    json.loads(far.to_json())


def test_the_risk_coverage_curve_is_light_and_the_point_on_it(large):
    rng = np.random.default_rng(1)
    right = rng.random(100_000) < 0.95 - 0.1 * (large["id"] > 0.5)
    found = selective(right, large["id"], 0.5)
    figure = refusing(found)
    assert len(figure.to_json()) < 12_000
    chance, curve, point = figure.data
    assert list(chance.y) == [1 - right.mean()] * 2
    assert (point.x[0], point.y[0]) == (np.mean(large["id"] <= 0.5), 1 - found.passing)
    assert np.interp(point.x[0], curve.x, curve.y) == pytest.approx(point.y[0], abs=1e-3)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e12])
def test_a_slider_fits_any_scale(scale):
    known, sets = np.array([0.0, scale]), {"x": np.array([scale, 2 * scale])}
    prepared = figures(Tradeoff.of(known, sets), list(sets), colours=SetColours.of(sets))
    assert prepared.low <= 0
    assert prepared.high >= 1.99 * scale
    assert 100 <= (prepared.high - prepared.low) / prepared.step <= 1300
    flat = figures(
        Tradeoff.of(np.full(3, scale), {"x": np.full(3, scale)}),
        ["x"],
        colours=SetColours.of(["x"]),
    )
    assert flat.low < scale < flat.high
