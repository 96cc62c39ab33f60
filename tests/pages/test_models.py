"""The Models page: from an upload to facts or a sentence, and what is done with a stored model."""

import io
import re

import pytest
import streamlit as st
import timm
import torch
from opened_page import opened, words
from small_audit import save_program
from streamlit.testing.v1 import AppTest

from gsc_core.classifier import Preprocessing
from gsc_core.jobs import queue
from gsc_core.jobs.database import Kind, Readiness, StoredModel, StoredSet, session
from gsc_core.workspace import models, trash
from gsc_core.workspace.models import ModelFacts, Prediction, SplitFacts
from pages.parts.shared.text import plain

pytestmark = pytest.mark.slow

EVIL = "<img src=x onerror=alert(1)> **b** [x](http://e.example) `c` $x$ :red[r]"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> bytes:
    return save_program(tmp_path_factory.mktemp("model") / "small.pt2").read_bytes()


def stored(home, name="Small", **facts) -> StoredModel:
    """A model that a worker has looked at, with facts of our own."""
    known = {
        "sha256": "ab" * 32,
        "source": "small.pt2",
        "architecture": None,
        "num_classes": 1000,
        "class_names": None,
        "parameters": 4_700_000,
        "input_size": (224, 200),
        "preprocessing": Preprocessing.assumed((224, 200)),
        "splits": (
            SplitFacts(name="stem", shape=(8, 12, 12), linear=False, default=False),
            SplitFacts(name="block", shape=(16, 4, 4), linear=False, default=True),
        ),
        "seconds_per_image": 0.02,
    }
    file = home / "models" / ("ab" * 32) / "small.pt2"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x")
    with session() as db:
        record = StoredModel(
            name=name,
            spec={"checkpoint": str(file)},
            readiness=Readiness.READY,
            facts=ModelFacts(**(known | facts)).model_dump(mode="json"),
        )
        db.add(record)
    return record


def work(app: AppTest) -> AppTest:
    """Do what a worker would, and show the page again."""
    for job in queue.jobs(kinds=[Kind.MODEL], states=queue.WAITING):
        models.look(job, lambda _: None)
        queue.cancel(job.id)  # ended, as far as the page is concerned
    return app.run()


def test_an_empty_page_says_what_to_do():
    app = opened("models")
    assert not app.exception
    assert "No model yet: choose a file" in words(app)
    for key in ("model_file", "model_architecture", "model_class_names", "model_add"):
        assert app.get_by_key(key) is not None
    app.button(key="model_add").click().run()
    assert "choose one" in app.error[0].value


def test_an_upload_becomes_progress_and_then_facts(program):
    app = opened("models")
    app.file_uploader(key="model_file").upload("small.pt2", program).run()
    assert app.selectbox(key="model_architecture").disabled
    app.button(key="model_add").click().run()
    assert not app.exception
    (record,) = models.list_models()
    assert record.name == "small"
    assert app.query_params["model"] == record.id
    assert [each.value for each in app.title] == ["small"]
    assert app.button(key=f"model_job_{record.id}_cancel")
    work(app)
    assert {each.label: each.value for each in app.metric} | {"Speed": ""} == {
        "Classes": "4",
        "Input": "12 × 12",
        "Parameters": f"{sum(p.numel() for p in parameters()):,}",
        "Speed": "",
    }
    assert "assumed because the file does not say" in words(app)
    assert "The usual choice is **block.1**" in words(app)
    assert app.dataframe[0].value["Usual choice"].tolist().count("✓") == 1
    assert "Next: add images" in labels(app)
    with session() as db:
        db.add(StoredSet(name="s", role="id", folder=""))
    assert "Next: audit this model" in labels(app.run())


def test_two_presses_add_one_model(program, monkeypatch):
    app = opened("models")
    app.file_uploader(key="model_file").upload("small.pt2", program).run()
    monkeypatch.setattr(st, "rerun", st.stop)
    for _ in range(2):  # the second press comes before the reader is led away
        app.query_params.clear()
        app.button(key="model_add").click().run()
    assert not app.exception
    assert len(models.list_models()) == 1


def parameters():
    from small_audit import model  # noqa: PLC0415

    return model().parameters()


def labels(app: AppTest) -> list[str]:
    return [link.proto.label for link in app.get("page_link")]


def test_own_preprocessing_and_a_refusal_that_is_mended(program):
    app = opened("models")
    app.file_uploader(key="model_file").upload("small.pt2", program).run()
    app.segmented_control(key="model_preprocessing").set_value("own").run()
    assert app.number_input(key="model_resize").value == 256
    assert app.number_input(key="model_crop_height").value == 224
    app.text_input(key="model_mean").set_value("0.5, x")
    app.run()
    assert "mean cannot be" in app.error[0].value
    assert app.button(key="model_add").disabled
    app.text_input(key="model_mean").set_value("0.5").run()
    app.button(key="model_add").click().run()
    work(app)
    (record,) = models.list_models()
    assert record.readiness is Readiness.REFUSED
    assert "12×12 pixels, but the preprocessing crops to 224×224" in words(app)
    assert "Change the settings below" in words(app)

    assert app.segmented_control(key="revise_preprocessing").value == "own"
    app.number_input(key="revise_crop_height").set_value(12)
    app.number_input(key="revise_crop_width").set_value(12)
    app.number_input(key="revise_resize").set_value(0)
    app.button(key="revise_save").click().run()
    work(app)
    facts = models.facts_of(models.model(record.id))
    assert facts.preprocessing.resize is None
    assert facts.preprocessing.crop == (12, 12)
    assert facts.preprocessing.mean == (0.5, 0.5, 0.5)
    assert "The image is not resized" in words(app)
    assert "assumed because" not in words(app)


def test_a_fixed_size_and_a_border_are_asked_for_in_the_form(program):
    app = opened("models")
    app.file_uploader(key="model_file").upload("small.pt2", program).run()
    app.segmented_control(key="model_preprocessing").set_value("own").run()
    app.selectbox(key="model_crop_mode").set_value("squash").run()
    for field in ("resize_height", "resize_width", "crop_height", "crop_width"):
        app.number_input(key=f"model_{field}").set_value(12)
    app.button(key="model_add").click().run()
    work(app)
    (record,) = models.list_models()
    found = models.facts_of(models.model(record.id)).preprocessing
    assert (found.resize, found.crop_mode, found.crop) == ((12, 12), "squash", (12, 12))
    assert "The image is stretched to 12×12 pixels (bilinear); mean" in words(app)

    assert app.selectbox(key="revise_crop_mode").value == "squash"
    app.selectbox(key="revise_crop_mode").set_value("border").run()
    app.text_input(key="revise_fill").set_value("black").run()
    assert "fill cannot be" in app.error[0].value
    app.text_input(key="revise_fill").set_value("114").run()
    app.button(key="revise_save").click().run()
    work(app)
    found = models.facts_of(models.model(record.id)).preprocessing
    assert (found.resize, found.crop_mode, found.fill) == ((12, 12), "border", (114,) * 3)
    assert "surrounded by the colour 114, 114, 114; mean" in words(app)


def test_an_architecture_fills_in_the_librarys_values():
    app = opened("models")
    assert app.selectbox(key="model_architecture").value is None
    assert len(app.selectbox(key="model_architecture").options) > 1000
    control = app.segmented_control(key="model_preprocessing")
    assert "The library's" not in control.options
    app.selectbox(key="model_architecture").select("torchvision/inception_v3").run()
    app.segmented_control(key="model_preprocessing").set_value("library").run()
    assert "342 pixels" in words(app)
    app.segmented_control(key="model_preprocessing").set_value("own").run()
    assert app.number_input(key="model_resize").value == 342
    app.selectbox(key="model_architecture").select("timm/vit_tiny_patch16_224").run()
    assert app.number_input(key="model_resize").value == 248
    assert app.selectbox(key="model_interpolation").value == "bicubic"
    assert app.text_input(key="model_mean").value.split() == ["0.5"] * 3


def test_a_refused_file_is_one_sentence():
    app = opened("models")
    app.file_uploader(key="model_file").upload("x.pth", b"rubbish").run()
    app.text_input(key="model_name").set_value("Rubbish")
    app.button(key="model_add").click().run()
    work(app)
    assert len(app.error) == 1
    assert "not a model file" in words(app)
    assert not app.metric
    app.button(key="model_all").click().run()
    assert "model" not in app.query_params
    assert "Does not fit" in badges(app)
    assert "not a model file" in words(app)


def badges(app: AppTest) -> str:
    return "\n".join(part.value for part in app.markdown)


def test_the_list_names_each_with_its_state(home):
    first = stored(home)
    with session() as db:
        db.add(StoredModel(name="odd", spec={}, readiness=Readiness.READY, facts={"x": 1}))
    app = opened("models")
    assert not app.exception
    assert set(labels(app)) == {"Small", "odd"}
    assert "1,000 classes, 224 × 200 pixels, from small.pt2, preprocessing assumed" in words(app)
    assert "damaged" in words(app)
    queries = [link.proto.query_string for link in app.get("page_link")]
    assert f"model={first.id}" in "".join(queries)


def test_many_models_are_paged(home):
    for i in range(23):
        stored(home, name=f"model {i:02}")
    app = opened("models")
    assert len(labels(app)) == 20
    app.pagination(key="model_page").set_value(2).run()
    assert labels(app) == ["model 02", "model 01", "model 00"]


def test_rename_and_delete(home):
    record = stored(home)
    app = opened("models", model=record.id)
    app.text_input(key=f"model_new_name_{record.id}").set_value("  ")
    app.button(key=f"model_rename_{record.id}").click().run()
    assert "1 to 80" in app.error[0].value
    app.text_input(key=f"model_new_name_{record.id}").set_value("Better")
    app.button(key=f"model_rename_{record.id}").click().run()
    assert [each.value for each in app.title] == ["Better"]

    job = queue.submit(Kind.MODEL, "Check of Better", record.id, {})
    app.button(key=f"model_delete_{record.id}").click().run()
    assert "in use by" in words(app)
    queue.cancel(job.id)
    app.button(key=f"model_delete_{record.id}").click().run()
    assert models.list_models() == []
    assert "No model yet" in words(app)
    assert [entry.subject for entry in trash.entries()] == [record.id]


def test_predictions_are_pictures_with_names(home, tmp_path):
    named = Prediction(file=str(tmp_path / "gone.jpg"), class_name="stop sign", confidence=0.876)
    record = stored(home, predictions=(named,))
    app = opened("models", model=record.id)
    assert not app.exception
    assert "stop sign, 88 %" in words(app)


def test_numbers_for_names_are_explained(home, tmp_path):
    numbered = Prediction(file=str(tmp_path / "gone.jpg"), class_name="class 3", confidence=0.876)
    advice = "give them above to read names instead of numbers"
    record = stored(home, predictions=(numbered,))
    assert advice in words(opened("models", model=record.id))
    names = tuple(f"n{i}" for i in range(1000))
    record = stored(home, name="Named", predictions=(numbered,), class_names=names)
    assert advice not in words(opened("models", model=record.id))


def test_a_network_that_cannot_be_cut_says_so(home):
    record = stored(home, splits=())
    assert "GSC and other detectors" in words(opened("models", model=record.id))


@pytest.mark.parametrize("asked", ["gone", "../x", "x" * 500, EVIL])
def test_an_unknown_model_is_one_sentence(asked):
    app = opened("models", model=asked)
    assert not app.exception
    assert "no longer exists" in app.error[0].value


def test_hostile_names_stay_text(home):
    classes = Prediction(file="/nowhere/x.png", class_name=EVIL, confidence=0.5)
    split = SplitFacts(name=EVIL, shape=(1, 2, 2), linear=True, default=True)
    record = stored(home, name=EVIL, source=EVIL, predictions=(classes,), splits=(split,))
    with session() as db:
        bad = StoredModel(name=EVIL, spec={}, readiness=Readiness.REFUSED, sentence=EVIL)
        db.add(bad)
    for app in (
        opened("models"),
        opened("models", model=record.id),
        opened("models", model=bad.id),
    ):
        assert not app.exception
        parts = [*app.title, *app.markdown, *app.error, *app.warning, *app.caption]
        for part in parts:
            if ("-badge[" not in part.value) and "onerror" in part.value:
                text = re.sub(r"\\[^\w\s]", "", part.value.replace("**", ""))
                assert not re.search(r"[<>_`$#\[\]()]", text), part.value
        for label in labels(app):
            assert not re.search(r"[<>_`$#\[\]()]", re.sub(r"\\[^\w\s]", "", label))


def test_a_cancelled_check_can_be_tried_again(program):
    record = models.add_model(io.BytesIO(program), "small.pt2", name="Small")
    queue.cancel(queue.latest(record.id).id)
    app = opened("models", model=record.id)
    app.button(key=f"model_job_{record.id}_retry").click().run()
    assert queue.latest(record.id).state in queue.WAITING


def weights_of(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def added_weights(content: object, architecture: str) -> AppTest:
    """The page after weights were added and looked at."""
    app = opened("models")
    app.file_uploader(key="model_file").upload("mine.pt", weights_of(content)).run()
    app.selectbox(key="model_architecture").set_value(architecture).run()
    app.button(key="model_add").click().run()
    return work(app)


def test_a_question_about_options_is_answered_in_the_form():
    module = timm.create_model("test_vit", num_classes=4, img_size=64, global_pool="avg")
    app = added_weights(module.state_dict(), "timm/test_vit")
    assert "press “global_pool=avg” or “global_pool=" in words(app)
    assert "--" not in words(app)
    assert "Needs an answer" in badges(app)
    assert not app.error
    app.text_input(key="revise_options").set_value("global_pool avg").run()
    assert "is not understood" in app.error[0].value
    assert app.button(key="revise_save").disabled
    app.text_input(key="revise_options").set_value("--option global_pool=avg").run()
    app.button(key="revise_save").click().run()
    work(app)
    (record,) = models.list_models()
    assert record.question is None
    assert "Needs an answer" not in badges(app)
    assert models.spec_of(record).options == {"global_pool": "avg"}
    assert [each.value for each in app.info] == [
        plain("The network is built with img_size=64, which the shapes of the weights show.")
    ]
    height, width = models.facts_of(record).input_size
    assert (height, width) == (64, 64)


def test_a_question_is_answered_by_a_button():
    module = timm.create_model("test_vit", num_classes=4, img_size=64, global_pool="avg")
    app = added_weights(module.state_dict(), "timm/test_vit")
    answers = [button.label for button in app.button if "_answer_" in (button.key or "")]
    at = [label.replace("\\", "") for label in answers].index("global_pool=avg")
    app.button(key=f"model_answer_{at}").click().run()
    assert not app.exception
    assert "Being checked" in badges(app)
    work(app)
    (record,) = models.list_models()
    assert record.readiness is Readiness.READY
    assert models.spec_of(record).options == {"global_pool": "avg"}


def test_weights_without_an_architecture_need_an_answer():
    app = opened("models")
    content = timm.create_model("test_resnet", num_classes=4).state_dict()
    app.file_uploader(key="model_file").upload("mine.pt", weights_of(content)).run()
    app.button(key="model_add").click().run()
    work(app)
    assert "Needs an answer" in badges(app)
    assert "name the architecture, such as torchvision/resnet18 (Architecture)" in words(app)
    app.query_params.clear()
    assert "mine.pt holds only weights." in words(app.run())


def test_which_weights_is_asked_and_said():
    trained, averaged = (timm.create_model("test_resnet", num_classes=4) for _ in range(2))
    content = {"state_dict": trained.state_dict(), "state_dict_ema": averaged.state_dict()}
    app = added_weights(content, "timm/test_resnet")
    assert "press “Weights plain” or “Weights ema”" in words(app)
    app.selectbox(key="revise_weights").set_value("ema").run()
    app.button(key="revise_save").click().run()
    work(app)
    (record,) = models.list_models()
    assert models.spec_of(record).weights == "ema"
    facts = models.facts_of(record)
    assert "average over training (EMA)" in facts.notes[0]
    assert "state_dict, which was left out" in facts.notes[1]
    assert [each.value for each in app.info] == [plain(note) for note in facts.notes]
    assert "usual values of timm" in words(app)
