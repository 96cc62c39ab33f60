"""What a model file or a list says about itself: class names, architecture, preprocessing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, Json, StringConstraints, ValidationError

from gsc_core.classifier.preprocessing import Preprocessing
from gsc_core.errors import CheckpointError, SpecError

ClassName = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Scalar = bool | int | float | Annotated[str, StringConstraints(max_length=100)] | None
_MAX_CLASSES = 100_000
MAX_LIST_BYTES = 16 * 2**20


class Metadata(BaseModel):
    """The text table of a safetensors file. It may come from anyone: plain values only."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    architecture: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_./\-]{1,100}$")] | None = (
        None
    )
    options: Json[dict[str, Scalar | list[Scalar]]] = {}
    class_names: (
        Json[Annotated[list[ClassName], Field(min_length=1, max_length=_MAX_CLASSES)]] | None
    ) = None
    preprocessing: Json[Preprocessing] | None = None

    @classmethod
    def read(cls, table: dict[str, str], name: str) -> Metadata:
        """Check the table of a file.

        Raises:
            CheckpointError: an entry is not what its key promises.
        """
        try:
            return cls.model_validate(table)
        except ValidationError as error:
            key = error.errors()[0]["loc"][0]
            raise CheckpointError(
                f"The metadata {key!r} in {name} cannot be read: write it again or remove it."
            ) from error


def read_class_names(path: Path) -> tuple[str, ...]:
    """Class names in order, from text (one a line) or JSON (a list, or `{"0": name, …}`).

    Raises:
        SpecError: the file cannot be read or is none of these.
    """
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise SpecError(f"{path.name} is too large for a list of class names.")
        content = path.read_bytes()
    except OSError as error:
        raise SpecError(f"The class names in {path} cannot be read: {error.strerror}.") from error
    return class_names_in(content, path)


def class_names_in(content: bytes, path: Path) -> tuple[str, ...]:
    """The same of what stands in a file; `path` says what it is called. Raises SpecError."""
    if len(content) > MAX_LIST_BYTES:
        raise SpecError(f"{path.name} is too large for a list of class names.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(
            f"The class names in {path.name} are not UTF-8 text: save the file as UTF-8."
        ) from error
    is_json = path.suffix.lower() == ".json"
    names = _from_json(text, path) if is_json else text.strip().splitlines()
    names = [name.strip() if isinstance(name, str) else name for name in names]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise SpecError(f"{path.name} must hold one name per class, without gaps.")
    return tuple(names)


def _from_json(text: str, path: Path) -> list[Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{path.name} is not valid JSON: fix it, or use a text file.") from error
    if isinstance(content, dict):
        indices = [str(index) for index in range(len(content))]
        if set(content) != set(indices):
            raise SpecError(f"{path.name} must number the classes from 0 without gaps.")
        return [content[index] for index in indices]
    if not isinstance(content, list):
        raise SpecError(f"{path.name} must hold a list of names or an object from number to name.")
    return content
