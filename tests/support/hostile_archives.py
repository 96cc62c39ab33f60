"""ZIPs that attack whoever unpacks them, each made in memory."""

import io
import stat
import struct
import zipfile
from collections.abc import Mapping

from uploads import png

PNG = png(1)


def zipped(members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def of_kind(mode: int, target: bytes = b"/etc/passwd") -> bytes:
    """A member that is no plain file: a link, a device."""
    member = zipfile.ZipInfo("a.png")
    member.create_system, member.external_attr = 3, mode << 16
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(member, target)
    return file.getvalue()


def named_twice(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, PNG)
    return file.getvalue()


def with_flags(flags: int) -> bytes:
    """The general flags of every header changed: 1 is encrypted."""
    data = bytearray(zipped({"a.png": PNG}))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        struct.pack_into("<H", data, data.index(mark) + at, flags)
    return bytes(data)


def renamed(name: bytes) -> bytes:
    """A member whose stored name is these bytes, which zipfile would not write."""
    data = zipped({"n" * len(name) + ".png": PNG})
    return data.replace(b"n" * len(name), name)


def lying_size(size: int) -> bytes:
    """The directory says so many bytes of a member that has fewer."""
    data = bytearray(zipped({"a.png": PNG}))
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, size)
    return bytes(data)


def bomb() -> bytes:
    return zipped({"a.bmp": bytes(20_000_000)}, zipfile.ZIP_DEFLATED)


def changed_byte() -> bytes:
    data = bytearray(zipped({"a.png": PNG}))
    data[60] ^= 0xFF
    return bytes(data)


LINK, DEVICE, PIPE = (kind | 0o644 for kind in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO))
