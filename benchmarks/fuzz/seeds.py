"""Honest files of each kind, small and made here: what fuzzing starts from."""

from __future__ import annotations

import functools
import io
import pickle
import struct
import zipfile
from typing import Any

import safetensors.torch
import torch
from PIL import Image
from torch import nn
from torch.export import Dim

from gsc_core.release.policy import example

IMAGE_NAMES = ("a/1.png", "a/2.png", "b/1.png", "c d.jpg")
_MODEL = "models/model.json"
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")


def archives() -> tuple[bytes, ...]:
    """ZIPs of images, stored and deflated."""
    members = {
        "a/1.png": images()[0],
        "labels.csv": tables()[0],
        "b/": b"",
        ".hidden.png": b"x",
        "b/notes.txt": b"x",
    }
    return _zip(members, zipfile.ZIP_STORED), _zip(members, zipfile.ZIP_DEFLATED), _zip({}, 0)


def images() -> tuple[bytes, ...]:
    """One of each format, and such as have more to tell."""
    picture = Image.linear_gradient("L").resize((16, 12)).convert("RGB")
    turned = Image.Exif()
    turned[0x0112] = 6
    files = [_saved(picture, each) for each in _FORMATS]
    files.append(_saved(picture, "JPEG", exif=turned))
    files.append(_saved(picture.convert("RGBA"), "PNG"))
    files.append(_saved(picture.convert("P"), "GIF", save_all=True, append_images=[picture]))
    files.append(_saved(picture.convert("I;16"), "TIFF", compression="tiff_lzw"))
    files.append(_saved(picture.convert("CMYK"), "JPEG"))
    return tuple(files)


def programs() -> tuple[bytes, ...]:
    """An exported classifier, and its graph alone."""
    whole = _program()
    return whole, _members(whole)[_MODEL]


def weights() -> tuple[bytes, ...]:
    """A state dict in each format, and the pickle of one alone."""
    state = {"conv.weight": torch.ones(2, 3, 3, 3), "fc.bias": torch.arange(4.0)}
    zipped, legacy = io.BytesIO(), io.BytesIO()
    torch.save(state, zipped)
    torch.save({"state_dict": state, "epoch": 3}, legacy, _use_new_zipfile_serialization=False)
    told = {"architecture": "torchvision/resnet18", "options": "{}"}
    return (
        zipped.getvalue(),
        legacy.getvalue(),
        safetensors.torch.save(state, told),
        struct.pack("<Q", 2) + b"{}",
        _members(zipped.getvalue())["data.pkl"],
        pickle.dumps({"a": [1, 2.5, "x"]}, 2),
    )


def policies() -> tuple[bytes, ...]:
    """The example, and one rule."""
    rule = b'[[rule]]\nmetric = "fpr95"\ndetector = "gsc-auto"\nat_most = 0.2\n'
    return example().encode(), rule


def tables() -> tuple[bytes, ...]:
    """Labels in each form: two columns, one-hot, without a head, with a byte order mark."""
    return (
        b"file,label\na/1.png,cat\na/2.png,dog\nb/1.png,cat\n",
        b"\xef\xbb\xbffile;cat;dog\r\na/1.png;1;0\r\na/2.png;0;1\r\n",
        b'"c d.jpg"\t"a ""cat"""\na/1.png\tdog\n',
        b"id,y\n1,0\n2,1\n",
    )


def program_with(graph: bytes) -> bytes:
    """The exported classifier with another graph."""
    members = _members(_program()) | {_MODEL: graph}
    return _zip({f"model/{name}": content for name, content in members.items()}, 0)


def weights_with(pickled: bytes) -> bytes:
    """The state dict with another pickle."""
    members = _members(weights()[0]) | {"data.pkl": pickled}
    return _zip({f"x/{name}": content for name, content in members.items()}, 0)


class _Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 2, 3), nn.Linear(2, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(self.conv(images).relu().mean((2, 3)))
        return logits


@functools.cache
def _program() -> bytes:
    torch.manual_seed(0)
    exported = torch.export.export(
        _Small().eval(), (torch.zeros(2, 3, 8, 8),), dynamic_shapes=({0: Dim("batch")},)
    )
    file = io.BytesIO()
    torch.export.save(exported, file)
    return file.getvalue()


def _members(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name.partition("/")[2]: opened.read(name) for name in opened.namelist()}


def _zip(members: dict[str, bytes], compression: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def _saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()
