"""The weights of a Hugging Face folder: one file, or several that an index names."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from pydantic import BaseModel

from gsc_core.classifier.weights.checkpoint import Checkpoint, open_checkpoint
from gsc_core.errors import CheckpointError
from gsc_core.evaluation.counts import number_of

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
INDEXES = tuple(f"{name}.index.json" for name in WEIGHTS)
_PART = re.compile(r"(model|pytorch_model)(-\d+-of-\d+)?\.(safetensors|bin)")
_MAX_BYTES = 10_000_000  # of an index: names alone


def is_part(name: str) -> bool:
    """Whether a file of this name may belong to the weights of a folder."""
    return name in INDEXES or _PART.fullmatch(name) is not None


class _Index(BaseModel):
    weight_map: dict[str, str]


def open_weights(folder: Path) -> Checkpoint:
    """Open the weights of a folder; its digest is the file's, or that of all files' digests.

    Raises CheckpointError where there are none, one of the files is missing, or one cannot be used.
    """
    names = weight_files(folder)
    parts = [open_checkpoint(folder / name) for name in names]
    if len(parts) == 1:
        return parts[0]
    weights = {key: value for part in parts for key, value in part.weights.items()}
    digests = "\n".join(f"{part.sha256} {name}" for part, name in zip(parts, names, strict=True))
    lacking = _map(folder).keys() - weights.keys()
    if lacking:
        raise CheckpointError(
            f"{folder.name} is incomplete: its index names {min(lacking)[:100]}, which none of its "
            f"{len(names)} weight files holds: copy all of them again."
        )
    return Checkpoint(hashlib.sha256(digests.encode()).hexdigest(), weights=weights)


def weight_files(folder: Path) -> tuple[str, ...]:
    """The names of the files that hold the weights; raises CheckpointError as `open_weights`."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            return (name,)
    if named := sorted({*_map(folder).values()}):
        for name in named:
            if Path(name).name != name or not (folder / name).is_file():
                raise CheckpointError(
                    f"{folder.name} has its weights in {number_of(len(named), 'file')}, of which "
                    f"{name[:100]} is missing: copy all of them into the folder."
                )
        return tuple(named)
    parts = sorted(p.name for suffix in ("safetensors", "bin") for p in folder.glob(f"*.{suffix}"))
    if len(parts) == 1:
        return (parts[0],)
    problem = f"{len(parts)} weight files but no index of them" if parts else "no weights"
    raise CheckpointError(
        f"{folder.name} has {problem}: save it with model.save_pretrained(folder), which writes "
        f"{WEIGHTS[0]}."
    )


def _map(folder: Path) -> dict[str, str]:
    """In which file each tensor is, as the index says; empty without one."""
    path = next((folder / name for name in INDEXES if (folder / name).is_file()), None)
    if path is None:
        return {}
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError
        return _Index.model_validate_json(path.read_bytes()).weight_map
    except (OSError, ValueError) as error:  # ValidationError is a ValueError
        raise CheckpointError(
            f"{path.name} in {folder.name} is damaged or not what its name says: save the model "
            "again."
        ) from error
