"""Commands of `gsc` as a person gives them, and what they leave behind."""

import contextlib
import io
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from small_audit import PREPROCESS

from gsc_core.cli.app import main

PROGRESS = re.compile(
    r"(opening the model|reading the images|fitting the detectors|measuring|drawing road signs|"
    r"comparing the image sets|"
    r"choosing the short-circuit|calibrating|scoring .+)( \d+/\d+)?"
)


@dataclass(frozen=True)
class Ran:
    """One command that ended."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> list[str]:
        """Lines on standard error that are no progress."""
        return [line for line in self.err.splitlines() if not PROGRESS.fullmatch(line)]


def gsc(*arguments: object, screen: TextIO | None = None) -> Ran:
    """Run a command in this process; what it says on standard error goes to the screen, if any."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["gsc", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(screen or err):
            main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.argv = before
    return Ran(code, out.getvalue(), err.getvalue())


def program(*arguments: object) -> list[str]:
    """The same command for a process of its own."""
    return [sys.executable, "-m", "gsc_core", *map(str, arguments)]


def audit(stage: Path, out: Path, *more: object, **changed: object) -> list[object]:
    """The arguments of an audit on the stage; `changed` replaces options, None leaves one out."""
    options: dict[str, object] = {
        "model": stage / "small.pt2",
        "preprocess": PREPROCESS,
        "id": stage / "id",
        "ood": f"noise={stage / 'noise'}",
        "detectors": "energy,gsc",
        "out": out,
    }
    options |= changed
    given = [(f"--{name.replace('_', '-')}", value) for name, value in options.items()]
    return ["audit", *(x for pair in given if pair[1] is not None for x in pair), *more]


def refused(ran: Ran, out: Path | None, *said: str) -> None:
    """Exit 2, one sentence that says the right thing, and nothing half-written."""
    assert ran.code == 2, ran.err
    assert ran.out == ""
    assert len(ran.told) == 1, ran.err
    sentence = ran.told[0]
    assert sentence.endswith((".", "?")), sentence
    for words in said:
        assert words in sentence
    if out is not None and out.is_dir():
        left = {each.relative_to(out).as_posix() for each in out.rglob("*") if each.is_file()}
        assert left <= {"spec.json", "chunks/key", "log.txt"}, left
