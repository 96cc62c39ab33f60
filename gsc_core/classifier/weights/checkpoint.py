"""The one place where a model file is opened: by its content, and only in ways that run no code."""

from __future__ import annotations

import argparse
import hashlib
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.export import ExportedProgram

from gsc_core.classifier.pt2 import reader
from gsc_core.classifier.weights.weight_names import flattened
from gsc_core.errors import CheckpointError
from gsc_core.files import DAMAGED_ZIP

_CONVERT = (
    "if you trust it, load it and save only the weights with torch.save(model.state_dict(), "
    "'weights.pt')"
)
# The arguments of a training script are names and values, and no code.
_PLAIN: list[Callable[..., object] | tuple[Callable[..., object], str]] = [argparse.Namespace]
_PICKLE = b"\x80"
_LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch's number, before version 1.6
_ZIP = b"PK\x03\x04"


@dataclass(frozen=True)
class Checkpoint:
    """What a model file holds: a whole program, or weights for an architecture to be named.

    `weights` are all tensors of the file by their whole names, such as `state_dict.fc.weight`;
    `metadata` is the text table of a safetensors file, not yet checked.
    """

    sha256: str
    program: ExportedProgram | None = None
    weights: dict[str, Tensor] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a safetensors file, a PyTorch state dict or a `.pt2` program.

    Raises:
        CheckpointError: the file is missing, damaged, of another kind, or could run code.
    """
    start = _first_bytes(path)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if start.startswith(_ZIP):
        return _open_zip(path, sha256)
    if _is_safetensors(path, start):  # first: the length in front of it may begin with any byte
        return _open_safetensors(path, sha256)
    if start.startswith(_PICKLE):
        if not _LEGACY.startswith(start[2:15]):
            raise _not_only_weights(path)
        return Checkpoint(sha256, weights=_load_weights(path))
    if path.suffix == ".safetensors":
        return _open_safetensors(path, sha256)
    raise CheckpointError(
        f"{path.name} is not a model file: a .safetensors file, a PyTorch state dict (.pt, .pth) "
        f"or an exported program (.pt2) is needed."
    )


def _is_safetensors(path: Path, start: bytes) -> bool:
    """Whether a header of JSON follows its own length."""
    length = int.from_bytes(start[:8], "little")
    return start[8:9] == b"{" and length <= path.stat().st_size


def _first_bytes(path: Path) -> bytes:
    if not path.exists():
        raise CheckpointError(f"There is no file {path}: check the path.")
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file: name the checkpoint inside it.")
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error
    if not start:
        raise CheckpointError(f"{path.name} is empty: copy or save it again.")
    return start


def _open_safetensors(path: Path, sha256: str) -> Checkpoint:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        weights = load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError, struct.error, KeyError) as error:
        raise _damaged(path) from error
    return Checkpoint(sha256, weights=weights, metadata=metadata)


def _open_zip(path: Path, sha256: str) -> Checkpoint:
    """A zip is a program, a TorchScript archive or a state dict; its directory tells which."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (*DAMAGED_ZIP, OSError) as error:
        raise _damaged(path) from error
    inner = {info.filename.partition("/")[2] for info in members}
    if "archive_format" in inner or "models/model.json" in inner or path.suffix == ".pt2":
        return Checkpoint(sha256, program=reader.open_program(path))
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        raise CheckpointError(
            f"{path.name} is a TorchScript archive, which can run code when it is opened: "
            f"{_CONVERT}, or export the model with {reader.RECIPE}."
        )
    if "data.pkl" not in inner:
        raise CheckpointError(f"{path.name} is a zip file, but holds no PyTorch weights.")
    declared = sum(info.file_size for info in members)
    if declared > path.stat().st_size or any(info.compress_type for info in members):
        raise CheckpointError(
            f"{path.name} would unpack to {declared / 2**20:,.0f} MB, more than its own size: save "
            f"it again with torch.save, which does not compress."
        )
    return Checkpoint(sha256, weights=_load_weights(path))


def _load_weights(path: Path) -> dict[str, Tensor]:
    """A state dict through torch's restricted unpickler, which calls nothing from the file."""
    try:
        # given a path, torch would choose the format by its suffix
        with path.open("rb") as file, torch.serialization.safe_globals(_PLAIN):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "truncated" in str(error) or "EOF" in str(error):
            raise _damaged(path) from error
        raise _not_only_weights(path) from error
    except Exception as error:  # a damaged file makes torch fail in any way
        raise _damaged(path) from error
    return flattened(content, path.name)


def _not_only_weights(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path.name} holds Python objects and not only weights, so opening it could run code: "
        f"{_CONVERT}."
    )


def _damaged(path: Path) -> CheckpointError:
    return CheckpointError(f"{path.name} is damaged or incomplete: copy or save it again.")
