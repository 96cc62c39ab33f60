"""Options that cannot be, and places where no result can lie: one sentence that says what to do."""

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from bad_images import empty
from command_line import PROGRESS, audit, gsc, program, refused

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"detectors": "energee"}, ("energee", "energy")),
        ({"detectors": "knn:neighbours=3"}, ("knn", "neighbours", "k")),
        ({"detectors": "knn:k=many"}, ("k=",)),
        ({"detectors": "knn:k=0"}, ("k=0", "at least 1")),
        ({"detectors": "energy,msp,energy"}, ("energy", "twice")),
        ({"detectors": ""}, ("No detector",)),
        ({"split": "blok"}, ("blok", "block")),
        ({"ood": "noise"}, ("NAME=DIR",)),
        ({"ood": "=noise"}, ("NAME=DIR",)),
        ({"ood": "noise="}, ("NAME=DIR",)),
        ({"ood": "id=noise"}, ("'id'",)),
        ({"ood": "mean=noise"}, ("'mean'",)),
        ({"ood": "calibration=noise"}, ("'calibration'",)),
        ({"ood": f"{'x' * 61}=noise"}, ("60 characters",)),
        ({"ood": f"{'图' * 40}=noise"}, ("100 bytes",)),
        ({"ood": "two\nlines=noise"}, ("two\\nlines",)),
        ({"ood": "\udcff=noise"}, ("cannot be named",)),
        ({"calibration": "0"}, ("--calibration 0", "between 0 and 1")),
        ({"calibration": "1.5"}, ("--calibration 1.5",)),
        ({"calibration": "nan"}, ("--calibration nan",)),
        ({"preprocess": "size=12"}, ("size=12",)),
        ({"preprocess": "crop=0"}, ("crop", "'0'")),
        ({"preprocess": "std=0"}, ("std", "above 0")),
        ({"preprocess": "crop=13"}, ("12×12", "13×13")),
        ({"device": "nonsense"}, ("nonsense", "auto")),
        ({"device": "meta"}, ("meta", "auto")),
        ({"device": "hpu"}, ("hpu", "auto")),
        ({"device": "cuda:77"}, ("cuda:77", "auto")),
        ({"batch_size": "0"}, ("--batch-size", "greater than or equal to 1")),
        ({"threads": "0"}, ("--threads",)),
        ({"seed": "-1"}, ("--seed",)),
        ({"labels": "nowhere.csv"}, ("nowhere.csv",)),
        ({"class_names": "nowhere.txt"}, ("nowhere.txt",)),
        ({"model": None}, ("No model",)),
        ({"arch": "resnet18"}, ("whole program",)),
        ({"id": "x" * 300}, ("cannot be used",)),
        ({"id": "not\udcffutf8"}, ("UTF-8",)),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_an_option_that_cannot_be(
    changed: dict, said: tuple[str, ...], stage: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    if isinstance(ood := changed.get("ood"), str):
        changed = {**changed, "ood": ood.replace("=noise", f"={stage / 'noise'}")}
    refused(gsc(*audit(stage, out, **changed)), out, *said)
    assert not out.exists()


def test_two_sets_of_one_name(stage: Path, tmp_path: Path) -> None:
    ran = gsc(*audit(stage, tmp_path / "out", "--ood", f"noise={stage / 'faint'}"))
    refused(ran, tmp_path / "out", "'noise'", "own name")


def test_detectors_that_all_cannot_run(stage: Path, tmp_path: Path) -> None:
    ran = gsc(*audit(stage, tmp_path / "out", detectors="gmm"))
    refused(ran, tmp_path / "out", "None of the detectors", "gmm")


@pytest.mark.parametrize(
    "arguments",
    [
        ["audit"],
        ["audit", "--id", "x", "--out", "y"],
        ["audit", "--batch-size", "many"],
        ["audit", "--nonsense"],
        ["audits"],
        ["splits", "--split"],
    ],
    ids=" ".join,
)
def test_usage_errors_end_with_2_and_show_the_way(arguments: list[str]) -> None:
    ran = gsc(*arguments)
    assert ran.code == 2
    assert "Usage:" in ran.err
    assert "Traceback" not in ran.err


def test_out_is_a_file(stage: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    refused(gsc(*audit(stage, tmp_path / "out")), None, "cannot be written")
    refused(gsc(*audit(stage, tmp_path / "out" / "below")), None, "cannot be written")
    assert (tmp_path / "out").read_text() == "mine"


def test_out_cannot_be_written(stage: Path, tmp_path: Path) -> None:
    """Where even root may not; and for others, a folder without the right to write."""
    refused(gsc(*audit(stage, Path("/proc/gsc"))), None, "/proc/gsc", "cannot be written")
    if os.geteuid() != 0:
        locked = empty(tmp_path / "locked")
        locked.chmod(0o500)
        refused(gsc(*audit(stage, locked / "out")), None, "Permission denied")


@pytest.mark.parametrize(
    "name", ["chunks", "unpacked", "metrics.json", "scores.parquet", "channels.parquet"]
)
def test_other_peoples_files_are_left_alone(name: str, stage: Path, tmp_path: Path) -> None:
    """A folder of that name that no audit has written is neither emptied nor written over."""
    theirs = tmp_path / name / "theirs.txt" if "." not in name else tmp_path / name
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_text("keep")
    refused(gsc(*audit(stage, tmp_path)), None, name, "empty folder")
    assert theirs.read_text() == "keep"


FILL_A_REAL_DISK = """
mount -t tmpfs -o size=$SIZE none "$1/disk" || exit 99
shift
"$@"
echo "code $?"
cd "$OLDPWD" 2>/dev/null
find "$DISK" -type f
"""


@pytest.mark.parametrize("size", ["4k", "48k"], ids=["at once", "in the midst"])
def test_a_disk_that_fills_up(
    size: str, stage: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    """On a real, small file system, in a mount namespace of its own."""
    probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", str(tmp_path)]
    tried = shutil.which("unshare") and subprocess.run(probe, capture_output=True, check=False)
    if not tried or tried.returncode:
        pytest.skip("no small disk to fill: mounting in a namespace is not allowed here")
    disk = empty(tmp_path / "disk")
    more = ["--ood", f"faint={stage / 'faint'}"]
    command = program(*audit(stage, disk / "out", *more, detectors="all"))
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", FILL_A_REAL_DISK, "sh", tmp_path, *command],
        capture_output=True,
        text=True,
        env={**environment, "DISK": str(disk), "SIZE": size},
        check=False,
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "code 2", done.stderr
    told = [line for line in done.stderr.splitlines() if not PROGRESS.fullmatch(line)]
    assert len(told) == 1, done.stderr
    assert told[0].startswith("The disk is full")
    left = {Path(line).relative_to(disk / "out").as_posix() for line in lines[1:]}
    assert ("chunks/key" in left) == (size == "48k")
    assert "metrics.json" not in left
    assert not {name for name in left if name.endswith(".part")}


def test_a_zip_is_no_folder_of_zips(stage: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.writestr("inner.zip", b"PK\x05\x06" + bytes(18))
    ran = gsc(*audit(stage, tmp_path / "out", id=tmp_path / "outer.zip"))
    refused(ran, tmp_path / "out", "no image", ".zip")
