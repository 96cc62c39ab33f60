"""Calibration to disk and back: enough to fit every detector again just as the audit did.

The pixels are not kept, they would be the largest part: what detectors learned from them is.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gsc_core.classifier.network import Network
from gsc_core.detectors.base import Calibration, Representation, Surrogates
from gsc_core.errors import SpecError
from gsc_core.files import written_aside
from gsc_core.images import ImageFile

_OS_ERROR = re.compile(r"os error (\d+)")
_LEARNED = "learned."
_KINDS_BEFORE = 4  # the first of `KINDS`
_OF_SURROGATES = tuple(f.name for f in fields(Surrogates) if f.name not in ("images", "shapes"))


@dataclass(frozen=True)
class CalibrationFile:
    """Name in its set and digest of a calibration image."""

    name: str
    sha256: str


@dataclass(frozen=True)
class StoredCalibration:
    """What `load` reads: the calibration, and which image each of its rows is.

    The first `len(calibration.sample)` images are the sample. Their order is that of the
    calibration rows at the top of `scores.parquet`.
    """

    calibration: Calibration
    files: tuple[CalibrationFile, ...]


def keep(calibration: Calibration, images: Sequence[ImageFile], path: Path) -> None:
    """Write a calibration on these `images`, in their order, as one safetensors file.

    Raises SpecError when the disk does not allow it.
    """
    sample, surrogates = calibration.sample, calibration.surrogates
    named = json.dumps([[image.name, image.sha256] for image in images]).encode()
    tensors: dict[str, Tensor | None] = {
        # not in the header, which has a limit that many long names can reach
        "files": torch.frombuffer(bytearray(named), dtype=torch.uint8),
        "labels": calibration.labels,
        "logits": calibration.logits,
        "features": calibration.features,
        "layers": calibration.layers,
        # the sample's logits, features and layers are the first rows of these
        "sample.feature_map": sample.feature_map,
        "sample.gradient": sample.gradient,
    }
    if surrogates is not None:
        tensors |= {f"surrogates.{name}": getattr(surrogates, name) for name in _OF_SURROGATES}
    tensors |= {_LEARNED + name: tensor for name, tensor in calibration.learned.items()}
    split = calibration.network.split
    about = {"sample": str(len(sample)), "split": "" if split is None else split.name}
    held = {
        name: tensor.cpu().contiguous() for name, tensor in tensors.items() if tensor is not None
    }
    with written_aside(path) as part:
        _save(held, part, about)


def load(path: Path, network: Network) -> StoredCalibration:
    """Read what `keep` wrote, onto the device of `network`.

    Raises SpecError when there is no such file, it is damaged, or was made at another split.
    """
    if not path.is_file():
        raise SpecError(
            "This audit was made before calibration was stored: run the audit again to look at "
            "single images."
        )
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            names = file.keys()
            held = {name: file.get_tensor(name).to(network.device) for name in names}
        if about["split"] != ("" if network.split is None else network.split.name):
            raise SpecError(
                "The calibration was stored for another layer of the network: run the audit again."
            )
        return _stored(held, int(about["sample"]), network)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise SpecError(f"{path.name} of this run is damaged: run the audit again.") from error


def _save(tensors: dict[str, Tensor], path: Path, about: dict[str, str]) -> None:
    """Write without a copy in memory; what the disk refuses is an OSError, as of any other file."""
    try:
        save_file(tensors, path, metadata=about)
    except SafetensorError as error:  # it has the number in its text alone
        number = _OS_ERROR.search(str(error))
        code = int(number[1]) if number else errno.EIO
        raise OSError(code, os.strerror(code)) from error
    path.chmod(0o644)  # the library makes it readable for its owner alone


def _stored(held: dict[str, Tensor], size: int, network: Network) -> StoredCalibration:
    logits, features = held["logits"], held.get("features")
    sample = replace(
        Representation(logits, features, layers=held.get("layers"))[:size],
        feature_map=held.get("sample.feature_map"),
        gradient=held.get("sample.gradient"),
    )
    listed = json.loads(held["files"].cpu().numpy().tobytes())
    files = tuple(CalibrationFile(name, sha256) for name, sha256 in listed)
    if len(files) != len(logits):
        raise ValueError("files and logits do not belong together")
    surrogates = _surrogates(held)
    learned = {
        name.removeprefix(_LEARNED): tensor
        for name, tensor in held.items()
        if name.startswith(_LEARNED)
    }
    calibration = Calibration(
        network,
        logits,
        features,
        held["labels"],
        sample,
        surrogates,
        layers=held.get("layers"),
        learned=learned,
    )
    return StoredCalibration(calibration, files)


def _surrogates(held: Mapping[str, Tensor]) -> Surrogates | None:
    named = {name: held.get(f"surrogates.{name}") for name in _OF_SURROGATES}
    if (logits := named["logits"]) is None:
        return None
    if named["kinds"] is None:  # files from before they were kept: one of each kind in turn
        named["kinds"] = torch.arange(len(logits), device=logits.device) % _KINDS_BEFORE
    return Surrogates(**named)  # type: ignore[arg-type]
