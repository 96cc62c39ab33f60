"""Stored models: what a stranger uploads, what the worker finds, what is left after
deleting."""

import hashlib
import io
import json
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from small_audit import PREPROCESS, known, model, read_with_pillow, save_program
from sqlmodel import select

from gsc_core.audit.spec import AuditSpec
from gsc_core.classifier import Preprocessing
from gsc_core.classifier.weights import architectures
from gsc_core.errors import GscError
from gsc_core.jobs import queue
from gsc_core.jobs.database import Kind, Readiness, StoredModel, StoredSet, session
from gsc_core.workspace import imagesets, models, trash
from gsc_core.workspace.model_facts import CHECKED_IMAGES

OURS = Preprocessing.parse(PREPROCESS)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> bytes:
    return save_program(tmp_path_factory.mktemp("model") / "small.pt2").read_bytes()


def added(content: bytes, file_name="small.pt2", name="Small", **extra) -> StoredModel:
    return models.add_model(io.BytesIO(content), file_name, name=name, **extra)


def looked(stored: StoredModel) -> StoredModel:
    job = queue.latest(stored.id, Kind.MODEL)
    models.look(job, lambda _: None)
    return models.model(stored.id)


def named(text: str, name: str) -> io.BytesIO:
    file = io.BytesIO(text.encode())
    file.name = name
    return file


def test_an_upload_is_kept_by_its_digest_and_a_look_is_queued(home, program):
    stored = added(program)
    digest = hashlib.sha256(program).hexdigest()
    assert (home / "models" / digest / "small.pt2").read_bytes() == program
    assert stored.readiness is Readiness.WAITING
    job = queue.latest(stored.id)
    assert (job.kind, job.subject) == (Kind.MODEL, stored.id)
    assert [each.name for each in (home / "models").iterdir()] == [digest]
    assert models.model(stored.id).name == "Small"


def test_a_look_finds_what_the_module_is(program):
    stored = looked(added(program, preprocessing=OURS))
    assert stored.readiness is Readiness.READY, stored.sentence
    facts = models.facts_of(stored)
    assert facts.sha256 == hashlib.sha256(program).hexdigest()
    assert facts.source == "small.pt2"
    assert (facts.num_classes, facts.class_names, facts.architecture) == (4, None, None)
    assert facts.parameters == sum(p.numel() for p in model().parameters())
    assert facts.input_size == (12, 12)
    assert facts.preprocessing == OURS
    assert [split.name for split in facts.splits if split.default] == ["block.1"]
    block = next(split for split in facts.splits if split.default)
    assert block.shape == (12, 6, 6)
    assert not block.linear
    assert facts.splits[-1].linear
    assert 0 < facts.seconds_per_image < 1
    assert facts.predictions == ()


def test_without_preprocessing_the_usual_is_assumed_and_said(program):
    facts = models.facts_of(looked(added(program)))
    assert facts.preprocessing.source == "assumed"
    assert facts.preprocessing.crop == (12, 12)


def test_it_names_pictures_of_the_newest_familiar_set(home, program, tmp_path):
    folder = known(tmp_path / "photos", 12, seed=5)
    stored_sets = add_sets(home, folder)
    names = named("north\neast\nsouth\nwest", "names.txt")
    facts = models.facts_of(looked(added(program, preprocessing=OURS, class_names=names)))
    assert facts.class_names == ("north", "east", "south", "west")
    assert len(facts.predictions) == 6
    assert len({each.file for each in facts.predictions}) == 6
    assert stored_sets
    for each in facts.predictions:
        with torch.no_grad():
            shares = model()(read_with_pillow(each.file)).softmax(dim=1)[0]
        assert each.class_name == facts.class_names[int(shares.argmax())]
        assert each.confidence == pytest.approx(float(shares.max()), abs=1e-4)
    labels = {each.file.split("/")[-2] for each in facts.predictions}
    assert len(labels) > 1, "from all over the set, not from its first class alone"


def test_images_from_all_over_the_set_are_compared_with_the_training(home, tmp_path):
    """Of six alone the mean and spread say little."""
    folder = known(tmp_path / "photos", 90, seed=5)
    add_sets(home, folder)
    paths = models._familiar_images()
    assert len(paths) == CHECKED_IMAGES
    every = sorted(path.relative_to(folder) for path in folder.rglob("*.png"))
    places = [every.index(Path(*path.parts[-len(every[0].parts) :])) for path in paths]
    assert places == list(range(0, 90, 3))


def add_sets(home, folder) -> list[StoredSet]:
    """The folder as a ready set, by the product's own way; and a newer one that is not ready."""
    files = [(str(path.relative_to(folder)), path) for path in sorted(folder.rglob("*.png"))]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        for name, path in files:
            zipped.write(path, name)
    archive.seek(0)
    stored = imagesets.add_upload([("photos.zip", archive)], name="photos", role="id")
    imagesets.look(queue.latest(stored.id, Kind.SET), lambda _: None)
    with session() as db:
        db.add(StoredSet(name="later", role="id", folder=str(home / "none")))
    return imagesets.list_sets("id")


@pytest.mark.slow
def test_weights_need_their_architecture_and_can_be_given_it_later():
    network = timm.create_model("timm/test_resnet".removeprefix("timm/"), num_classes=5)
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    stored = looked(added(file.getvalue(), "weights.pth"))
    assert stored.readiness is Readiness.REFUSED
    assert "name the architecture" in stored.sentence
    assert "\n" not in stored.sentence
    with pytest.raises(GscError, match="not ready"):
        models.facts_of(stored)

    models.revise_model(stored.id, architecture="timm/test_resnet")
    assert models.model(stored.id).readiness is Readiness.WAITING
    assert models.model(stored.id).sentence is None
    stored = looked(stored)
    assert stored.readiness is Readiness.READY, stored.sentence
    facts = models.facts_of(stored)
    assert (facts.architecture, facts.num_classes) == ("timm/test_resnet", 5)


def test_a_refusal_is_an_answer_and_no_failed_job():
    stored = looked(added(b"PK\x03\x04 not really", "broken.pt2"))
    assert stored.readiness is Readiness.REFUSED
    assert "damaged" in stored.sentence


@pytest.mark.slow
def test_class_names_that_do_not_fit_are_a_sentence_and_can_be_replaced(program):
    stored = looked(added(program, class_names=named('["a", "b"]', "x.JSON")))
    assert "4 classes" in stored.sentence
    assert "2 names" in stored.sentence
    models.revise_model(stored.id, class_names=named('["a", "b", "c", "d"]', "y.json"))
    assert models.facts_of(looked(stored)).class_names == ("a", "b", "c", "d")


@pytest.mark.slow
def test_a_look_of_before_a_revision_does_not_answer_for_it(program):
    stored = added(program)
    old = queue.latest(stored.id, Kind.MODEL)

    def revising(_):
        if models.model(stored.id).spec["preprocessing"] is None:
            models.revise_model(stored.id, preprocessing=OURS)

    models.look(old, revising)
    assert models.model(stored.id).readiness is Readiness.WAITING
    assert models.facts_of(looked(stored)).preprocessing == OURS


def test_a_look_at_a_deleted_model_does_nothing(program):
    stored = added(program)
    job = queue.latest(stored.id)
    queue.cancel(job.id)
    models.delete_model(stored.id)
    models.look(job, lambda _: None)
    assert models.list_models() == []


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("../../etc/passwd.pt2", "passwd.pt2"),
        ("C:\\models\\..\\evil.pt", "evil.pt"),
        (".hidden.pth", "hidden.pth"),
        ("a b;$(rm -rf)\n\0<x>.safetensors", "a_b___rm_-rf____x_.safetensors"),
        ("模型.pt2", "模型.pt2"),
    ],
)
def test_only_a_harmless_part_of_a_file_name_is_kept(home, program, said, kept):
    path = models.spec_of(added(program, said)).checkpoint
    assert path.name == kept
    assert path.parent.parent == home / "models"


def test_a_long_name_keeps_its_suffix_and_fits_a_disk(program):
    path = models.spec_of(added(program, "ü" * 300 + ".pt2")).checkpoint
    assert path.suffix == ".pt2"
    assert len(path.name.encode()) <= 100


@pytest.mark.parametrize("said", ["model.pkl", "model", "x.pt2.rar", "", "..", "/", "a/.pt2"])
def test_other_kinds_of_files_are_refused_at_once(home, program, said):
    with pytest.raises(GscError, match=r"ends in \.pt2"):
        added(program, said)
    assert not list((home / "models").glob("*"))


@pytest.mark.slow
@pytest.mark.parametrize("said", ["model_best.pth.tar", "last.ckpt", "pytorch_model.bin"])
def test_weights_are_taken_by_every_name_that_training_gives_them(said):
    file = io.BytesIO()
    torch.manual_seed(0)  # one in some forty has noise outputs that look like probabilities
    network = timm.create_model("test_vit", num_classes=4)
    torch.save({"epoch": 3, "state_dict": network.state_dict()}, file)
    stored = looked(added(file.getvalue(), said, architecture="timm/test_vit"))
    assert models.spec_of(stored).checkpoint.name == said
    assert stored.readiness is Readiness.READY, stored.sentence


def test_an_empty_upload_leaves_nothing(home):
    with pytest.raises(GscError, match="empty"):
        added(b"")
    assert not list((home / "models").iterdir())
    assert models.list_models() == []


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "a\nb", "a\u202eb"])
def test_a_name_is_1_to_80_printable_characters(home, program, name):
    with pytest.raises(GscError, match="1 to 80"):
        added(program, name=name)
    stored = added(program)
    with pytest.raises(GscError, match="1 to 80"):
        models.rename_model(stored.id, name)
    models.rename_model(stored.id, " Better ")
    assert models.model(stored.id).name == "Better"


def test_the_same_file_twice_is_kept_once_until_the_last_record_goes(home, program):
    first, second = added(program), added(program, name="Again")
    assert [each.name for each in models.list_models()] == ["Again", "Small"]
    path = models.spec_of(first).checkpoint
    assert path == models.spec_of(second).checkpoint
    for each in (first, second):
        queue.cancel(queue.latest(each.id).id)
    models.delete_model(first.id)
    assert path.exists()
    models.delete_model(second.id)
    assert path.exists(), "it can be restored"
    trash.empty(time.time() + 8 * 86_400)
    assert not path.exists()
    assert not list((home / "models").iterdir())


def test_deleting_takes_lists_of_classes_of_before_too(home, program):
    stored = added(program, class_names=named("cat\ndog\n", "names.txt"))
    models.revise_model(stored.id, class_names=named("dog\ncat\n", "names.txt"))
    assert len(list(models.spec_of(models.model(stored.id)).checkpoint.parent.iterdir())) == 3
    for job in queue.jobs():
        queue.cancel(job.id)
    models.delete_model(stored.id)
    trash.empty(time.time() + 8 * 86_400)
    assert list((home / "models").iterdir()) == []
    assert queue.jobs() == []


@pytest.mark.parametrize("folder", ["", "mine", "mine/sub"])
def test_deleting_takes_no_folder_that_an_upload_did_not_make(home, folder):
    outside = home / "models" / folder / "own.pt2"
    outside.parent.mkdir(parents=True)
    outside.write_bytes(b"x")
    with session() as db:
        stored = StoredModel(name="odd", spec={"checkpoint": str(outside)})
        db.add(stored)
    models.delete_model(stored.id)
    trash.empty(time.time() + 8 * 86_400)
    assert outside.exists()


def test_a_model_is_never_without_a_job_to_look_at_it(home, program, monkeypatch):
    """As when the process is killed between the two."""

    def killed(*_, **__):
        raise KeyboardInterrupt

    stored = looked(added(program, preprocessing=OURS))
    monkeypatch.setattr(queue, "submit", killed)
    with pytest.raises(KeyboardInterrupt):
        added(program, name="Second")
    with pytest.raises(KeyboardInterrupt):
        models.revise_model(stored.id)
    assert [(m.name, m.readiness) for m in models.list_models()] == [("Small", Readiness.READY)]


def test_deleting_touches_no_file_outside_the_workspace(program, tmp_path):
    outside = tmp_path / "own.pt2"
    outside.write_bytes(program)
    spec = {"checkpoint": str(outside)}
    with session() as db:
        stored = StoredModel(name="demo", spec=spec, readiness=Readiness.READY)
        db.add(stored)
    models.delete_model(stored.id)
    assert outside.exists()


def test_a_model_in_use_is_not_deleted(home, program):
    stored = added(program)
    with pytest.raises(GscError, match="in use"):
        models.delete_model(stored.id)  # its own check waits
    queue.cancel(queue.latest(stored.id).id)

    spec = AuditSpec(
        model=models.spec_of(stored),
        id=home,
        ood={"x": home},
        detectors=({"name": "msp"},),
    ).model_dump(mode="json")
    audit = queue.submit(Kind.AUDIT, "My audit", "run1", {"spec": spec})
    with pytest.raises(GscError, match="My audit"):
        models.delete_model(stored.id)
    queue.cancel(audit.id)

    (home / "runs/run1").mkdir(parents=True)
    (home / "runs/run1/spec.json").write_text(json.dumps(spec))
    explain = queue.submit(Kind.EXPLAIN, "An image", "run1", {"row": 3})
    with pytest.raises(GscError, match="An image"):
        models.delete_model(stored.id)
    queue.cancel(explain.id)

    models.delete_model(stored.id)
    with session() as db:
        assert db.exec(select(StoredModel)).all() == []
    with pytest.raises(GscError, match="no longer exists"):
        models.model(stored.id)


def test_a_record_whose_file_vanished_says_so(program):
    stored = added(program)
    models.spec_of(stored).checkpoint.unlink()
    with pytest.raises(GscError, match="upload it again"):
        models.spec_of(stored)
    stored = looked(stored)
    assert stored.readiness is Readiness.REFUSED
    assert "gone from the workspace" in stored.sentence


def test_a_damaged_record_is_a_sentence(program):
    with session() as db:
        stored = StoredModel(name="odd", spec={"checkpoint": 3}, readiness=Readiness.READY)
        db.add(stored)
    with pytest.raises(GscError, match="damaged"):
        models.spec_of(stored)
    with pytest.raises(GscError, match="damaged"):
        models.facts_of(stored)


@pytest.mark.parametrize(
    ("name", "resize", "crop", "interpolation", "mean"),
    [
        ("torchvision/resnet18", 256, (224, 224), "bilinear", 0.485),
        ("resnet50", 232, (224, 224), "bilinear", 0.485),
        ("timm/vit_tiny_patch16_224", 248, (224, 224), "bicubic", 0.5),
        ("torchvision/inception_v3", 342, (299, 299), "bilinear", 0.485),
    ],
)
def test_usual_preprocessing_is_that_of_the_library(name, resize, crop, interpolation, mean):
    """Figures from the libraries' own documentation of their weights."""
    usual = architectures.usual_preprocessing(name)
    assert (usual.resize, usual.crop, usual.interpolation) == (resize, crop, interpolation)
    assert usual.mean[0] == pytest.approx(mean)
    assert usual.source == "library"


def test_usual_preprocessing_is_assumed_where_the_library_has_none():
    assert architectures.usual_preprocessing("timm/test_byobnet").source in ("library", "assumed")
    with pytest.raises(GscError, match="no architecture"):
        architectures.usual_preprocessing("no-such-net")


def test_a_network_whose_logits_are_no_numbers_is_refused(tmp_path):
    class Odd(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = torch.nn.Linear(3, 4)

        def forward(self, x):
            return self.fc(x.mean(dim=(2, 3))).abs().neg().sqrt()

    shapes = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(
        Odd().eval(), (torch.zeros(2, 3, 12, 12),), dynamic_shapes=shapes
    )
    torch.export.save(exported, tmp_path / "odd.pt2")
    stored = looked(added((tmp_path / "odd.pt2").read_bytes(), "odd.pt2"))
    assert stored.readiness is Readiness.REFUSED
    assert "not numbers" in stored.sentence


def test_pictures_lost_since_are_passed_over(home, program, tmp_path):
    folder = known(tmp_path / "photos", 12, seed=5)
    (stored, *_) = [each for each in add_sets(home, folder) if each.images]
    files = sorted(Path(stored.folder).rglob("*.png"))
    for path in files[: len(files) // 2]:
        path.unlink()
    Image.fromarray(np.zeros((12, 12, 3), np.uint8)).save(files[-1])
    facts = models.facts_of(looked(added(program, preprocessing=OURS)))
    assert 0 < len(facts.predictions) < 6


def test_a_lost_table_of_pictures_is_no_fault_of_the_model(home, program, tmp_path):
    folder = known(tmp_path / "photos", 12, seed=5)
    for each in add_sets(home, folder):
        (home / "imagesets" / each.id / "members.parquet").unlink(missing_ok=True)
    stored = looked(added(program, preprocessing=OURS))
    assert stored.readiness is Readiness.READY
    assert models.facts_of(stored).predictions == ()
