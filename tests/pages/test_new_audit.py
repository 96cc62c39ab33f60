"""The page New audit: what is missing, what can be chosen, what is then asked of the worker."""

import re
import shutil
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import streamlit as st
from filled_workspace import SETS, fill, work_off
from opened_page import opened, words
from sqlmodel import select
from streamlit.testing.v1 import AppTest

from gsc_core.audit.spec import AuditSpec
from gsc_core.demo import DEMO_WEIGHTS
from gsc_core.detectors.auto_ensemble import MEMBERS
from gsc_core.detectors.catalogue import CATALOGUE
from gsc_core.detectors.gsc import GSC
from gsc_core.errors.questions import Answer, Question, Setting
from gsc_core.jobs import queue
from gsc_core.jobs.database import Job, Kind, Readiness, State, StoredModel, StoredSet, session
from gsc_core.workspace import imagesets, models
from pages.parts.new_audit.detectors import BEST, USUAL

TITLES = {each.name: each.title for each in CATALOGUE}


NAMES = {part.name for part in MEMBERS}


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Path:
    """A workspace with a model and sets, to be copied."""
    folder = tmp_path_factory.mktemp("filled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GSC_HOME", str(folder / "home"))
        fill(folder / "files")
    return folder / "home"


@pytest.fixture
def home(filled, tmp_path, monkeypatch) -> Path:
    shutil.copytree(filled, tmp_path / "home")
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def empty(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "empty"))
    return tmp_path / "empty"


def submitted() -> Job:
    (job,) = queue.jobs(kinds=(Kind.AUDIT,))
    return job


def asked() -> AuditSpec:
    return AuditSpec.model_validate(submitted().payload["spec"])


def seconds(app: AppTest) -> float:
    """The estimate as the page says it."""
    said = re.search(r"About (?:(\d+) min ?)?(?:(\d+) s)?\*\* for", words(app))
    assert said is not None, words(app)
    return 60 * float(said[1] or 0) + float(said[2] or 0)


def add_set(name: str, role: str, folder: Path) -> None:
    """A record as an older program could have left it: no check of its name."""
    known = next(each for each in imagesets.list_sets() if each.name == "noise")
    with session() as db:
        fields = known.model_dump(exclude={"id", "created"})
        db.add(StoredSet(**(fields | {"name": name, "role": role, "folder": str(folder)})))


def keys_of(app: AppTest) -> set[str]:
    kinds = ("selectbox", "multiselect", "slider", "number_input", "text_input", "button")
    return {widget.key for kind in kinds for widget in getattr(app, kind)}


def test_without_anything_it_says_what_is_missing(empty):
    app = opened("new_audit")
    assert not app.exception
    assert "needs three things" in words(app)
    assert "audit_start" not in keys_of(app)
    links = [link.proto.label for link in app.get("page_link")]
    assert [link.split("**")[1] for link in links[:3]] == [
        "A model",
        "Familiar images",
        "Unfamiliar images",
    ]


QUESTION = Question(doubt="Why", answers=(Answer.of(Setting.OPTIONS, "a=1"),))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"readiness": Readiness.WAITING}, "is being checked"),
        (
            {"readiness": Readiness.REFUSED, "question": QUESTION.model_dump(mode="json")},
            "needs an answer",
        ),
        ({"readiness": Readiness.REFUSED, "sentence": "No."}, "cannot be used as it is"),
    ],
)
@pytest.mark.parametrize("page", ["new_audit", "home"])
def test_what_is_there_but_not_ready_is_not_called_missing(home, page, state, said):
    """Each of the three things, by its name, with a link to where its question is answered."""
    with session() as at:
        for record in [*at.exec(select(StoredModel)), *at.exec(select(StoredSet))]:
            for name, value in state.items():
                setattr(record, name, value)
            at.add(record)
        at.commit()
    (model,) = models.list_models()
    app = opened(page)
    assert not app.exception
    labels = {link.proto.label: link.proto for link in app.get("page_link")}
    link = labels[f"**A model**: {model.name} {said}"]
    assert f"model={model.id}" in link.query_string
    assert sum(label.endswith(said) for label in labels) == 3
    assert "your classifier, a file" not in words(app)


def test_what_is_still_looked_at_is_waited_for(empty, tmp_path):
    (tmp_path / "x.pt2").write_bytes(b"not yet looked at")
    with (tmp_path / "x.pt2").open("rb") as file:
        models.add_model(file, "x.pt2", name="x")
    app = opened("new_audit")
    assert "is being checked" in words(app)
    assert "audit_start" not in keys_of(app)


@pytest.mark.slow
def test_the_cluster_is_offered_where_the_operator_has_one(home, monkeypatch):
    monkeypatch.setenv("GSC_RAY_ADDRESS", "head:6379")
    app = opened("new_audit")
    app.toggle(key="audit_cluster").set_value(True).run()
    app.button(key="audit_start").click().run()
    assert not app.exception
    assert asked().engine == "ray"


@pytest.mark.slow
def test_a_press_on_start_asks_for_what_is_shown(home):
    app = opened("new_audit")
    assert not app.exception
    assert f"130 images and {len(MEMBERS) + len(set(BEST) - NAMES)} detectors" in words(app)
    assert "40 familiar images teach" in words(app)
    app.button(key="audit_start").click().run()
    assert not app.exception
    assert app.query_params["run"] == submitted().subject
    spec, job = asked(), submitted()
    folders = {each.name: Path(each.folder) for each in imagesets.list_sets()}
    (model,) = models.list_models()
    assert spec.model == models.spec_of(model)
    assert (spec.id, spec.calibration) == (folders["photos"], 0.5)
    assert set(spec.ood.values()) <= {folders["noise"], folders["faint"]}
    assert tuple(each.name for each in spec.detectors) == BEST
    assert not any(each.settings for each in spec.detectors)
    assert (spec.split, spec.device, spec.batch_size, spec.seed) == (None, "auto", None, 0)
    assert (job.title, job.images_total) == ("small on photos", 130 + 40)
    assert spec.engine == "local"
    assert "audit_cluster" not in [toggle.key for toggle in app.toggle]
    again = opened("new_audit")
    assert again.text_input(key="audit_title").placeholder == "small on photos (2)"


@pytest.mark.slow
def test_a_set_too_small_to_judge_by_is_not_chosen_at_first_and_says_why(home):
    with session() as db:
        for role in ("id", "ood"):
            stored = db.exec(select(StoredSet).where(StoredSet.role == role)).first()
            fields = stored.model_dump(exclude={"id", "created"})
            db.add(StoredSet(id=f"few-{role}", **(fields | {"name": "few", "images": 3})))
    app = opened("new_audit")
    assert app.selectbox(key="audit_id_set").value not in (None, "few-id")
    assert app.multiselect(key="audit_ood_sets").value not in ([], ["few-ood"])
    assert words(app).count("few was not chosen for you: with 3 images") == 2
    app.selectbox(key="audit_id_set").select("few, 3 images").run()
    assert not app.exception
    assert words(app).count("few was not chosen for you") == 1


@pytest.mark.slow
def test_what_is_of_the_demo_stands_last_and_is_no_default_for_a_persons_own(home):
    with session() as db:
        (noise,) = db.exec(select(StoredSet).where(StoredSet.name == "noise"))
        fields = noise.model_dump(exclude={"id", "created"})
        for role in ("id", "ood"):
            db.add(StoredSet(id=f"demo-{role}", **(fields | {"name": "signs", "role": role})))
    app = opened("new_audit")
    for widget in (app.selectbox(key="audit_id_set"), app.multiselect(key="audit_ood_sets")):
        assert [option.startswith("Demo: signs") for option in widget.options][-1]
        assert not any(option.startswith("Demo") for option in widget.options[:-1])
    assert app.selectbox(key="audit_id_set").value != "demo-id"
    with session() as db:  # of one's own there are none that are ready
        for stored in db.exec(select(StoredSet).where(StoredSet.owned == False)):  # noqa: E712
            if not stored.id.startswith("demo-"):
                stored.readiness = Readiness.WAITING
                db.add(stored)
    app = opened("new_audit")
    assert not app.exception
    assert app.selectbox(key="audit_id_set").value is None
    assert app.multiselect(key="audit_ood_sets").value == []
    assert "photos is still being checked" in words(app)
    assert "audit_start" not in keys_of(app)
    with session() as db:
        for stored in db.exec(select(StoredSet)):
            stored.readiness = Readiness.READY
            db.add(stored)
    app.run()  # which the page does by itself
    assert not app.exception
    assert app.selectbox(key="audit_id_set").value not in (None, "demo-id")
    assert app.multiselect(key="audit_ood_sets").value not in ([], ["demo-ood"])
    assert not app.button(key="audit_start").disabled


@pytest.mark.slow
def test_two_presses_start_one_audit_and_a_later_press_another(home, monkeypatch):
    app = opened("new_audit")
    with monkeypatch.context() as patch:
        led = []
        patch.setattr(st, "switch_page", lambda _, query_params: led.append(query_params["run"]))
        for _ in range(2):  # the second press comes before the reader is led away
            app.button(key="audit_start").click().run()
        assert led == [submitted().subject] * 2
    app.run()
    app.button(key="audit_start").click().run()
    assert len(queue.jobs(kinds=(Kind.AUDIT,))) == 2


@pytest.mark.parametrize("junk", ["inf", "-1e999", "nan", "", "x" * 4000, "[]", "7.5"])
def test_junk_in_the_address_is_no_error(home, junk):
    keys = ("audit_seed", "audit_batch", "knob_gsc_seed", "audit_share", "audit_model")
    more = ("audit_ood_sets", "audit_detectors", "audit_split", "audit_device", "audit_title")
    more += ("audit_precision", "audit_compiled", "audit_label_order")
    app = opened("new_audit", **dict.fromkeys((*keys, *more), junk))
    assert not app.exception
    assert app.slider(key="audit_share").value == (7 if junk == "7.5" else 50)
    assert app.number_input(key="audit_seed").value == (7.5 if junk == "7.5" else 0)


@pytest.mark.slow
def test_every_choice_reaches_the_job(home):
    app = opened("new_audit")
    app.multiselect(key="audit_ood_sets").set_value([s.id for s in imagesets.list_sets("ood")])
    app.selectbox(key="audit_calibration").select("more photos, 60 images")
    app.text_input(key="audit_title").set_value("Try **this**")
    app.selectbox(key="audit_device").select("cpu")
    app.selectbox(key="audit_label_order").set_value("from-1")
    app.selectbox(key="audit_precision").select("bf16: fastest, scores differ")
    app.number_input(key="audit_seed").set_value(7)
    app.number_input(key="audit_batch").set_value(16)
    app.slider(key="knob_gsc_share").set_value(0.1)
    app.selectbox(key="knob_gsc_granularity").select("channel")
    app.number_input(key="knob_knn_k").set_value(3)
    splits = models.facts_of(models.list_models()[0]).splits
    other = next(each for each in splits if not each.default)
    app.selectbox(key="audit_split").set_value(other.name)
    app.run()
    assert not app.exception
    assert "audit_share" not in keys_of(app)
    assert "60 familiar images teach" in words(app)
    app.button(key="audit_start").click().run()
    spec = asked()
    assert set(spec.ood) == {"noise", "faint"}
    assert spec.calibration == Path(imagesets.list_sets("calibration")[0].folder)
    assert (spec.device, spec.seed, spec.batch_size) == ("cpu", 7, 16)
    assert spec.label_order == "from-1"
    assert (spec.precision, spec.compiled) == ("bf16", False)
    assert spec.split == other.name
    settings = {each.name: each.settings for each in spec.detectors}
    assert settings["gsc"] == {"share": 0.1, "granularity": "channel"}
    assert settings["knn"] == {"k": 3}
    assert submitted().title == "Try **this**"


@pytest.mark.slow
def test_gsc_shows_every_one_of_its_settings_with_words_and_default(home):
    app = opened("new_audit")
    for knob in GSC.knobs():
        kinds = ("selectbox", "slider", "number_input")
        (widget,) = (
            each
            for kind in kinds
            for each in getattr(app, kind)
            if each.key == f"knob_gsc_{knob.name}"
        )
        label, about = (re.sub(r"[\\\u2060]", "", text) for text in (widget.label, widget.help))
        assert knob.about in label
        assert str(knob.default) in about
        assert widget.value == knob.default


@pytest.mark.slow
def test_all_and_quick_and_the_price_of_further_passes(home):
    app = opened("new_audit")
    quick = seconds(app)
    app.button(key="audit_all").click().run()
    assert app.multiselect(key="audit_detectors").value == list(TITLES)
    assert f"{len(TITLES)} detectors" in words(app)
    assert seconds(app) >= quick
    app.button(key="audit_quick").click().run()
    assert tuple(app.multiselect(key="audit_detectors").value) == USUAL


@pytest.mark.slow
def test_gsc_that_sets_itself_is_recommended_and_what_is_set_of_it_reaches_the_job(home):
    app = opened("new_audit")
    picked = app.multiselect(key="audit_detectors")
    assert picked.value[0] == "auto-ensemble"
    assert [label for label in picked.options if "recommended" in label] == [
        f"{TITLES['auto-ensemble']} (recommended)"
    ]
    assert app.slider(key="knob_gsc_auto_share").value == 0
    app.slider(key="knob_gsc_auto_share").set_value(0.05)
    app.selectbox(key="knob_gsc_auto_layer").select("split").run()
    app.button(key="audit_start").click().run()
    settings = {each.name: each.settings for each in asked().detectors}
    assert settings["gsc-auto"] == {"layer": "split", "share": 0.05}


@pytest.mark.slow
def test_an_ensemble_brings_those_it_weighs(home):
    app = opened("new_audit")
    app.button(key="audit_quick").click().run()
    assert "detectors that it weighs" not in words(app)
    app.button(key="audit_best").click().run()
    assert tuple(app.multiselect(key="audit_detectors").value) == BEST
    beside = {"gsc-auto"} | NAMES | set(BEST)
    assert f"130 images and {len(beside)} detectors" in words(app)
    assert f"The {len(NAMES) + 1} detectors that it weighs" in words(app)


def test_the_catalogue_says_what_each_detector_costs(home):
    app = opened("new_audit")
    (table,) = (each.value for each in app.dataframe)
    assert list(table.index) == list(TITLES.values())
    assert table.loc[TITLES["odin"], "Extra passes"] > 1
    assert "gradient" in table.loc[TITLES["gsc"], "Reads"]
    assert dict(table["Family"]) == {each.title: each.family.value for each in CATALOGUE}
    assert table.loc[TITLES["ash"], "Known to fail on"] == "transformers"
    assert table.loc[TITLES["knn"], "Known to fail on"] == "–"


@pytest.mark.parametrize("key", ["audit_ood_sets", "audit_detectors"])
def test_nothing_starts_without_strangers_or_detectors(home, key):
    app = opened("new_audit")
    app.multiselect(key=key).set_value([]).run()
    assert not app.exception
    assert app.button(key="audit_start").disabled
    assert "Choose at least one" in words(app)
    assert queue.jobs(kinds=(Kind.AUDIT,)) == []


def test_two_sets_of_one_name_are_told_apart_and_refused_together(home):
    add_set("noise", "ood", Path("/elsewhere"))
    app = opened("new_audit")
    options = app.multiselect(key="audit_ood_sets").options
    assert len(set(options)) == len(options) == 3
    both = [each.id for each in imagesets.list_sets("ood") if each.name == "noise"]
    app.multiselect(key="audit_ood_sets").set_value(both).run()
    app.button(key="audit_start").click().run()
    assert not app.exception
    assert 'are named "noise": rename one of them' in words(app)
    assert queue.jobs(kinds=(Kind.AUDIT,)) == []


def test_a_reserved_name_is_one_sentence(home):
    add_set("mean", "ood", Path("/elsewhere"))
    app = opened("new_audit")
    mean = next(each.id for each in imagesets.list_sets("ood") if each.name == "mean")
    app.multiselect(key="audit_ood_sets").set_value([mean]).run()
    app.button(key="audit_start").click().run()
    (error,) = app.error
    assert "cannot be named" in error.value


@pytest.mark.slow
def test_a_lost_model_file_is_one_sentence(home):
    for file in (home / "models").rglob("*.pt2"):
        file.unlink()
    with session() as db:  # the copy's record leads to its own folder
        (model,) = models.list_models()
        model.spec = model.spec | {"checkpoint": str(home / "models" / "gone.pt2")}
        db.add(model)
    app = opened("new_audit")
    app.button(key="audit_start").click().run()
    assert not app.exception
    assert "gone" in words(app)
    assert queue.jobs(kinds=(Kind.AUDIT,)) == []


@pytest.mark.slow
def test_pictures_without_labels_are_said_to_have_none(home):
    assert "no labels" not in words(opened("new_audit"))
    add_set("unnamed", "id", Path("/elsewhere"))
    app = opened("new_audit")
    app.selectbox(key="audit_id_set").select("unnamed, 40 images").run()
    assert "no labels" in words(app)
    assert "20 calibration images are few" in words(app)


@pytest.mark.slow
def test_another_model_has_other_layers(home):
    with DEMO_WEIGHTS.open("rb") as file:
        models.add_model(file, DEMO_WEIGHTS.name, name="signs")
    work_off()
    app = opened("new_audit")
    assert app.selectbox(key="audit_model").options == ["signs", "small"]
    app.selectbox(key="audit_split").set_value("layer2").run()
    app.selectbox(key="audit_model").select("small").run()
    assert not app.exception
    known = {each.name for each in models.facts_of(models.list_models()[1]).splits}
    assert app.selectbox(key="audit_split").value in known
    app.button(key="audit_start").click().run()
    assert asked().split is None


def test_the_address_keeps_the_choices(home):
    app = opened(
        "new_audit", audit_share="20", audit_detectors=TITLES["energy"], knob_gsc_share="0.3"
    )
    assert app.slider(key="audit_share").value == 20
    assert app.multiselect(key="audit_detectors").value == ["energy"]
    assert "16 familiar images teach" in words(app)


def test_the_queue_before_it_is_told(home):
    queue.submit(Kind.AUDIT, "first", "first", {})
    queue.submit(Kind.ABLATION, "second", "second", {})
    assert "2 ahead of it in the queue" in words(opened("new_audit"))


@pytest.mark.slow
def test_hostile_names_stay_what_they_are(home):
    name = "![x](http://evil) :material/home: **b** <i>"
    add_set(name, "ood", Path("/elsewhere"))
    app = opened("new_audit")
    assert not app.exception
    assert f"{name}, 40 images" in app.multiselect(key="audit_ood_sets").options


def test_a_damaged_index_is_one_sentence(empty):
    empty.mkdir()
    (empty / "workspace.db").write_bytes(b"no database at all" * 100)
    app = opened("new_audit")
    assert not app.exception
    assert "damaged" in words(app)


def test_the_stage_is_what_these_tests_think(home):
    assert {each.name: each.role for each in imagesets.list_sets()} == SETS


@pytest.mark.slow
def test_choosing_anew_fills_the_form_as_it_was(home):
    """A failed audit that asks for a choice leads back to all other choices."""
    app = opened("new_audit")
    app.multiselect(key="audit_detectors").set_value(["gsc", "knn"])
    app.multiselect(key="audit_ood_sets").set_value(app.multiselect(key="audit_ood_sets").options)
    app.run()
    before = asked_now(app)
    app.button(key="audit_start").click().run()
    with session() as db:
        job = db.get(Job, submitted().id)
        job.state, job.error = State.FAILED, "Choose the label order text."
        db.add(job)
        for record in (models.list_models()[0], imagesets.list_sets("id")[0]):  # newer ones
            fields = record.model_dump(exclude={"id", "created"})
            other = {"name": "newer", "folder": str(home), "spec": {"checkpoint": "other.pt2"}}
            db.add(type(record)(**(fields | other)))
    (link,) = [
        each.proto for each in opened("runs").get("page_link") if each.proto.label == "Choose again"
    ]
    assert asked_now(opened("new_audit", **parse_qs(link.query_string))) == before


def asked_now(app: AppTest) -> tuple[object, ...]:
    return tuple(
        widget.value
        for widget in (
            app.selectbox(key="audit_model"),
            app.selectbox(key="audit_id_set"),
            app.multiselect(key="audit_ood_sets"),
            app.multiselect(key="audit_detectors"),
        )
    )
