"""One set of images as people have it, in many layouts: the accuracy is right, or the audit asks.

The demo's network names nearly every sign of its own kind, so a wrong order of the classes, or a
part of the data taken for a class, cannot hide.
"""

import csv
import shutil
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from command_line import gsc, refused

from gsc_core.audit.answers import answered
from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec
from gsc_core.demo import CLASS_NAMES, DEMO_WEIGHTS, render_demo
from gsc_core.demo.render import Sizes
from gsc_core.errors import GscError
from gsc_core.run.stored import Run

pytestmark = pytest.mark.slow

RIGHT = 0.9
K = len(CLASS_NAMES)


@pytest.fixture(scope="module")
def signs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Signs below `id/<class>`, eight of each class, and a few textures as unfamiliar images."""
    into = tmp_path_factory.mktemp("signs") / "demo"
    render_demo(into, sizes=Sizes(calibration=0, id=8 * K, ood=6))
    return into


def laid_out(signs: Path, into: Path, place: dict[str, str]) -> Path:
    """Each class's images below the folder of that name; a class without one is absent."""
    for name, folder in place.items():
        shutil.copytree(signs / "id" / name, into / folder)
    return into


def audited(signs: Path, images: Path, out: Path, **more: object) -> Run:
    spec = AuditSpec(
        model=ModelSpec(checkpoint=DEMO_WEIGHTS),
        id=images,
        ood={"textures": signs / "ood" / "textures"},
        detectors=(DetectorSpec(name="energy"),),
        repeats=10,
        **more,
    )
    return run_audit(spec, out)


def right(run: Run) -> bool:
    assert run.id_accuracy is not None
    return run.id_accuracy >= RIGHT


def test_folders_with_the_classes_names(signs, tmp_path):
    run = audited(signs, signs / "id", tmp_path / "run")
    assert right(run)
    assert "class names" in run.settings.labels


def test_folders_numbered_as_the_classes_are(signs, tmp_path):
    numbered = {name: str(at) for at, name in enumerate(CLASS_NAMES)}
    assert right(audited(signs, laid_out(signs, tmp_path / "id", numbered), tmp_path / "run"))


@pytest.mark.parametrize(
    ("order", "folders"),
    [
        ("text", sorted(map(str, range(K)))),
        ("from-1", [str(at + 1) for at in range(K)]),
        ("from-1", [str(at + 1) for at in range(K - 1)]),
    ],
)
def test_another_order_is_asked_about_and_then_right(signs, tmp_path, order, folders):
    place = dict(zip(CLASS_NAMES, folders, strict=False))
    images = laid_out(signs, tmp_path / "id", place)
    with pytest.raises(GscError, match=f"label_order {order}") as asked:
        audited(signs, images, tmp_path / "run")
    assert str(asked.value).count(". ") == 0
    run = audited(signs, images, tmp_path / "run", label_order=order)
    assert right(run)
    (check,) = (check for check in run.document.checks if check.name == "class order")
    assert check.sentence == run.settings.labels


def test_the_terminal_names_the_rule_and_offers_the_other_order(signs, tmp_path):
    place = {name: str(at + 1) for at, name in enumerate(CLASS_NAMES[:-1])}
    images = laid_out(signs, tmp_path / "id", place)
    command = [
        "audit", "--model", DEMO_WEIGHTS, "--id", images, "--detectors", "energy",
        "--ood", f"textures={signs / 'ood' / 'textures'}", "--out", tmp_path / "run",
    ]  # fmt: skip
    refused(gsc(*command), tmp_path / "run", "choose --label-order from-1 (if")
    ran = gsc(*command, "--label-order", "from-1")
    assert ran.code == 0
    assert "Labels are class numbers that begin with 1." in ran.out


def in_parts(signs: Path, into: Path, parts: Sequence[str]) -> Path:
    """The images in turn below each of the parts, by class."""
    for at, path in enumerate(sorted((signs / "id").rglob("*.jpg"))):
        folder = into / parts[at % len(parts)] / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    return into


@pytest.mark.parametrize("parts", [("train", "test"), ("Training", "images/Valid"), ("a", "b")])
def test_the_root_of_a_data_set_is_named_and_its_part_is_right(signs, tmp_path, parts):
    images = in_parts(signs, tmp_path / "set", parts)
    if parts[1] == "images/Valid":
        shutil.move(images / "Training", images / "images" / "Training")
    first = {"a": "a", "train": "test", "Training": "images/Valid"}[parts[0]]
    with pytest.raises(GscError, match=f"choose its folder {first} alone or "):
        audited(signs, images, tmp_path / "run")
    assert right(audited(signs, images / parts[1], tmp_path / "run"))


def test_the_root_of_a_data_set_serves_as_unfamiliar_images(signs, tmp_path):
    for part in ("train", "test"):
        shutil.copytree(signs / "ood" / "textures", tmp_path / "ood" / part)
        for at, path in enumerate(sorted((tmp_path / "ood" / part).iterdir())):
            if at % 2 == (part == "test"):
                path.unlink()
    spec = AuditSpec(
        model=ModelSpec(checkpoint=DEMO_WEIGHTS),
        id=signs / "id",
        ood={"textures": tmp_path / "ood"},
        detectors=(DetectorSpec(name="energy"),),
        repeats=10,
    )
    assert right(run_audit(spec, tmp_path / "run"))


def flat(signs: Path, into: Path) -> Iterable[tuple[str, str]]:
    """All images in one folder, with the name and the class of each."""
    into.mkdir()
    for path in sorted((signs / "id").rglob("*.jpg")):
        name = f"img_{len(list(into.iterdir())):04}.jpg"
        shutil.copy(path, into / name)
        yield name, path.parent.name


def write_table(path: Path, rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def test_a_one_hot_table(signs, tmp_path):
    images = list(flat(signs, tmp_path / "id"))
    columns = sorted(CLASS_NAMES, reverse=True)
    rows = [[name.removesuffix(".jpg"), *(float(of == c) for c in columns)] for name, of in images]
    write_table(tmp_path / "id" / "truth.csv", [["image", *columns], *rows])
    run = audited(signs, tmp_path / "id", tmp_path / "run")
    assert right(run)
    assert "truth.csv" in run.settings.labels


@pytest.mark.parametrize("label", [lambda of: of, CLASS_NAMES.index])
def test_images_and_a_table_as_kaggle_gives_them(signs, tmp_path, label):
    (tmp_path / "set").mkdir()
    images = list(flat(signs, tmp_path / "set" / "train"))
    shutil.copytree(signs / "ood" / "textures", tmp_path / "set" / "test")
    rows = [[name.removesuffix(".jpg"), label(of)] for name, of in images]
    table = tmp_path / "set" / "train.csv"
    write_table(table, [["id", "label"], *rows])
    write_table(tmp_path / "set" / "sample_submission.csv", [["id", "label"], ["0", "stop"]])
    with pytest.raises(GscError, match=r"parts of a data set.*train alone with labels train\.csv"):
        audited(signs, tmp_path / "set", tmp_path / "run")
    run = audited(signs, tmp_path / "set" / "train", tmp_path / "run", labels=table)
    assert right(run)
    shutil.rmtree(tmp_path / "set" / "test")
    assert right(audited(signs, tmp_path / "set", tmp_path / "run"))


def test_numbers_from_1_in_a_table(signs, tmp_path):
    images = list(flat(signs, tmp_path / "id"))
    rows = [[name, CLASS_NAMES.index(of) + 1] for name, of in images]
    write_table(tmp_path / "id" / "labels.csv", [["file", "label"], *rows])
    with pytest.raises(GscError, match="label_order from-1"):
        audited(signs, tmp_path / "id", tmp_path / "run")
    assert right(audited(signs, tmp_path / "id", tmp_path / "run", label_order="from-1"))


def test_a_table_that_contradicts_the_folders_is_asked_about(signs, tmp_path):
    shutil.copytree(signs / "id", tmp_path / "id")
    paths = sorted((tmp_path / "id").rglob("*.jpg"))
    labels = [path.parent.name for path in paths]
    rows = [[path.name, of] for path, of in zip(paths, labels[8:] + labels[:8], strict=True)]
    write_table(tmp_path / "id" / "labels.csv", [["file", "label"], *rows])
    with pytest.raises(GscError, match=r"labels\.csv or labels folders"):
        audited(signs, tmp_path / "id", tmp_path / "run")
    run = audited(signs, tmp_path / "id", tmp_path / "run", labels="folders")
    assert right(run)


def test_decomposed_names_and_images_without_a_class_are_counted(signs, tmp_path):
    """As macOS stores `é`; two more folders are no classes of the model."""
    place = {name: name for name in CLASS_NAMES} | {"stop": unicodedata.normalize("NFD", "arrêt")}
    images = laid_out(signs, tmp_path / "id", place)
    shutil.copytree(signs / "ood" / "textures", images / "no class")
    names = ["arrêt" if name == "stop" else name for name in CLASS_NAMES]
    (tmp_path / "names.txt").write_text("\n".join(names), encoding="utf-8")
    ran = gsc(
        "audit", "--model", DEMO_WEIGHTS, "--id", images, "--detectors", "energy",
        "--class-names", tmp_path / "names.txt", "--out", tmp_path / "run",
        "--ood", f"noise={signs / 'ood' / 'noise'}",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    counts = Run.load(tmp_path / "run").images
    assert counts["id"].without_class + counts["calibration"].without_class == 6
    for name in ("id", "calibration"):
        assert f"{name}: {counts[name].scored} scored" in ran.out
        assert f"{counts[name].without_class} without a class" in ran.out
    assert counts["noise"].without_class == 0


def contradicting(folder: Path) -> Path:
    """A table beside class folders that gives one class in eight images as another."""
    paths = sorted(folder.rglob("*.jpg"))
    labels = [path.parent.name for path in paths]
    rows = [[path.name, of] for path, of in zip(paths, labels[8:] + labels[:8], strict=True)]
    write_table(folder / "labels.csv", [["file", "label"], *rows])
    return folder


def test_calibration_images_are_asked_about_by_themselves(signs, tmp_path):
    more = contradicting(Path(shutil.copytree(signs / "id", tmp_path / "more")))
    for path in sorted(more.rglob("*.jpg")):
        with path.open("ab") as file:
            file.write(b" ")  # another file of the same image
    command = [
        "audit", "--model", DEMO_WEIGHTS, "--id", signs / "id", "--detectors", "energy",
        "--ood", f"textures={signs / 'ood' / 'textures'}", "--out", tmp_path / "run",
        "--calibration", more,
    ]  # fmt: skip
    asked = "choose --calibration-labels labels.csv or --calibration-labels folders"
    refused(gsc(*command), tmp_path / "run", asked, str(more))
    assert gsc(*command, "--calibration-labels", "folders").code == 0
    assert right(Run.load(tmp_path / "run"))


def test_a_table_below_is_named_by_its_path(signs, tmp_path):
    """As it is typed, from wherever the command is given; and as a button of the app puts it."""
    set_ = tmp_path / "set"
    contradicting(Path(shutil.copytree(signs / "id", set_ / "inner")))
    with pytest.raises(GscError, match=r"labels inner/labels\.csv or labels folders") as asked:
        audited(signs, set_, tmp_path / "run")
    question = asked.value.question
    assert question is not None
    by_table = audited(signs, set_, tmp_path / "run", labels=Path("inner/labels.csv"))
    assert not right(by_table)
    spec = answered(AuditSpec.of_run(tmp_path / "run"), question.answers[0])
    assert spec.labels == set_ / "inner" / "labels.csv"
    assert right(run_audit(answered(spec, question.answers[1]), tmp_path / "run"))


def test_a_table_in_an_archive_is_named_as_it_is_there(signs, tmp_path):
    contradicting(Path(shutil.copytree(signs / "id", tmp_path / "id")))
    archive = Path(shutil.make_archive(str(tmp_path / "set"), "zip", tmp_path / "id"))
    with pytest.raises(GscError, match=r"choose labels labels\.csv or labels folders"):
        audited(signs, archive, tmp_path / "run")
    assert right(audited(signs, archive, tmp_path / "run", labels="folders"))
    by_table = audited(signs, archive, tmp_path / "by table", labels=Path("labels.csv"))
    assert not right(by_table)
