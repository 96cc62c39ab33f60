"""What the classes of a run are called: as the audit recorded, else as somebody said afterwards.

Names that are given afterwards lie beside the run: they change no figure, only how classes are
called.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from gsc_core.errors import GscError
from gsc_core.files import written_aside
from gsc_core.run.layout import CLASS_NAMES_FILE
from gsc_core.run.stored import Run

FORMAT: Final = "gsc-audit-class-names"
VERSION: Final = 1
MAX_CHARACTERS = 200

Name = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_CHARACTERS, strip_whitespace=True)
]


class GivenNames(BaseModel):
    """Class names in the order of the model's outputs, as `class-names.json` holds them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["gsc-audit-class-names"] = FORMAT
    version: Literal[1] = VERSION
    names: tuple[Name, ...] = Field(min_length=1)


def names_of(run: Run) -> tuple[str, ...]:
    """The names of the classes; empty where nobody said any, or what was said is damaged."""
    if run.settings.class_names:
        return run.settings.class_names
    return _given(run.path, version(run))


def class_name(run: Run, index: int | None) -> str:
    """A class in words: its name, its number where that is blank; `unknown` for None and −1."""
    if index is None or index < 0:
        return "unknown"
    names = names_of(run)
    return (names[index].strip() if index < len(names) else "") or f"class {index}"


def classes_of(run: Run) -> int:
    """How many classes the model has, as much as the run says or shows."""
    if run.settings.classes is not None:
        return run.settings.classes
    seen = max(int(run.column(name).max(initial=-1)) for name in ("label", "predicted"))
    return max(len(run.settings.class_names or ()), seen + 1)


def store(run: Run, names: Sequence[str]) -> None:
    """Store names for a run that recorded none.

    Raises GscError for a run that has its own, for another number of names than it has classes, and
    for names that are empty or too long.
    """
    if run.settings.class_names:
        raise GscError("This run has class names from its model: correct them there.")
    if (classes := classes_of(run)) != len(names):
        raise GscError(
            f"The model has {classes:,} classes, but there are {len(names):,} names: give one a "
            "line, in the order of the model's outputs."
        )
    try:
        given = GivenNames(names=tuple(names))
    except ValidationError as error:
        raise GscError(f"A class name has 1 to {MAX_CHARACTERS} characters: correct it.") from error
    with written_aside(run.path / CLASS_NAMES_FILE) as part:
        part.write_text(given.model_dump_json(indent=1), encoding="utf-8")


def version(run: Run) -> int:
    """A number that changes when names are given: a part of the key of caches."""
    try:
        return (run.path / CLASS_NAMES_FILE).stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=16)
def _given(folder: Path, changed: int) -> tuple[str, ...]:
    if not changed:
        return ()
    try:
        return GivenNames.model_validate_json((folder / CLASS_NAMES_FILE).read_bytes()).names
    except (OSError, ValidationError):  # classes then go by their numbers, as before
        return ()
