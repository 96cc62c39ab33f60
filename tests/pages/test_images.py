"""The Images page: the gallery, one image explained, and an image that a person tries."""

import io
import json
import os
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from opened_page import opened, tiles, words
from PIL import Image
from small_audit import PREPROCESS, write_stage
from stored_run import SETS, write_run
from streamlit.testing.v1 import AppTest

from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec
from gsc_core.charts.image import channel_bars
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.errors import GscError
from gsc_core.evaluation.thresholds import KeepId, Typed
from gsc_core.explanation import ChannelReading
from gsc_core.images.overlay import overlaid
from gsc_core.jobs import queue
from gsc_core.jobs.database import Lane, State
from gsc_core.run import decisions, gallery, placement
from gsc_core.run.stored import Run
from gsc_core.sentences.depths import depth_sentence
from gsc_core.workspace import explanations, image_results
from gsc_core.workspace.tasks import TASKS

EVIL = "<img src=x onerror=alert(1)> **b** [x](http://e.example) `c` $x$ :red[r]"
MORE = ("gsc", "energy", "msp", "layers")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """A stage of real images and a real audit of them."""
    stage = write_stage(tmp_path_factory.mktemp("stage"))
    spec = AuditSpec(
        model=ModelSpec(
            checkpoint=stage / "small.pt2", preprocessing=Preprocessing.parse(PREPROCESS)
        ),
        id=stage / "id",
        calibration=stage / "calibration",
        ood={"noise": stage / "noise", "faint": stage / "faint"},
        detectors=tuple({"name": name} for name in MORE),
        repeats=20,
    )
    run_audit(spec, stage / "run")
    return stage


@pytest.fixture
def run(home, audited):
    """The audit as a run of the workspace."""
    shutil.copytree(audited / "run", home / "runs" / "x")
    return Run.load(home / "runs" / "x")


def work(app: AppTest) -> AppTest:
    """Do what the worker of the lane would, and show the page again."""
    while job := queue.claim(Lane.EXPLAIN, os.getpid()):
        try:
            TASKS[job.kind](job, lambda _: None)
            queue.end(job.id, State.DONE, None)
        except GscError as error:
            queue.end(job.id, State.FAILED, str(error))
    return app.run()


def table(run) -> pd.DataFrame:
    return pd.read_parquet(run.path / "scores.parquet")


def shown(app: AppTest) -> list[int]:
    """The rows of the gallery's tiles, in their order."""
    return [tile["row"] for tile in tiles(app)]


def in_order(scores: pd.DataFrame, detector: str, ascending=False) -> list[int]:
    return list(scores.sort_values(detector, ascending=ascending, kind="stable").index)


# --- the gallery -----------------------------------------------------------------------------


@pytest.mark.slow
def test_without_a_run_it_says_what_to_do():
    assert "No audit has run yet" in words(opened("images"))


@pytest.mark.slow
def test_the_strangest_tested_pictures_come_first_48_at_a_time(home):
    write_run(home / "runs/demo")
    app = opened("images")
    assert not app.exception
    run = Run.load(home / "runs/demo")
    tested = table(run).query("role != 'calibration'")
    best = decisions.default_detector(run)
    assert shown(app) == in_order(tested, best)[:48]
    assert "560 images, 1 to 48 shown" in words(app)
    app.pagination(key="images_page").set_value(2).run()
    assert shown(app) == in_order(tested, best)[48:96]
    app.pagination(key="images_page").set_value(12).run()
    assert len(shown(app)) == 560 - 11 * 48


@pytest.mark.slow
def test_detector_direction_set_class_and_side_are_choices_in_the_address(home):
    run = Run.load(write_run(home / "runs/demo"))
    scores = table(run)
    app = opened("images")
    app.selectbox(key="images_detector").select("msp").run()
    app.segmented_control(key="images_order").set_value("familiar").run()
    tested = scores.query("role != 'calibration'")
    assert shown(app) == in_order(tested, "msp", ascending=True)[:48]

    app.selectbox(key="images_set").select("noise").run()
    noise = scores.query("set == 'noise'")
    assert shown(app) == in_order(noise, "msp", ascending=True)[:48]
    app.selectbox(key="images_class").select(7).run()
    sevens = noise.query("predicted == 7")
    assert shown(app) == in_order(sevens, "msp", ascending=True)

    calibration = np.sort(scores.query("role == 'calibration'")["msp"])
    limit = calibration[int(np.ceil(0.95 * 51)) - 1]  # the conformal quantile of 50
    app.selectbox(key="images_class").select(-1).run()
    app.segmented_control(key="images_side").set_value("let through").run()
    inside = noise[noise["msp"] <= limit]
    assert 0 < len(inside) < len(noise)
    assert shown(app) == in_order(inside, "msp", ascending=True)[:48]
    app.segmented_control(key="images_side").set_value("flagged").run()
    assert set(shown(app)).isdisjoint(inside.index)


def test_an_address_brings_the_choices_back_and_each_picture_keeps_them(home):
    run = Run.load(write_run(home / "runs/demo"))
    noise = table(run).query("set == 'noise'")
    query = {"images_detector": "msp", "images_set": "noise", "images_page": "2"}
    app = opened("images", **query)
    assert shown(app) == in_order(noise, "msp")[48:96]
    for tile in tiles(app):
        assert "images_detector=msp" in tile["href"]
        assert "images_set=noise" in tile["href"]


@pytest.mark.slow
@pytest.mark.parametrize("query", [{}, {"image": "60"}])
def test_empty_choices_in_the_address_are_the_usual_ones(home, query):
    write_run(home / "runs/demo")
    junk = dict.fromkeys(("images_view", "images_order", "images_side", "images_set"), "")
    app = opened("images", **junk, **query)
    assert not app.exception
    assert "The images of this audit" in words(app) or query


@pytest.mark.slow
def test_a_set_aside_calibration_can_be_looked_at(home):
    run = Run.load(write_run(home / "runs/demo"))
    app = opened("images")
    app.selectbox(key="images_set").select("calibration").run()
    assert sorted(shown(app)) == list(table(run).query("role == 'calibration'").index)[:50][
        :48
    ] or (len(shown(app)) == 48)
    assert "50 images" in words(app)


@pytest.mark.slow
def test_choices_that_leave_nothing_say_so(home):
    write_run(home / "runs/demo")
    decide(home, "gsc", 1e6)
    app = opened("images")
    app.selectbox(key="images_detector").select("gsc").run()
    app.segmented_control(key="images_side").set_value("flagged").run()
    assert "No image matches" in words(app)


def decide(home, detector, value):
    run = Run.load(home / "runs/demo")
    decisions.store(run, decisions.decide(run, detector, Typed(value=value)))


@pytest.mark.slow
def test_the_stored_threshold_counts_for_its_detector_alone(home):
    run = Run.load(write_run(home / "runs/demo"))
    usual = {
        name: decisions.decide(run, name, KeepId(share=0.95)).value for name in ("gsc", "energy")
    }
    decide(home, "gsc", 1.25)
    assert placement.decision_for(run, "gsc").value == 1.25
    assert placement.decision_for(run, "energy").value == usual["energy"]
    assert placement.in_order(run)[0] == "gsc"
    app = opened("images")
    app.selectbox(key="images_detector").select("gsc").run()
    assert "above 1.25." in words(app)


def test_a_class_is_offered_when_some_picture_was_taken_for_it(home):
    run = Run.load(write_run(home / "runs/demo"))
    assert placement.predicted_classes(run) == tuple(np.unique(table(run)["predicted"]))


# --- one image -----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_picture_is_explained_by_the_worker_and_found_again(run):
    scores = table(run)
    row = int(scores.query("set == 'noise'").index[3])
    app = opened("images", run="x", image=str(row))
    assert not app.exception
    assert app.button(key="images_job_cancel")
    assert "Looking inside the network" in words(app)
    percent = {d: 100 * np.mean(scores.query("role == 'id'")[d] <= scores[d][row]) for d in MORE}
    places = next(frame.value for frame in app.dataframe if "Verdict" in frame.value)
    assert dict(zip(places["Detector"], places["At or below"], strict=True)) == pytest.approx(
        percent
    )
    assert places["Detector"][0] == decisions.current(run).detector

    work(app)
    assert not app.exception
    told = explanations.explanation("x", row, "gsc").explanation
    assert f"{told.channels_touched} of 12 channels" in words(app)
    assert "The model calls it class" in words(app)
    classes = next(frame.value for frame in app.dataframe if "Before" in frame.value)
    assert classes["Before"].max() == pytest.approx(100 * scores["confidence"][row], abs=0.01)
    assert len(app.get("plotly_chart")) == 3
    again = opened("images", run="x", image=str(row))
    assert "Looking inside" not in words(again)
    assert len(again.get("plotly_chart")) == 3
    assert not queue.jobs(states=queue.WAITING)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["noise", "calibration"])
def test_each_depth_of_the_network_is_shown(which, run):
    row = int(table(run).query("set == @which").index[3])
    app = opened("images", run="x", image=str(row))
    assert not [frame for frame in app.dataframe if "Depth" in frame.value]
    work(app)
    stored = explanations.explanation("x", row, "gsc")
    audit = image_results.opened(run.path, run.version)
    seen = audit.look(gallery.image_bytes(run, row))
    right = audit.depths(seen, row if which == "calibration" else None)
    assert stored.depths == right and len(right) > 1
    (shown_,) = (frame.value for frame in app.dataframe if "Depth" in frame.value)
    assert list(shown_["Percentile"]) == [each.percentile for each in right]
    assert list(shown_["Depth"]) == [f"{at} · {each.layer}" for at, each in enumerate(right, 1)]
    assert depth_sentence([each.percentile for each in right]) in words(app)
    if which == "calibration":
        assert right != audit.depths(seen)


@pytest.mark.slow
def test_an_explanation_of_before_says_nothing_of_depths(run):
    app = work(opened("images", run="x", image="70"))
    assert "Which depth finds it unusual" in [each.value for each in app.header]
    (file,) = run.path.glob("explanations/*/found.json")
    document = json.loads(file.read_text())
    del document["depths"]
    file.write_text(json.dumps(document))
    again = opened("images", run="x", image="70")
    assert not again.exception and len(again.get("plotly_chart")) == 3
    assert "Which depth finds it unusual" not in [each.value for each in again.header]


@pytest.mark.slow
def test_the_slider_says_how_many_channels_are_drawn(run):
    app = work(opened("images", run="x", image="70"))

    def bars() -> list[int]:
        specs = [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]
        return [
            sum(len(trace["y"]) for trace in spec["data"] if trace["type"] == "bar")
            for spec in specs
        ]

    assert bars() == [10, 10, 10]
    app.slider(key="images_k").set_value(4).run()
    assert bars() == [4, 4, 4]
    size = sum(len(chart.proto.spec) for chart in app.get("plotly_chart"))
    assert size < 60_000


@pytest.mark.slow
def test_the_headline_says_who_it_is_and_whether_that_was_right(run):
    scores = table(run)
    decision = decisions.current(run)
    for role, kind, inside, outside in (
        ("id", "A familiar image", "accepted", "flagged: a false alarm"),
        ("ood", "An unfamiliar image from", "accepted: missed", "flagged"),
    ):
        of_role = scores[scores["role"] == role]
        for side, verdict in ((False, inside), (True, outside)):
            rows = of_role[(of_role[decision.detector] > decision.value) == side].index
            if len(rows):
                app = opened("images", run="x", image=str(rows[0]))
                assert app.title[0].value.startswith(kind)
                assert re.sub(r"[\\\u2060]", "", app.title[0].value).endswith(verdict)


@pytest.mark.slow
def test_one_steps_through_the_gallery_and_back(run):
    scores = table(run)
    noise = in_order(scores.query("set == 'noise'"), "msp")
    query = {"images_detector": "msp", "images_set": "noise", "run": "x"}
    app = opened("images", image=str(noise[1]), **query)
    assert app.selectbox(key="images_detector").value == "msp"
    assert "2 of 40" in words(app)
    app.button(key="images_next").click().run()
    assert app.query_params["image"] == str(noise[2])
    app.button(key="images_previous").click().run()
    app.button(key="images_previous").click().run()
    assert app.query_params["image"] == str(noise[0])
    assert app.button(key="images_previous").disabled
    app.button(key="images_all").click().run()
    assert "image" not in app.query_params
    assert shown(app) == noise
    outside = int(scores.query("set == 'faint'").index[0])
    app = opened("images", image=str(outside), **query)
    assert "Not among the filtered images" in words(app)
    assert app.button(key="images_next").disabled


@pytest.mark.slow
def test_a_cancelled_explanation_waits_to_be_asked_for(run):
    app = opened("images", run="x", image="70")
    app.button(key="images_job_cancel").click().run()
    app.run()
    assert not queue.jobs(states=queue.WAITING)
    app.button(key="images_explain").click().run()
    work(app)
    assert len(app.get("plotly_chart")) == 3


@pytest.mark.slow
@pytest.mark.parametrize("asked", ["999999", "-1", "1.5", "x", "٣", "9" * 400, EVIL, ""])
def test_a_row_that_is_not_there_is_one_sentence(run, asked):
    app = opened("images", run="x", image=asked)
    assert not app.exception
    assert len(app.error) == 1
    assert "choose one from the gallery" in words(app)
    app.button(key="images_all").click().run()
    assert len(shown(app)) == 48


@pytest.mark.slow
def test_a_picture_that_was_moved_is_a_sentence_and_its_scores_stay(home):
    write_run(home / "runs/demo", settings={"id": str(home / "gone"), "ood": {}})
    app = opened("images", run="demo", image="60")
    assert not app.exception
    assert "no longer where it was audited" in words(app)
    assert "Verdict" in app.dataframe[0].value
    work(app)
    assert not app.exception
    assert len(app.error) == 1
    assert app.button(key="images_job_retry")


@pytest.mark.slow
def test_a_run_without_its_model_says_so(run):
    spec = json.loads((run.path / "spec.json").read_text())
    spec["model"]["checkpoint"] = "/nowhere/small.pt2"
    (run.path / "spec.json").write_text(json.dumps(spec))
    app = work(opened("images", run="x", image="70"))
    assert not app.exception
    assert "There is no file" in words(app)
    assert "Verdict" in app.dataframe[0].value


@pytest.mark.slow
def test_a_network_that_cannot_be_cut_is_told_without_channels(home, audited):
    found = work_unsplit(home, audited)
    assert not found.exception
    assert "GSC has nothing to explain" in words(found)
    assert not found.get("plotly_chart")
    assert "most similar" in words(found)


def work_unsplit(home, audited) -> AppTest:
    import torch  # noqa: PLC0415

    class Flat(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = torch.nn.Linear(3 * 144, 4)

        def forward(self, x):
            return self.fc(x.flatten(1))

    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(
        Flat().eval(), (torch.zeros(2, 3, 12, 12),), dynamic_shapes=shapes
    )
    torch.export.save(program, home / "flat.pt2")
    spec = AuditSpec(
        model=ModelSpec(
            checkpoint=home / "flat.pt2", preprocessing=Preprocessing.parse(PREPROCESS)
        ),
        id=audited / "id",
        calibration=audited / "calibration",
        ood={"noise": audited / "noise"},
        detectors=({"name": "msp"}, {"name": "energy"}),
        repeats=10,
    )
    run_audit(spec, home / "runs" / "flat")
    return work(opened("images", run="flat", image="70"))


@pytest.mark.slow
def test_hostile_names_stay_text(home):
    names = [EVIL] * 12
    write_run(home / "runs/demo", sets={EVIL: 0.5}, settings={"class_names": names})
    scores = home / "runs/demo/scores.parquet"
    frame = pd.read_parquet(scores)
    frame["file"] = [f"{EVIL}{i}.png" for i in range(len(frame))]
    frame.to_parquet(scores, index=False)
    row = str(frame.query("role == 'ood'").index[0])
    for app in (opened("images"), work(opened("images", image=row)), opened("images", image="60")):
        assert not app.exception
        kinds = (app.title, app.markdown, app.caption, app.error, app.warning, app.info)
        for part in (part for kind in kinds for part in kind):
            if "onerror" in part.value:
                text = re.sub(r"\\[^\w\s]", "", part.value)
                assert not re.search(r"[<>*_`$#\[\]()]", text), part.value
        for link in app.get("page_link"):
            assert not re.search(r"[<>*`$\[\]()]", re.sub(r"\\[^\w\s]", "", link.proto.label))


# --- an image of one's own ------------------------------------------------------------------


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.mark.slow
def test_a_dropped_image_is_accepted_or_flagged_with_the_reason(run, audited):
    verdicts_seen = set()
    for file in (
        *sorted((audited / "id").rglob("*.png"))[:2],
        *sorted((audited / "noise").rglob("*.png"))[:2],
    ):
        app = opened("images", run="x", images_view="Try images")
        app.file_uploader(key="try_file").upload(file.name, file.read_bytes()).run()
        assert "Looking at it" in words(app)
        assert app.query_params["try"]
        work(app)
        assert not app.exception
        tried = explanations.tried("x", app.query_params["try"])
        outside = tried.verdict.score > decisions.current(run).value
        said = words(app)
        assert ("**Flagged**: unlike what" in said) is outside
        assert ("**Accepted**: like what" in said) is not outside
        assert f"{tried.verdict.percentile:.0f} % of the familiar images" in said
        assert len(app.get("plotly_chart")) == 3
        verdicts_seen.add(outside)
        again = opened("images", run="x", images_view="Try images", **{"try": tried_id(app)})
        assert ("**Flagged**" in words(again)) is outside
    assert verdicts_seen == {True, False}


def tried_id(app: AppTest) -> str:
    (value,) = [app.query_params["try"]]
    return value


@pytest.mark.slow
def test_the_same_picture_gets_the_score_of_the_audit(run, audited):
    scores = table(run)
    row = int(scores.query("set == 'noise'").index[5])
    file = audited / "noise" / scores["file"][row]
    app = opened("images", run="x", images_view="Try images")
    app.file_uploader(key="try_file").upload(file.name, file.read_bytes()).run()
    work(app)
    places = next(frame.value for frame in app.dataframe if "Verdict" in frame.value)
    found = dict(zip(places["Detector"], places["Score"], strict=True))
    assert found == pytest.approx({d: scores[d][row] for d in MORE}, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"rubbish", b"", png(np.zeros((3, 3, 3), np.uint8))])
def test_what_is_no_picture_is_a_sentence(run, content):
    app = opened("images", run="x", images_view="Try images")
    app.file_uploader(key="try_file").upload("x.png", content).run()
    work(app)
    assert not app.exception
    assert len(app.error) == 1
    assert "x.png" in words(app)
    assert "Looking at it" not in words(app)
    assert "Drop another image" in words(app)
    assert not [button for button in app.button if button.key == "try_job_retry"]


@pytest.mark.slow
@pytest.mark.parametrize("asked", ["0" * 12, "../..", EVIL])
def test_an_unknown_try_is_one_sentence(run, asked):
    app = opened("images", run="x", images_view="Try images", **{"try": asked})
    assert not app.exception
    assert re.search("drop (it|them) again", words(app))


# --- what is drawn ---------------------------------------------------------------------------


def reading(index: int, cut: bool, usual=True) -> ChannelReading:
    normal = (0.1, 0.2, 0.4) if usual else None
    return ChannelReading(
        index=index,
        rank=index + 1,
        activation=1.0 + index,
        gradient=-0.5,
        contribution=0.25,
        positions=float(cut),
        removed=0.0,
        normal_activation=normal,
        normal_gradient=normal,
        normal_contribution=normal,
    )


def test_bars_show_the_value_and_the_bracket_its_usual_range():
    figure = channel_bars([reading(0, True), reading(7, False)], "activation")
    cut, left, usual = figure.data
    assert (list(cut.y), list(cut.x)) == (["0"], [1.0])
    assert (list(left.y), list(left.x)) == (["7"], [8.0])
    assert cut.marker.color != left.marker.color
    assert left.marker.pattern.shape
    assert list(usual.x) == [0.2, 0.2]
    middle = np.asarray(usual.x)
    assert middle + np.asarray(usual.error_x.array) == pytest.approx([0.4, 0.4])
    assert middle - np.asarray(usual.error_x.arrayminus) == pytest.approx([0.1, 0.1])
    assert list(figure.layout.yaxis.categoryarray) == ["7", "0"]  # the leading one on top


def test_without_a_usual_range_there_are_bars_alone():
    assert len(channel_bars([reading(0, True, usual=False)], "gradient").data) == 1


def test_a_half_transparent_picture_is_laid_over_another():
    below = png(np.full((8, 8, 3), 200, np.uint8))
    layer = np.zeros((4, 4, 4), np.uint8)
    layer[:, 2:] = (0, 0, 0, 128)
    with Image.open(io.BytesIO(overlaid(below, png(layer)))) as done:
        pixels = np.asarray(done.convert("RGB"), dtype=int)
    assert pixels.shape == (8, 8, 3)
    assert abs(pixels[:, 0] - 200).max() < 6
    assert abs(pixels[:, -1] - 100).max() < 6


@pytest.mark.slow
def test_sets_of_the_stored_run_are_offered(home):
    write_run(home / "runs/demo")
    options = opened("images").selectbox(key="images_set").options
    assert options == ["All test images", "Familiar images", *SETS, "Calibration images"]
