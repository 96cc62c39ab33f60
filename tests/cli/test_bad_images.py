"""Image sets that are none: one sentence, and nothing half-written."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bad_images import broken_headers, broken_pixels, empty, texts
from command_line import audit, gsc, refused
from places import ROOT

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("role", ["id", "ood", "calibration"])
@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda stage, folder: folder, "does not exist"),
        (lambda stage, folder: empty(folder), "no image"),
        (lambda stage, folder: texts(folder), "3 × .txt"),
        (lambda stage, folder: broken_headers(folder), "can be read"),
        (broken_pixels, "can be read"),
    ],
    ids=["missing", "empty", "texts", "headers", "pixels"],
)
def test_a_folder_without_pictures(role: str, build, said: str, stage: Path, tmp_path) -> None:
    folder = build(stage, tmp_path / "bad")
    given = {"ood": f"bad={folder}"} if role == "ood" else {role: folder}
    ran = gsc(*audit(stage, tmp_path / "out", **given))
    assert ran.code == 2
    assert len(ran.told) == 1, ran.err
    assert said in ran.told[0]
    assert not (tmp_path / "out" / "metrics.json").exists()
    assert not (tmp_path / "out" / "scores.parquet").exists()
    assert not list(tmp_path.rglob("*.part"))


def test_one_id_picture_is_too_few_even_when_copied(stage: Path, tmp_path: Path) -> None:
    one = empty(tmp_path / "one")
    picture = next((stage / "id").rglob("*.png"))
    for name in ("a.png", "b.png"):
        shutil.copy(picture, one / name)
    refused(gsc(*audit(stage, tmp_path / "out", id=one)), tmp_path / "out", "at least two")


def test_an_ood_set_of_id_pictures_is_none(stage: Path, tmp_path: Path) -> None:
    ran = gsc(*audit(stage, tmp_path / "out", ood=f"same={stage / 'id'}"))
    refused(ran, tmp_path / "out", "same", "ID image")


def test_a_damaged_zip_leaves_nothing_unpacked(stage: Path, tmp_path: Path) -> None:
    """The first set is unpacked before the second fails."""
    shutil.make_archive(str(tmp_path / "id"), "zip", stage / "id")
    (tmp_path / "bad.zip").write_bytes((tmp_path / "id.zip").read_bytes()[:1000])
    out = tmp_path / "out"
    ran = gsc(*audit(stage, out, id=tmp_path / "id.zip", ood=f"x={tmp_path / 'bad.zip'}"))
    refused(ran, out, "bad.zip")
    assert not out.exists() or not list(out.iterdir())


KILLED_WHILE_IT_UNPACKS = """
import os, signal, sys
from pathlib import Path
from gsc_core.audit.inputs import unpacking
with unpacking(Path(sys.argv[1])) as folder:
    (folder / "id").mkdir()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_audit_killed_while_it_unpacked_is_done_anew(stage: Path, tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "id"), "zip", stage / "id")
    out = tmp_path / "out"
    command = [sys.executable, "-W", "ignore", "-c", KILLED_WHILE_IT_UNPACKS]
    subprocess.run([*command, str(out / "unpacked")], cwd=ROOT, check=False)
    assert (out / "unpacked" / "id").exists()
    ran = gsc(*audit(stage, out, id=tmp_path / "id.zip"))
    assert ran.code == 0, ran.err
    assert (out / "metrics.json").exists()
