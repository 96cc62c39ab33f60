"""The log of a run: a line for each phase, and what happened where we did not foresee it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOGGER = logging.getLogger("gsc_core")

Step = Callable[[str, int, int], None]
"""Told how far a phase is: its name, how much is done, of how much. It may raise to stop."""


class _LogFile(logging.FileHandler):
    """Appends lines to a file, with times in UTC; one that cannot be written is not a log.

    Until `begin` the lines are held back, and lost when that never comes; with `at_fault` it comes
    with the first error.
    """

    def __init__(self, file: Path, *, at_fault: bool) -> None:
        super().__init__(file, encoding="utf-8", errors="backslashreplace", delay=True)
        self.held: list[logging.LogRecord] | None = []
        self._at_fault = at_fault
        formatter = logging.Formatter("%(asctime)sZ %(message)s", "%Y-%m-%dT%H:%M:%S")
        formatter.converter = time.gmtime
        self.setFormatter(formatter)

    def begin(self) -> None:
        """Write what was held back, and from here on each line at once."""
        held, self.held = self.held or [], None
        for record in held:
            self.emit(record)

    def emit(self, record: logging.LogRecord) -> None:
        """Hold a line back, or write it."""
        if self.held is not None:
            self.held.append(record)
            if self._at_fault and record.levelno >= logging.ERROR:
                self.begin()
            return
        with suppress(OSError):  # what else fails for the disk will say why
            super().emit(record)

    def close(self) -> None:
        """Close the file; a full disk takes nothing more, and that is not an error of the run."""
        with suppress(OSError):
            super().close()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        """Standard error belongs to the program that logs."""


class RunLog:
    """The log of a run: its own, or None where the caller writes one to the same file."""

    def __init__(self, own: _LogFile | None) -> None:
        self._own = own

    def begin(self) -> None:
        """Make the file: its folder is the run's from here on."""
        if self._own is not None:
            self._own.begin()

    def phases(self, step: Step) -> Step:
        """The step, with each phase logged as it begins, unless the caller does that."""
        return step if self._own is None else _logging_phases(step)


def is_logged_to(file: Path) -> bool:
    """Whether what is logged in `gsc_core` is written to `file` already."""
    path = os.path.realpath(file)
    logs = (
        handler
        for handler in LOGGER.handlers
        if isinstance(handler, _LogFile) and handler.held is None
    )
    return any(os.path.realpath(handler.baseFilename) == path for handler in logs)


@contextmanager
def logged_to(file: Path, *, at_fault: bool = False) -> Iterator[RunLog]:
    """What is logged in `gsc_core` goes to `file` too, from `begin` on; once, if it did already.

    With `at_fault` there is no file unless something goes wrong.
    """
    if is_logged_to(file):
        yield RunLog(None)
        return
    handler, level = _LogFile(file, at_fault=at_fault), LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    try:
        yield RunLog(handler)
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)
        handler.close()


def log_phase(phase: str, done: int, total: int) -> None:
    """The line of a phase that begins."""
    LOGGER.info("%s%s", phase, f", {done} of {total}" if total > 1 else "")


def _logging_phases(step: Step) -> Step:
    before = ""

    def logged(phase: str, done: int, total: int) -> None:
        nonlocal before
        if phase != before:
            before = phase
            log_phase(phase, done, total)
        step(phase, done, total)

    return logged
