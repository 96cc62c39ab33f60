"""Two that write one result at once: the second gets a sentence, and the first loses nothing."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from small_audit import write_stage
from small_run import spec_of

from gsc_core.ablation.run import ablate
from gsc_core.audit.run import run_audit
from gsc_core.audit.tuning import TuneSpec, tune
from gsc_core.deploy.export import export_detector
from gsc_core.errors import SpecError
from gsc_core.files import sole_writer_in, sole_writer_of

pytestmark = pytest.mark.slow
HOLD = """
import sys
from pathlib import Path
from gsc_core.files import sole_writer_in
with sole_writer_in(Path(sys.argv[1]), "busy"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, its images and a finished run."""
    here = write_stage(tmp_path_factory.mktemp("stage"))
    run_audit(spec_of(here, names=("energy", "gsc")), here / "run")
    return here


def audit_(stage: Path, out: Path, meanwhile: Callable[..., None]) -> Path:
    return run_audit(spec_of(stage, names=("energy",)), out, meanwhile).path / "metrics.json"


def tune_(stage: Path, out: Path, meanwhile: Callable[..., None]) -> Path:
    tune(TuneSpec(**spec_of(stage).model_dump(include={"model", "id"})), out, meanwhile)
    return out


def ablate_(stage: Path, out: Path, meanwhile: Callable[..., None]) -> Path:
    ablate(spec_of(stage), out, meanwhile, images_per_set=20)
    return out / "ablation.parquet"


def export_(stage: Path, out: Path, meanwhile: Callable[..., None]) -> Path:
    detector = out.with_suffix(".pt2")
    export_detector(stage / "run", "energy", -2.5, "typed:value=-2.5", detector, meanwhile)
    return detector


@pytest.mark.parametrize("work", [audit_, tune_, ablate_, export_])
def test_the_second_writer_is_told_and_the_first_result_is_whole(work, stage, tmp_path):
    out, said = tmp_path / "result", []

    def meanwhile(_: object) -> None:
        with pytest.raises(
            SpecError, match=r"is writing to .*: wait until it has ended"
        ) as refused:
            work(stage, out, lambda _: None)
        said.append(str(refused.value))

    written = work(stage, out, meanwhile)
    assert said
    assert written.stat().st_size
    assert not list(tmp_path.rglob(".*.lock")), "nothing is left of the lock"
    os.utime(written, (0, 0))  # a new file may get the number of one that is gone
    assert work(stage, out, lambda _: None).stat().st_mtime > 0, "and later it may be redone"


def test_an_ablation_waits_for_an_audit_in_its_folder(stage, tmp_path):
    def meanwhile(_: object) -> None:
        with pytest.raises(SpecError, match="Another audit or ablation is writing"):
            ablate_(stage, tmp_path, lambda _: None)

    audit_(stage, tmp_path, meanwhile)


def test_another_process_counts_and_its_death_releases(stage, tmp_path):
    out = tmp_path / "result"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(SpecError, match="Another audit or ablation is writing"):
            audit_(stage, out, lambda _: None)
        holder.send_signal(signal.SIGKILL)
    assert audit_(stage, out, lambda _: None).exists()


def test_a_folder_made_in_vain_is_gone_and_one_that_was_there_stays(tmp_path):
    (tmp_path / "mine").mkdir()
    for folder in (tmp_path / "a" / "b", tmp_path / "mine"):
        with pytest.raises(ZeroDivisionError), sole_writer_in(folder, "busy"):
            raise ZeroDivisionError
    with sole_writer_of(tmp_path / "c" / "x.json", "busy"):
        assert [file.name for file in (tmp_path / "c").iterdir()] == [".x.json.lock"]
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_folder_that_its_holder_removed_is_made_and_held_anew(tmp_path, monkeypatch):
    """The holder ends between the opening and the locking: what was opened is nobody's folder."""
    folder, opened = tmp_path / "result", []

    def open_then_lose(path: Path, flags: int, mode: int = 0o777) -> int:
        opened.append(os_open(path, flags, mode))
        if len(opened) == 1:
            folder.rmdir()
        return opened[-1]

    os_open = os.open
    monkeypatch.setattr(os, "open", open_then_lose)
    with sole_writer_in(folder, "busy"):
        assert len(opened) == 2
        with pytest.raises(SpecError, match="busy"), sole_writer_in(folder, "busy"):
            raise AssertionError


def test_where_a_disk_knows_no_locks_work_goes_on(tmp_path, monkeypatch):
    def no_locks(_: int, operation: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with sole_writer_in(tmp_path / "result", "busy"):
        assert (tmp_path / "result").is_dir()


@pytest.mark.parametrize("sole", [sole_writer_in, sole_writer_of])
def test_what_cannot_be_made_is_a_sentence(sole, tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(SpecError, match=r"cannot be written .*: choose another"),
        sole(tmp_path / "file" / "x", "busy"),
    ):
        raise AssertionError


@pytest.mark.parametrize("path", [".", "/", ""])
def test_a_folder_is_no_file_to_write(path: str) -> None:
    with pytest.raises(SpecError, match="name a file in it"), sole_writer_of(Path(path), "busy"):
        pass
