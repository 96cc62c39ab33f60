"""Files and objects by name: size, listing, and bytes of a part, on this machine or in a bucket.

Buckets are read by Arrow's file systems. They take region, endpoint and credentials from the
environment, and are made in the process that reads: they do not survive a fork.
"""

from __future__ import annotations

import functools
import io
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from gsc_core.errors import ImageError
from gsc_core.images.sources.uri import Uri

Place = Path | Uri
"""A file, or an object."""

_SECONDS = 30  # until an address that does not answer is given up
_BUFFER = 1 << 20
_SETTINGS = ("AWS_", "AZURE_", "GOOGLE_", "CLOUD_STORAGE_")
"""How the variables begin that the file systems read."""
_REFUSED = re.compile(
    r"\b40[13]\b|authenti[cf]|authoriz|access.?denied|access token|signature|InvalidAccessKey",
    re.IGNORECASE,
)
"""What the services say of credentials that are missing or wrong."""


@functools.lru_cache(maxsize=64)
def _system(
    scheme: str, container: str, process: int, settings: frozenset[tuple[str, str]]
) -> fs.FileSystem:
    """The file system of a bucket, for one process and what its environment says of it."""
    if scheme == "s3":
        # Arrow asks the SDK for credentials, and would ask AWS for the region of each bucket.
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        kind, _, host = (endpoint or "").rpartition("://")
        return fs.S3FileSystem(
            region=region,
            endpoint_override=host or None,
            scheme=kind or "https",
            connect_timeout=_SECONDS,
            request_timeout=_SECONDS,
        )
    if scheme == "gs":
        # What the SDK calls an emulator wants no credentials, and it would look for some.
        emulated = "CLOUD_STORAGE_EMULATOR_ENDPOINT" in os.environ
        limit = timedelta(seconds=_SECONDS)  # else it tries for a quarter of an hour
        return fs.GcsFileSystem(anonymous=emulated, retry_time_limit=limit)
    account = _azure(os.environ)
    system = fs.AzureFileSystem(**account)
    if not {"account_key", "sas_token"} & account.keys():
        # Where these fail, Arrow ends the process as an object is opened, and raises here.
        system.get_file_info(f"{container}/-")
    return system


def _azure(environment: Mapping[str, str]) -> dict[str, str]:
    """What Arrow asks of an account, from what Azure's own libraries read of the environment.

    Raises ImageError where no account is named.
    """
    said = environment.get("AZURE_STORAGE_CONNECTION_STRING", "")
    pairs = (part.split("=", 1) for part in said.split(";") if "=" in part)
    stated = {name.strip(): value.strip() for name, value in pairs}
    account = stated.get("AccountName") or environment.get("AZURE_STORAGE_ACCOUNT_NAME")
    if not account:
        raise ImageError(
            "az:// needs the name of an account: set AZURE_STORAGE_ACCOUNT_NAME, or "
            "AZURE_STORAGE_CONNECTION_STRING."
        )
    sas = stated.get("SharedAccessSignature") or environment.get("AZURE_STORAGE_SAS_TOKEN")
    key = stated.get("AccountKey") or environment.get("AZURE_STORAGE_ACCOUNT_KEY")
    settings = {"account_name": account}
    if sas:
        settings["sas_token"] = sas
    elif key:
        settings["account_key"] = key
    if "BlobEndpoint" in stated:
        endpoint = urlsplit(stated["BlobEndpoint"])
        host = endpoint.netloc.removeprefix(account)  # `.blob.…`, or a server that is no account's
        for service in ("blob", "dfs"):
            place = host.replace(".blob.", f".{service}.", 1)
            settings[f"{service}_storage_authority"] = place
            settings[f"{service}_storage_scheme"] = endpoint.scheme
    return settings


def _of(place: Place) -> tuple[fs.FileSystem, str]:
    if isinstance(place, Uri):
        settings = frozenset(pair for pair in os.environ.items() if pair[0].startswith(_SETTINGS))
        container = place.key.partition("/")[0]
        return _system(place.scheme, container, os.getpid(), settings), place.key
    return fs.LocalFileSystem(), str(place.absolute())


@contextmanager
def reading(place: Place, name: str) -> Iterator[None]:
    """Turn what a disk or a bucket refuses into one sentence (ImageError) about `name`."""
    try:
        yield
    except FileNotFoundError as error:
        raise ImageError(f"{name} does not exist: check the address.") from error
    except (OSError, pa.ArrowException) as error:
        if not isinstance(error, PermissionError) and _REFUSED.search(str(error)):
            raise ImageError(
                f"{name} cannot be read with the credentials of the environment: check these, and "
                "who may read it."
            ) from error
        said = str(getattr(error, "strerror", None) or error).splitlines()[0][:200].rstrip(". ")
        raise ImageError(f"{name} cannot be read: {said}.") from error


def size_of(place: Place, name: str) -> int:
    """Bytes of a file or object. Raises ImageError unless it is one."""
    with reading(place, name):
        if isinstance(place, Path):
            _require_file(place, name)
            return place.stat().st_size
        system, key = _of(place)
        info = system.get_file_info(key)
    if info.type != fs.FileType.File:
        raise ImageError(f"{name} does not exist: check the address, and who may read it.")
    return int(info.size)


def _require_file(path: Path, name: str) -> None:
    if not path.is_file():  # a named pipe would be waited for without end
        raise ImageError(f"{name} is not a file that can be read: check the path.")


def whole(place: Place, limit: int, name: str) -> bytes | None:
    """All bytes of a file or object; None where they are more than `limit`.

    It is opened once: each look at an object in a bucket is a request that is paid for.
    """
    with reading(place, name):
        if isinstance(place, Path):
            _require_file(place, name)
        system, key = _of(place)
        with system.open_input_file(key) as file:
            return bytes(file.read_at(file.size(), 0)) if file.size() <= limit else None


def part_of(place: Place, offset: int, size: int, name: str) -> bytes:
    """So many bytes from `offset` on. Raises ImageError where there are fewer."""
    with reading(place, name):
        system, key = _of(place)
        with system.open_input_file(key) as file:
            data = bytes(file.read_at(size, offset))
    if len(data) != size:
        raise ImageError(f"{name} is cut off: copy it again.")
    return data


@contextmanager
def opened(place: Place, name: str) -> Iterator[Any]:
    """The file or object as a Python file that can seek."""
    with reading(place, name):
        system, key = _of(place)
        with system.open_input_file(key) as file:
            yield file


def buffered(file: Any) -> io.BufferedReader:
    """Read ahead, so that many small reads of a remote object are few requests."""
    return io.BufferedReader(file, _BUFFER)


def below(place: Place, name: str) -> list[tuple[str, Place]]:
    """What lies below a folder or prefix, at any depth, by name relative to it, in order.

    Hidden files are passed over, and no link is entered.
    """
    with reading(place, name):
        system, key = _of(place)
        root = key.rstrip("/")
        infos = system.get_file_info(fs.FileSelector(root, recursive=True))
    relative = (info.path[len(root) + 1 :] for info in infos if info.type == fs.FileType.File)
    names = sorted(path for path in relative if not any(p[:1] == "." for p in path.split("/")))
    if isinstance(place, Uri):
        return [(path, place.joined(path)) for path in names]
    return [(path, place / path) for path in names]
