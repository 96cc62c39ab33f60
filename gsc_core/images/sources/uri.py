"""What a person names as the source of a set: a path on this machine, or an address elsewhere.

Credentials are never part of an address: the libraries take them from the environment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias
from urllib.parse import unquote, urlsplit

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from gsc_core.errors import ImageError

SCHEMES = ("s3", "gs", "az")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_MAX_CHARACTERS = 1024


@dataclass(frozen=True, order=True)
class Uri:
    """An object, or a prefix of objects, in a bucket: `s3://bucket/photos/cat.jpg`."""

    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def scheme(self) -> str:
        """`s3`, `gs` or `az`."""
        return self.text.partition("://")[0]

    @property
    def key(self) -> str:
        """Bucket and object, as a file system names them."""
        return self.text.partition("://")[2]

    @property
    def name(self) -> str:
        """The last part of it, as that of a path."""
        return self.text.rstrip("/").rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The ending of its name, as that of a path."""
        return Path(self.name).suffix

    def joined(self, relative: str) -> Uri:
        """What has this name below it. Raises ImageError as `uri_of` does."""
        return uri_of(f"{self.text.rstrip('/')}/{relative}")


def uri_of(text: str) -> Uri:
    """An address as it is written. Raises ImageError unless it can be one, and no more than one."""
    scheme, _, key = text.partition("://")
    if scheme not in SCHEMES:
        raise ImageError(
            f"{_quoted(text)} does not begin with any of {', '.join(f'{s}://' for s in SCHEMES)} "
            "or file://: give such an address, or a path."
        )
    parts = key.rstrip("/").split("/")
    if "@" in parts[0] or "?" in key or "#" in key:
        raise ImageError(
            f"{scheme}:// addresses hold only a bucket and a name: give credentials and settings "
            "in the environment."
        )
    harmful = not text.isprintable() or "\\" in text or len(text) > _MAX_CHARACTERS
    if harmful or {"", ".", ".."} & set(parts):
        raise ImageError(
            f"{_quoted(text)} is not the address of an object: write scheme://bucket/name, without "
            "dots for folders in it."
        )
    return Uri(text)


def source_of(said: object) -> Path | Uri:
    """A source as it was said: an address of a bucket, else a path, also after `file://`.

    Raises ImageError for an address that cannot be used, ValueError for what is not text.
    """
    if isinstance(said, Path | Uri):
        return said
    if not isinstance(said, str):
        raise ValueError("a source of images is a path or an address")
    if (scheme := _SCHEME.match(said)) is None:
        return Path(said)
    if scheme[1] == "file":
        parts = urlsplit(said)
        if parts.netloc not in ("", "localhost"):
            raise ImageError(f"{_quoted(said)} is on another machine: write file:///path.")
        return Path(unquote(parts.path))
    return uri_of(said)


def _validated(said: object) -> Path | Uri:
    try:
        return source_of(said)
    except ImageError as error:  # pydantic collects ValueErrors
        raise ValueError(str(error)) from error


ImageSource: TypeAlias = Annotated[
    Path | Uri,
    PlainValidator(_validated),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string"}),
]
"""The source of a set as a field of a model: stored as text."""


@dataclass(frozen=True)
class Reach:
    """What images a set may name: anywhere in buckets for its owner, or below some prefixes.

    `prefixes` None is the command line: whoever calls it has the credentials.
    """

    prefixes: tuple[str, ...] | None = None

    def require(self, uris: Iterable[Uri]) -> None:
        """Raise ImageError for the first of these that lies elsewhere."""
        if self.prefixes is None:
            return
        roots = tuple(prefix.rstrip("/") + "/" for prefix in self.prefixes)
        for uri in uris:
            if not f"{uri.text.rstrip('/')}/".startswith(roots):
                raise ImageError(
                    f"{_quoted(uri.text)} is not below any address that the operator has "
                    "allowed: choose another, or ask the operator."
                )


EVERYWHERE = Reach()


def _quoted(text: Any) -> str:
    return ascii(str(text)[:60] + ("…" if len(str(text)) > 60 else ""))
