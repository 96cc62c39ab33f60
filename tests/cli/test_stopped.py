"""An audit that is stopped goes on, and a terminal shows how far it is."""

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from command_line import PROGRESS, audit, gsc, program
from small_audit import known, strange

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def long_stage(stage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough unfamiliar images for three chunks."""
    folder = tmp_path_factory.mktemp("long")
    shutil.copy(stage / "small.pt2", folder)
    known(folder / "id", 40, seed=21)
    strange(folder / "noise", 1300, seed=22)
    return folder


def test_ctrl_c_and_the_same_command_again(
    long_stage: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    options = {"detectors": "energy,gsc,odin", "batch_size": 4}
    command = audit(long_stage, tmp_path / "out", "--json", **options)
    with subprocess.Popen(
        program(*command),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        bufsize=1,
        # pytest-xdist's workers ignore SIGINT, and what they start would too
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line.strip())
            if re.fullmatch(r"scoring noise (5[2-9]|[6-9]\d)\d/1300", lines[-1]):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    told = [line for line in rest.splitlines() if not PROGRESS.fullmatch(line)]
    assert told == ["Stopped. Finished chunks are saved: the same command continues from there."]
    left = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert "metrics.json" not in left
    assert not [name for name in left if name.endswith(".part")]

    again = gsc(*command)
    assert again.code == 0, again.err
    first = next(line for line in again.err.splitlines() if line.startswith("scoring noise"))
    assert first == "scoring noise 512/1300"
    at_once = gsc(*audit(long_stage, tmp_path / "at once", "--json", **options))
    assert same_result(json.loads(again.out), json.loads(at_once.out))
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "out" / "scores.parquet"),
        pd.read_parquet(tmp_path / "at once" / "scores.parquet"),
        rtol=1e-5,
        atol=1e-6,
    )
    assert not (tmp_path / "out" / "chunks").exists()


def same_result(a: dict, b: dict) -> bool:
    return all(a[key] == b[key] for key in ("results", "images", "id_accuracy", "inverted"))


def all_of(terminal: int) -> bytes:
    """What is shown until the other side is closed."""
    shown = b""
    with contextlib.suppress(OSError):  # a terminal's end
        while block := os.read(terminal, 4096):
            shown += block
    return shown


def test_a_terminal_shows_a_bar(
    stage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for a set whose name would be markup."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    terminal, theirs = pty.openpty()
    with ThreadPoolExecutor(1) as reader:
        shown = reader.submit(all_of, terminal)
        with os.fdopen(theirs, "w") as screen:
            command = audit(stage, tmp_path / "out", "--json", ood=f"[/x]={stage / 'noise'}")
            ran = gsc(*command, screen=screen)
        text = shown.result().decode()
    os.close(terminal)
    assert ran.code == 0, text
    assert "━━━" in text
    assert "\x1b[" in text
    assert "scoring [/x]" in text
    assert "40/40" in text
    assert json.loads(ran.out)["images"]["[/x]"]["scored"] == 40
