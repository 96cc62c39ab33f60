"""What a watch has counted so far: one JSON file, for one detector, with one hand on it.

The file is written aside and renamed. A lock beside it, which the kernel releases when its
process ends, keeps two watches from losing each other's counts.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gsc_core.errors import SpecError
from gsc_core.files import sole_writer_of, written_aside

Count = Annotated[int, Field(ge=0)]
DIGITS = 32  # of a SHA-256, kept of every image: 128 bits are enough to know it again


class WatchState(BaseModel):
    """Counts since the watch began, and the digests of the images that were counted.

    most: the largest natural log of the evidence so far; risen_at: after how many images the
    share had risen, None while it has not.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    format: Literal["gsc-watch"] = "gsc-watch"
    version: Literal[1] = 1
    program_sha256: str
    alpha: Annotated[float, Field(gt=0, lt=1)]
    flagged: Count = 0
    most: Annotated[float, Field(ge=0)] = 0.0
    risen_at: Annotated[int, Field(ge=1)] | None = None
    pictures: list[Annotated[str, Field(pattern=f"^[0-9a-f]{{{DIGITS}}}$")]] = []

    @property
    def seen(self) -> int:
        """How many images were counted."""
        return len(self.pictures)

    @model_validator(mode="after")
    def _adds_up(self) -> WatchState:
        if max(self.flagged, self.risen_at or 0) > self.seen:
            raise ValueError("more was counted than seen")
        if len(set(self.pictures)) < self.seen:
            raise ValueError("an image was counted twice")
        return self


def read_state(path: Path, program_sha256: str, alpha: float) -> WatchState:
    """The state in a file, or a new one where there is none.

    Raises SpecError when the file is damaged, or was begun with another detector or alpha.
    """
    if not path.exists():
        return WatchState(program_sha256=program_sha256, alpha=alpha)
    try:
        state = WatchState.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise SpecError(
            f"{path} is damaged or not the state of a watch: restore a copy, or start a new watch "
            "with another --state."
        ) from error
    if state.program_sha256 != program_sha256:
        raise SpecError(
            f"{path} was counted with another detector: start a new watch for this one with "
            "another --state."
        )
    if state.alpha != alpha:
        raise SpecError(
            f"{path} was started with --alpha {state.alpha:g}, and an error rate is chosen only "
            "once: keep it, or start a new watch with another --state."
        )
    return state


def keep_state(path: Path, state: WatchState) -> None:
    """Write the state; the file before it stays until this one is whole. Raises SpecError."""
    with written_aside(path) as part:
        part.write_text(state.model_dump_json(), encoding="utf-8")


def held(path: Path) -> AbstractContextManager[None]:
    """Hold the state for this process alone. Raises SpecError while another one does."""
    return sole_writer_of(path, f"Another watch is writing to {path}: wait until it has ended.")
