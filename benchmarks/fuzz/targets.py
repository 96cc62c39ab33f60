"""What is fuzzed: for each reader, how bytes become a file of its kind, and what it may answer.

A GscError is an answer, and whatever else is raised is a fault. Neither may a reader leave files
behind, or write outside the folder that it was given.
"""

from __future__ import annotations

import io
import json
import random
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.fuzz import seeds
from gsc_core.classifier.pt2.reader import open_program
from gsc_core.classifier.weights.checkpoint import open_checkpoint
from gsc_core.errors import GscError
from gsc_core.images.archive import Limits, unpack
from gsc_core.images.decode import decode_bytes
from gsc_core.images.label_table import read_table
from gsc_core.images.opening import header
from gsc_core.release.policy import read_policy

_SMALL = Limits(members=200, total_bytes=4_000_000)
_FEW_PIXELS = 2**16
_HOSTILE: tuple[Any, ...] = (
    *(None, True, -1, 0, 2**63, -(2**70), 1e308, "", "import", "torch", "__import__('os')", "../x"),
    *("\0", "é" * 600, [], {}, [[]], {"as_int": 2**62}, "Symbol('s0')", "Integer(9)"),
)


@dataclass(frozen=True)
class Target:
    """A reader: `seeds` are what it takes, `read` is called with anything."""

    name: str
    seeds: Callable[[], tuple[bytes, ...]]
    read: Callable[[bytes, Path], None]

    def try_one(self, data: bytes) -> None:
        """Have the reader read; raises what it should not have raised, or AssertionError."""
        with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
            folder = Path(name) / "here"
            folder.mkdir()
            with suppress(GscError):
                self.read(data, folder)
            assert [path.name for path in Path(name).iterdir()] == ["here"], "it wrote outside"


def _zip(data: bytes, folder: Path) -> None:
    (folder / "set.zip").write_bytes(data)
    try:
        unpack(folder / "set.zip", folder / "unpacked", _SMALL)
    finally:
        within = folder / "unpacked"
        assert all(path.resolve().is_relative_to(within) for path in within.rglob("*"))
        left = {path.name for path in folder.iterdir()} - {"set.zip", "unpacked"}
        assert not left, f"it left {left}"


def _image(data: bytes, folder: Path) -> None:
    said = header(data, "x")
    if said.width * said.height <= _FEW_PIXELS:
        decode_bytes(data, "x")


def _program(data: bytes, folder: Path) -> None:
    """The bytes are the archive, or the graph in an honest one."""
    file = folder / "x.pt2"
    file.write_bytes(data if data.startswith(b"PK") else seeds.program_with(data))
    open_program(file)


def _weights(data: bytes, folder: Path) -> None:
    """The bytes are the file, or the pickle in an honest archive of torch."""
    file = folder / "x.pt"
    file.write_bytes(seeds.weights_with(data) if data.startswith(b"\x80\x02}") else data)
    open_checkpoint(file)


def _policy(data: bytes, folder: Path) -> None:
    read_policy(data)


def _table(data: bytes, folder: Path) -> None:
    (folder / "labels.csv").write_bytes(data)
    read_table(folder / "labels.csv", seeds.IMAGE_NAMES)


TARGETS = {
    target.name: target
    for target in (
        Target("zip", seeds.archives, _zip),
        Target("image", seeds.images, _image),
        Target("program", seeds.programs, _program),
        Target("weights", seeds.weights, _weights),
        Target("policy", seeds.policies, _policy),
        Target("table", seeds.tables, _table),
    )
}


def changed(data: bytes, chance: random.Random) -> bytes:
    """The bytes with some change that keeps their form: one value of JSON, or of a ZIP's member."""
    if data.startswith(b"{"):
        with suppress(ValueError, RecursionError):
            content = json.loads(data)
            places = list(_places(content))
            holder, key = chance.choice(places)
            others = chance.choice(places)
            value = others[0][others[1]] if chance.random() < 0.3 else chance.choice(_HOSTILE)
            holder[key] = value
            with suppress(ValueError, RecursionError):  # it may now hold itself
                return json.dumps(content).encode()
    if data.startswith(b"PK") and chance.random() < 0.5:
        with suppress(Exception):
            return _with_another_member(data, chance)
    return _with_other_bytes(data, chance)


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Each place in a JSON document where a value stands: its holder, and the key or index."""
    keys = content.keys() if isinstance(content, dict) else range(len(content))
    for key in list(keys):
        yield content, key
        if isinstance(content[key], dict | list):
            yield from _places(content[key])


def _with_another_member(data: bytes, chance: random.Random) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(written, "w") as out:
        members = archive.infolist()
        changes = chance.randrange(len(members))
        for at, member in enumerate(members):
            content = archive.read(member)
            if at == changes:
                match chance.randrange(4):
                    case 0:
                        member.filename = chance.choice(["../x.png", "a/../../b.png", "é.png"])
                    case 1:
                        member.external_attr = chance.getrandbits(32)
                    case 2:
                        member.compress_type = chance.choice([0, 8])
                    case _:
                        content = changed(content, chance) if content else b"x"
            out.writestr(member, content)
    return written.getvalue()


def _with_other_bytes(data: bytes, chance: random.Random) -> bytes:
    bytes_ = bytearray(data) or bytearray(b"\0")
    match chance.randrange(4):
        case 0:
            return bytes(bytes_[: chance.randrange(len(bytes_))])
        case 1:
            at = chance.randrange(len(bytes_))
            return bytes(bytes_[:at] + chance.randbytes(chance.randrange(1, 9)) + bytes_[at:])
        case _:
            for _ in range(chance.randrange(1, 6)):
                bytes_[chance.randrange(len(bytes_))] = chance.choice([0, 255, 127, 128, 32, 34])
            return bytes(bytes_)
