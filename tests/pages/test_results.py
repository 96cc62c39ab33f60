"""The results page: what it says of each detector, and the images on which two of them differ."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from opened_page import opened, words
from PIL import Image
from stored_run import DETECTORS, SETS, own_choices, write_run

from gsc_core.evaluation.intervals import Interval
from gsc_core.run import decisions
from gsc_core.run.confidence import trust_of
from gsc_core.run.disagreement import disagreements
from gsc_core.run.reliability import errors_of
from gsc_core.run.stored import Run
from gsc_core.sentences.confidence import errors_sentence, trust_sentences
from gsc_core.sentences.detector_names import called
from pages.parts.results.decision import MISSES
from pages.parts.shared.intervals import styled

pytestmark = pytest.mark.slow

OPEN = {"results_disagreement": "true", "results_basis": "true", "results_selection": "true"}
"""The address with the sections open that are drawn only then."""


def with_pictures(folder: Path, **extra) -> Path:
    """A run whose sets lie beside it, with an image for each row."""
    roots = {name: str(folder / "sets" / name) for name in ("id", "calibration", *SETS)}
    ood = {name: roots[name] for name in SETS}
    settings = {"id": roots["id"], "calibration": roots["calibration"], "ood": ood}
    write_run(folder, settings=settings | extra)
    table = pd.read_parquet(folder / "scores.parquet")
    for set_name, file in zip(table["set"], table["file"], strict=True):
        path = folder / "sets" / set_name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (90, 120, 30)).save(path)
    return folder


def charts(app) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]


def test_backwards_and_missing_detectors_are_named_above_everything(home):
    write_run(home / "demo")
    app = opened("results")
    assert "gsc-drop points the wrong way" in words(app)
    assert "Left out: she" in words(app)
    write_run(home / "good", detectors={"energy": 1.0}, excused={})
    assert "wrong way" not in words(opened("results", run="good"))
    assert "Left out" not in words(opened("results", run="good"))


def test_a_detector_that_failed_midway_is_not_said_to_have_never_run(home):
    failed = "failed: ValueError: no root, a fault of GSC Audit; the log has the details"
    write_run(home / "demo", excused={"vra": failed})
    app = opened("results")
    assert "Left out: vra. The reason is below the table." in words(app)
    assert app.dataframe[1].value["Why"].to_dict() == {"vra": failed}
    assert "not run" not in words(app).lower()


def test_three_curves_of_the_same_scores(home):
    write_run(home / "demo")
    app = opened("results")
    titles = {charts(app)[2]["layout"]["xaxis"]["title"]["text"]}
    for kind in ("ood", "id"):
        app.segmented_control(key="results_curve").set_value(kind).run()
        assert not app.exception
        drawn = charts(app)[2]
        assert len(drawn["data"]) == len(SETS)
        titles.add(drawn["layout"]["xaxis"]["title"]["text"])
    assert titles == {
        "Share of unfamiliar images accepted (FPR)",
        "Share of unfamiliar images flagged (recall)",
        "Share of familiar images accepted (recall)",
    }


def test_every_chart_and_table_says_what_it_shows_to_who_cannot_see_it(home):
    write_run(home / "demo")
    app = opened("results")
    for part in [*app.get("plotly_chart"), *app.dataframe]:
        assert len(part.proto.alt) > 20


def test_a_known_detector_is_explained_with_its_paper(home):
    write_run(home / "demo", detectors={"energy": 1.0, "home-made": 0.5})
    app = opened("results")
    paper = next(part.value for part in app.caption if "](https://" in part.value)
    assert "Energy" in paper
    app.selectbox(key="results_detector").select("home-made").run()
    assert not app.exception
    assert "another version" in words(app)


def test_who_wins_where_is_told_for_each_set(home):
    folder = write_run(home / "demo")
    app = opened("results")
    found = next(table.value for table in app.dataframe if "Best" in table.value.columns)
    assert list(found["Unfamiliar images"]) == ["mean of the sets", *SETS]
    rows = json.loads((folder / "metrics.json").read_text())["results"]
    for _, line in found.iterrows():
        ood_set = (
            "mean" if line["Unfamiliar images"] == "mean of the sets" else line["Unfamiliar images"]
        )
        honest = [r for r in rows if r["ood_set"] == ood_set and r["detector"] != "gsc-drop"]
        best = min(honest, key=lambda row: (row["fpr95"], row["detector"]))["detector"]
        assert line["Best"] == called(Run.load(folder), best)
    app.selectbox(key="results_metric").select("auroc").run()
    assert not app.exception


def test_disagreements_are_counted_and_their_pictures_lead_on(home):
    folder = with_pictures(home / "demo")
    app = opened("results", **OPEN)
    assert not app.exception
    assert app.selectbox(key="results_gsc").value == "gsc"
    assert app.selectbox(key="results_baseline").value == "energy"
    counts = disagreements(Run.load(folder), "gsc", "energy")
    labels = app.radio(key="results_group").options
    for label, group in zip(labels, counts, strict=True):
        assert re.sub(r"\\", "", label).endswith(f"{group.count} of {group.of}")
    links = [link.proto.query_string for link in app.get("page_link")]
    first = next(group for group in counts if group.count)
    assert {f"run=demo&image={row}" for row in first.rows} <= set(links)
    assert len(app.get("image")) == MISSES + len(first.rows)


def test_each_group_shows_its_own_pictures(home):
    folder = with_pictures(home / "demo")
    app = opened("results", **OPEN)
    for i, group in enumerate(disagreements(Run.load(folder), "gsc", "energy")):
        app.radio(key="results_group").set_value(i).run()
        assert not app.exception
        assert len(app.get("image")) == MISSES + len(group.rows)
        assert ("There is no such image" in words(app)) is not bool(group.count)


def test_lost_pictures_and_lost_scores_are_sentences(home):
    folder = with_pictures(home / "demo")
    for file in (folder / "sets").rglob("*.png"):
        file.unlink()
    app = opened("results", **OPEN)
    assert not app.exception
    assert not app.get("image")
    (folder / "scores.parquet").unlink()
    app = opened("results", **OPEN)
    assert not app.exception
    assert len(app.dataframe[0].value) == len(DETECTORS)
    assert not app.radio


@pytest.mark.slow
def test_a_threshold_that_cannot_be_set_is_said_beside_the_numbers(home):
    folder = write_run(home / "demo", n=40, m=40)
    table = pd.read_parquet(folder / "scores.parquet")
    ten = (table.role != "calibration") | (table.groupby("role").cumcount() < 10)
    table[ten].to_parquet(folder / "scores.parquet", index=False)
    app = opened("results")
    assert not app.exception
    text = words(app)
    assert "takes 19 calibration images, and this run has 10" in text
    assert "gsc with no threshold, so that it flags nothing" in text


def test_detectors_that_agree_and_a_detector_alone(home):
    with_pictures(home / "demo")
    table = pd.read_parquet(home / "demo/scores.parquet")
    table["energy"] = 2 * table["gsc"]
    table.to_parquet(home / "demo/scores.parquet", index=False)
    app = opened("results", **OPEN)
    assert "They agree on every image" in words(app)
    write_run(home / "alone", detectors={"gsc": 1.0})
    app = opened("results", **OPEN, run="alone")
    assert not app.exception
    assert "disagree" not in words(app)


def test_an_assumed_preprocessing_is_a_warning(home):
    settings = {"preprocessing": {"resize": 256, "source": "assumed"}}
    write_run(home / "assumed", settings=settings)
    write_run(home / "given", settings={"preprocessing": {"resize": 256, "source": "given"}})
    assert "was assumed" in opened("results", run="assumed").warning[0].value
    assert "was assumed" not in words(opened("results", run="given"))


def test_what_is_folded_up_is_not_computed(home):
    with_pictures(home / "demo")
    app = opened("results")
    assert not app.exception
    assert len(app.get("image")) == MISSES
    titles = [section.label for section in app.expander]
    assert any("disagree" in title for title in titles)


def test_without_gsc_any_two_detectors_are_compared(home):
    with_pictures(home / "demo")
    write_run(home / "other", detectors={"energy": 1.0, "msp": 0.3})
    app = opened("results", **OPEN, run="other")
    assert not app.exception
    assert app.selectbox(key="results_gsc").value == "energy"
    assert app.selectbox(key="results_baseline").value == "msp"


def test_hostile_classes_and_files_stay_text_in_the_gallery(home):
    evil = "<img src=x onerror=alert(1)> [x](http://e.example) :red[y] $z$"
    with_pictures(home / "demo", class_names=[evil] * 12)
    app = opened("results", **OPEN)
    assert not app.exception
    captions = [
        link.proto.label for link in app.get("page_link") if "image=" in link.proto.query_string
    ]
    assert captions
    assert all("img" in caption for caption in captions)
    for caption in captions:
        assert not re.search(r"(?<!\\)[<\[$]", caption), caption


def test_how_detectors_set_themselves_is_told_with_what_they_tried(home):
    write_run(home / "demo", **own_choices())
    app = opened("results", **OPEN)
    assert not app.exception
    text = words(app)
    assert "gsc-auto chose: 5 % of the channels at layer4 by attribution, set to zero" in text
    assert "of 100 surrogate images 24 are accepted, without the short-circuit 33" in text
    assert "auto-ensemble took vra as its partner: of 2 detectors" in text
    assert "From 200 calibration images, 200 surrogate images of" in text
    assert "best of 32 ways" in text
    assert "96 others did worse" in text
    (table,) = (
        each.value for each in app.dataframe if "Mistakes" in each.value and "mix" in each.value
    )
    assert list(table["Chosen"][:2]) == ["✓", ""]
    assert list(table["Where"]) == ["layer4"] * 10 + ["no short-circuit"]
    assert list(table.iloc[0][["all", "zoom", "mix"]]) == pytest.approx([24, 24, 39])
    app.segmented_control(key="selection_measure_gsc-auto").set_value("auroc").run()
    (table,) = (each.value for each in app.dataframe if "mix" in each.value)
    assert list(table.iloc[0][["all", "zoom", "mix"]]) == pytest.approx([93, 93, 87])
    (panel,) = (
        each.value for each in app.dataframe if list(each.value) == ["Detector", "Mistakes"]
    )
    assert list(panel["Detector"]) == ["vra", "energy"]
    assert list(panel["Mistakes"]) == pytest.approx([8.5, 17.5])


def test_nothing_is_said_of_choices_where_none_was_made(home):
    write_run(home / "demo")
    app = opened("results", **OPEN)
    assert not [each for each in app.expander if "tuned " in each.label]


def test_choices_that_are_damaged_are_a_sentence_and_hostile_names_stay_names(home):
    write_run(home / "demo", selections={"gsc-auto": {"chosen": 3}})
    app = opened("results", **OPEN)
    assert not app.exception
    assert 'The result of run "demo" is damaged' in words(app)
    evil = "<b> [x](http://e.example) :red[y]"
    found = own_choices()
    found["settings"]["split"] = evil
    found["partners"] = {evil: {evil: 0.1, "msp": 0.2}}
    write_run(home / "evil", **found)
    app = opened("results", run="evil", **OPEN)
    assert not app.exception
    said = [each.value for each in app.markdown if "layer" in each.value or "partner" in each.value]
    assert len(said) == 2
    assert not [each for each in said if re.search(r"(?<!\\)[<\[]", each)]


def test_what_it_rests_on_gives_accuracy_before_and_after(home):
    write_run(home / "demo")
    app = opened("results", **OPEN)
    assert "Of 1,000 familiar images 953 are classified correctly" in words(app)
    assert "948 after gsc" in words(app)
    counts = next(table.value for table in app.dataframe if "scored" in table.value.columns)
    assert counts.loc["Familiar images", "scored"] == 200


def test_many_sets_and_detectors_are_cut_with_a_word(home):
    sets = {f"set {i:02}": 1 + i / 20 for i in range(14)}
    write_run(home / "demo", sets=sets, n=30, m=20)
    app = opened("results")
    assert not app.exception
    assert "The first 12 of 14 sets are drawn" in words(app)
    assert sum(len(chart.proto.spec) for chart in app.get("plotly_chart")) < 200_000


def test_a_cell_sorts_by_its_number_and_shows_its_interval():
    cells = pd.DataFrame(
        {"a": [Interval(0.312, 0.28, 0.345), None]}, index=["x", "y"], dtype=object
    )
    table = styled(cells, "fpr95")
    assert table.data["a"].iloc[0] == pytest.approx(31.2)
    shown = table.to_html()
    assert "31.2 (28.0–34.5)" in shown
    assert "–</td>" in shown
    good, bad = (
        float(re.search(r"150, 160, ([\d.]+)", styled(one, "auroc").to_html())[1])
        for one in (
            pd.DataFrame({"a": [Interval(value, 0.5, 0.5)]}, dtype=object) for value in (0.9, 0.2)
        )
    )
    assert good > bad


CHECKS = [
    {"name": "inputs", "outcome": "fine", "sentence": "Prepared images fit."},
    {"name": "accuracy", "outcome": "warning", "sentence": "3 of 50 are <b>right</b>: look."},
]


def test_a_warning_about_the_model_stands_at_the_top_and_first_in_the_open_list(home):
    write_run(home / "demo", checks=CHECKS)
    app = opened("results")
    first = next(each.value for each in app.warning)
    assert first.startswith("3 of 50 are") and "<b>" not in first
    (section,) = (each for each in app.expander if "checked about the model" in each.label)
    assert section.label == "What was checked about the model: 1 warning"
    assert section.proto.expanded
    first, second = (each.value for each in section.markdown)
    assert "right" in first and first.startswith(":orange[**!**]")
    assert "Prepared images fit" in second


def test_checks_that_are_fine_are_folded_away(home):
    write_run(home / "demo", checks=CHECKS[:1])
    app = opened("results")
    (section,) = (each for each in app.expander if "checked about the model" in each.label)
    assert section.label == "What was checked about the model: all fine"
    assert not section.proto.expanded
    write_run(home / "earlier")
    assert "What was checked" not in words(opened("results", run="earlier"))


def with_temperature(value=1.5, gain=(0.1, 0.05, 0.15)) -> dict:
    """For `write_run`: what an audit stores of temperature scaling."""
    interval = {"value": 0.05, "low": 0.01, "high": 0.1}
    return {
        "temperature": {
            "value": value,
            "fitted_on": 400,
            "tested": 200,
            "log_loss_before": 0.9,
            "log_loss_after": 0.8,
            "gain": dict(zip(("value", "low", "high"), gain, strict=True)),
            "error_before": interval | {"value": 0.08},
            "error_after": interval,
        }
    }


def test_the_confidence_is_held_against_what_is_right(home):
    write_run(home / "demo", **with_temperature())
    app = opened("results")
    assert not app.exception
    trust = trust_of(Run.load(home / "demo"))
    said = words(app)
    for sentence in trust_sentences(trust):
        assert sentence in said
    assert "Dividing the logits by 1.5" in said
    assert "5.0 % instead of 8.0 %" in said
    table = next(t.value for t in app.dataframe if "Right" in t.value)
    worst = trust.classes[0]
    assert table["Right"][0] == f"{worst.right} of {worst.images}"
    assert list(table["Accuracy"]) == sorted(table["Accuracy"])


def test_a_temperature_whose_gain_may_be_chance_is_no_gain(home):
    write_run(home / "demo", **with_temperature(gain=(0.01, -0.02, 0.04)))
    assert "may be chance" in words(opened("results"))
    write_run(home / "worse", **with_temperature(gain=(-0.1, -0.2, -0.05)))
    assert "It makes things worse" in words(opened("results", run="worse"))
    write_run(home / "earlier")
    assert "No temperature was fitted" in words(opened("results", run="earlier"))


def test_how_many_are_unfamiliar_changes_what_is_wrong(home):
    write_run(home / "demo")
    app = opened("results")
    run = Run.load(home / "demo")
    for prevalence in (0.01, 0.1, 0.5):
        app.segmented_control(key="results_prevalence").set_value(prevalence).run()
        assert not app.exception
        errors = errors_of(run, decisions.default(run), prevalence=prevalence)
        assert errors_sentence(errors) in words(app)


def test_without_labels_one_sentence_says_what_labels_would_give(home):
    folder = write_run(home / "demo")
    table = pd.read_parquet(folder / "scores.parquet").assign(label=-1)
    table.to_parquet(folder / "scores.parquet", index=False)
    app = opened("results")
    assert not app.exception
    assert "With labels, this would say" in words(app)
    keys = [control.key for control in app.segmented_control]
    assert "results_prevalence" not in keys


def test_a_class_of_any_name_stays_text(home):
    names = ["<b>x</b> *bold* [a](http://b.c)"] * 12
    write_run(home / "demo", settings={"class_names": names, "classes": 14})
    app = opened("results")
    assert not app.exception
    assert "2 classes have no labelled test image" in words(app)
