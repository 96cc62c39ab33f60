"""What people said of single images of a run after they had looked at them: `marks.json` beside it.

Scores stay as they were audited: `revised` makes the figures without the images that are marked. A
mark names its image by set and content, so it holds for no other that takes the image's place.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gsc_core.errors import GscError
from gsc_core.files import sole_writer_of, written_aside
from gsc_core.run import score_table
from gsc_core.run.class_names import classes_of
from gsc_core.run.gallery import RunImage, run_images
from gsc_core.run.layout import MARKS_FILE
from gsc_core.run.score_table import name_of
from gsc_core.run.stored import Revision, Run
from gsc_core.run.stored import version_of as run_version

FORMAT: Final = "gsc-audit-marks"
VERSION: Final = 1
MAX_NOTE, MAX_NAME = 500, 200  # characters
_UNSEEN = {"Cc", "Cs"}  # control characters, which steer a terminal; halves of characters
MAX_MARKS = 20_000  # of a run: a set of which so much is wrong is better put together again


class Doubt(StrEnum):
    """Why an image does not belong to the test."""

    NOT_UNFAMILIAR = "not unfamiliar"
    NOT_FAMILIAR = "not familiar"
    UNUSABLE = "unusable"

    def suits(self, role: str) -> bool:
        """Whether an image of this role (`"id"`, `"calibration"` or `"ood"`) can be that."""
        return {Doubt.NOT_UNFAMILIAR: role == "ood", Doubt.NOT_FAMILIAR: role != "ood"}.get(
            self, True
        )


class Mark(BaseModel):
    """What a person said of one image.

    set: `"id"`, `"calibration"` or the name of an OOD set; file: its name in that set; sha256: of
    its content. doubt: why it is left out of the figures; None leaves it in. label: the class that
    it shows, where its label is wrong. who: their login's name, None where there is no login.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    set: str
    file: str
    sha256: str = Field(pattern=r"[0-9a-f]{64}")
    doubt: Doubt | None = None
    label: int | None = Field(default=None, ge=0)
    note: str | None = Field(default=None, max_length=MAX_NOTE)
    who: str | None = Field(default=None, max_length=MAX_NAME)
    when: datetime

    @property
    def image(self) -> tuple[str, str]:
        """Which image it is about: its set and content."""
        return self.set, self.sha256


class Marks(BaseModel):
    """The marks of a run as `marks.json` holds them, the earliest first; one for an image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["gsc-audit-marks"] = FORMAT
    version: Literal[1] = VERSION
    marks: tuple[Mark, ...] = Field(default=(), max_length=MAX_MARKS)

    def of(self, images: Iterable[tuple[str, str]]) -> frozenset[Mark]:
        """Those of these images."""
        wanted = frozenset(images)
        return frozenset(mark for mark in self.marks if mark.image in wanted)


def marks_of(run: Run) -> tuple[Mark, ...]:
    """The marks of a run, the earliest first; none of a run that nobody marked.

    Raises GscError when the file is damaged, or a later version wrote it.
    """
    return _read(run.path).marks


def by_row(run: Run, marks: Sequence[Mark] | None = None) -> dict[int, Mark]:
    """The marks (those of the run unless given) by the row of their image.

    A mark whose image was not audited, or has another content by now, is left out. Raises GscError
    as `marks_of` does, and for damaged scores.
    """
    given = {mark.image: mark for mark in (marks_of(run) if marks is None else marks)}
    if not given:
        return {}
    digests = score_table.sha256(run.path, run_version(run.path))
    wanted = pa.array({sha256 for _, sha256 in given}, digests.type)
    members, rows = run.members(), np.flatnonzero(pc.is_in(digests, value_set=wanted))
    at = {
        (name_of(*members.groups[members.codes[row]]), str(digests[int(row)].as_py())): int(row)
        for row in rows
    }
    return {at[image]: mark for image, mark in given.items() if image in at}


def of_rows(run: Run, rows: Iterable[int]) -> tuple[Mark, ...]:
    """The marks that these rows have, by rising row. Raises GscError as `by_row` does."""
    marks = by_row(run)
    return tuple(marks[row] for row in sorted(set(rows)) if row in marks)


def revision_of(marks: Mapping[int, Mark]) -> Revision:
    """What marks change of a run's figures; what is left out needs no label."""
    return Revision(
        frozenset(row for row, mark in marks.items() if mark.doubt is not None),
        frozenset(
            (row, mark.label)
            for row, mark in marks.items()
            if mark.label is not None and mark.doubt is None
        ),
    )


def marked(
    run: Run,
    rows: Sequence[int],
    *,
    doubt: Doubt | None = None,
    label: int | None = None,
    note: str | None = None,
    who: str | None = None,
) -> tuple[Mark, ...]:
    """The marks that these images would have, not yet stored.

    What is None stays as an earlier mark of the image said it. Raises GscError where nothing is
    said, for a doubt or a label that does not suit an image, and for a note that is too long.
    """
    note = " ".join((note or "").split()) or None
    if doubt is None and label is None and note is None:
        raise GscError(
            "Nothing is said of these images: choose a mark or a class, or write a note."
        )
    if note is not None and len(note) > MAX_NOTE:
        raise GscError(f"A note has at most {MAX_NOTE} characters: shorten it.")
    if note is not None and any(unicodedata.category(c) in _UNSEEN for c in note):
        raise GscError("The note holds characters that cannot be shown: write it without them.")
    earlier, now = by_row(run), datetime.now(UTC).replace(microsecond=0)
    said = {"doubt": doubt, "label": label, "note": note}
    said = {name: value for name, value in said.items() if value is not None}
    marks = []
    for image in run_images(run, sorted(set(rows))):
        _ensure_suits(run, image, doubt, label)
        before = earlier.get(image.row)
        mark = before or Mark(
            set=image.set if image.role == "ood" else image.role,
            file=image.file,
            sha256=run.sha256(image.row),
            when=now,
        )
        dated = {"when": now, "who": (who or "").strip()[:MAX_NAME] or None}
        marks.append(mark.model_copy(update=said | dated))
    return tuple(marks)


def store(
    run: Run,
    before: Sequence[Mark],
    after: Sequence[Mark],
    *,
    noted: Callable[[], None] = lambda: None,
) -> None:
    """Store the marks `after` in place of `before`, which are all that their images had.

    `noted` is called when nothing stands in the way any more; what it raises leaves the marks as
    they were. Raises GscError for too many marks, when the run is gone, and while another stores
    some or where another has marked one of these images since.
    """
    if not run.path.is_dir():
        raise GscError(f'There is no run "{run.id}" to mark images of: choose one from the list.')
    file = run.path / MARKS_FILE
    with sole_writer_of(file, "Somebody else is marking images of this run: try again."):
        now = _read(run.path)
        if now.of(mark.image for mark in (*before, *after)) != frozenset(before):
            raise GscError(
                "Somebody else has marked some of these images meanwhile, so nothing was changed: "
                "look at them again."
            )
        left = frozenset(before)
        all_marks = (*(mark for mark in now.marks if mark not in left), *after)
        if len(all_marks) > MAX_MARKS:
            raise GscError(
                f"A run has at most {MAX_MARKS:,} marked images: make an image set of what is "
                "left, and audit that."
            )
        noted()
        with written_aside(file) as part:
            text = Marks(marks=all_marks).model_dump_json(indent=1, exclude_none=True)
            part.write_text(text, encoding="utf-8")


def version(run: Run) -> int:
    """A number that changes when marks are stored: a part of the key of caches."""
    path = run.path / MARKS_FILE
    return path.stat().st_mtime_ns if path.is_file() else 0


def _ensure_suits(run: Run, image: RunImage, doubt: Doubt | None, label: int | None) -> None:
    if doubt is not None and not doubt.suits(image.role):
        kind = "an unfamiliar" if image.role == "ood" else "a familiar"
        raise GscError(
            f'{image.file} is {kind} image, so it cannot be marked "{doubt}": choose another mark.'
        )
    if label is None:
        return
    if image.role == "ood":
        raise GscError(f"{image.file} is an unfamiliar image, which has no class to correct.")
    if not 0 <= label < classes_of(run):
        raise GscError(f"The model has no class {label}: choose one of its classes.")


def _read(folder: Path) -> Marks:
    try:
        return Marks.model_validate_json((folder / MARKS_FILE).read_bytes())
    except FileNotFoundError:
        return Marks()
    except (OSError, ValidationError) as error:
        raise GscError(
            f'The marks of run "{folder.name}" cannot be read: a later version of this program '
            f"wrote {MARKS_FILE} in its folder, or it is damaged. Update the program, or move the "
            "file away."
        ) from error
