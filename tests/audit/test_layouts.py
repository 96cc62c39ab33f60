"""One set of images as people have it, in many layouts: the accuracy is right, or the audit asks.

The demo's network names nearly every sign of its own kind, so a wrong order of the classes, or a
part of the data taken for a class, cannot hide.
"""

import shutil
from pathlib import Path

import pytest
from command_line import gsc, refused

from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec
from gsc_core.demo import CLASS_NAMES, DEMO_WEIGHTS, render_demo
from gsc_core.demo.render import Sizes
from gsc_core.errors import GscError
from gsc_core.run.stored import Run

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
    with pytest.raises(GscError, match=f"--label-order {order}") as asked:
        audited(signs, images, tmp_path / "run")
    assert str(asked.value).count(". ") == 0
    run = audited(signs, images, tmp_path / "run", label_order=order)
    assert right(run)
    assert run.document.checks[0].name == "class order"
    assert run.document.checks[0].sentence == run.settings.labels


def test_the_terminal_names_the_rule_and_offers_the_other_order(signs, tmp_path):
    place = {name: str(at + 1) for at, name in enumerate(CLASS_NAMES[:-1])}
    images = laid_out(signs, tmp_path / "id", place)
    command = [
        "audit", "--model", DEMO_WEIGHTS, "--id", images, "--detectors", "energy",
        "--ood", f"textures={signs / 'ood' / 'textures'}", "--out", tmp_path / "run",
    ]  # fmt: skip
    refused(gsc(*command), tmp_path / "run", "--label-order from-1", "choose the label order")
    ran = gsc(*command, "--label-order", "from-1")
    assert ran.code == 0
    assert "Labels are class numbers that begin with 1." in ran.out
