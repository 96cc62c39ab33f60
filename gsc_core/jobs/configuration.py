"""What an operator can set: one frozen model, read from the environment and one TOML file.

A setting called `upload_total_mb` is the key of that name in the file, and GSC_UPLOAD_TOTAL_MB in
the environment, which wins. The file is `gsc.toml` in GSC_HOME, or the one that GSC_CONFIG names.
docs/configuration.md has the table.
"""

from __future__ import annotations

import functools
import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, SecretStr, ValidationError, field_validator

from gsc_core.errors import GscError
from gsc_core.jobs.home import HOME, home
from gsc_core.team.settings import TeamSettings, Words, setting

PREFIX = "GSC_"
FILE, FILE_NAME = "GSC_CONFIG", "gsc.toml"
PLACES = (HOME, FILE)
"""Variables that say where to look: they are in no file."""

MB = 10**6
_MOST_BYTES = 100_000
_MB = "a whole number of MB"
_MINUTES = "a whole number of minutes, 1 or more"


class Configuration(TeamSettings):
    """Every setting with its usual value; all limits that an operator can move are here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_root: Path | None = setting(
        None, "users may choose image folders below this one instead of uploading", "a folder"
    )
    image_addresses: Words = setting(
        (), "users may name images below these addresses instead of uploading",
        "addresses such as s3://bucket/photos",
    )  # fmt: skip
    ray_address: str | None = setting(
        None, "users may have audits scored on this Ray cluster", "an address such as host:6379"
    )
    ray_workers: int | None = setting(
        None, "how many actors score there; by default one per GPU, or one per CPU",
        "a whole number, 1 or more", ge=1, le=1024,
    )  # fmt: skip
    workers: Literal["here", "elsewhere"] = setting(
        "here", "whether the app starts workers itself, or `gsc worker` does", "here or elsewhere"
    )
    worker_memory_mb: int | None = setting(
        None, "memory of a worker; by default what the machine or its group has", _MB, ge=500
    )
    model_minutes: int = setting(10, "time for the check of a model", _MINUTES, ge=1)
    set_minutes: int = setting(
        360,
        "time for reading an image set, making surrogate images, or trying many images",
        _MINUTES,
        ge=1,
    )
    image_minutes: int = setting(5, "time for judging one image", _MINUTES, ge=1)
    upload_session_mb: int = setting(4_000, "uploads of one visitor at a time", _MB, ge=0)
    upload_total_mb: int = setting(20_000, "uploads of all visitors at a time", _MB, ge=0)
    archive_files: int = setting(
        200_000, "files in an uploaded ZIP", "a whole number, 1 or more", ge=1
    )
    archive_mb: int = setting(20_000, "what an uploaded ZIP unpacks to", _MB, ge=1)
    share_days: int = setting(
        90, "the longest time for which a report is shared", "a whole number of days, 1 to 3650",
        ge=1, le=3650,
    )  # fmt: skip
    disk_reserve_mb: int = setting(
        1_000, "with less free disk space the app reports that it is unhealthy", _MB, ge=0
    )
    metrics: Literal["closed", "loopback", "open"] = setting(
        "closed", "who may read the metrics without a token: nobody, this machine, everybody",
        "closed, loopback or open",
    )  # fmt: skip
    metrics_token: SecretStr | None = setting(
        None, "whoever sends this as a bearer token may read the metrics",
        "20 or more characters", min_length=20,
    )  # fmt: skip

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth(cls, value: Any) -> Any:
        if isinstance(value, bool):  # which Python takes for a number
            raise ValueError("true and false are not numbers")
        return value


def variable(setting: str) -> str:
    """The setting's name in the environment."""
    return PREFIX + setting.upper()


def configuration_file() -> Path:
    """The TOML file, which need not be there unless GSC_CONFIG names it."""
    return Path(os.environ.get(FILE) or home() / FILE_NAME).absolute()


def configuration() -> Configuration:
    """The settings as they are now. Raises GscError, one sentence, for what cannot be meant."""
    given = {n: v.strip() for n, v in os.environ.items() if n.startswith(PREFIX) and v.strip()}
    file = configuration_file()
    return _read(file, _stamp(file), tuple(sorted(given.items())))


def configured_in(file: Path, given: Mapping[str, str]) -> Configuration:
    """The settings of a file, if it is there, and of an environment; raises as `configuration`."""
    by_variable = {variable(name): name for name in Configuration.model_fields}
    stored = _stored(file, required=FILE in given)
    for name in stored.keys() - Configuration.model_fields.keys():
        raise GscError(_unknown(f"{name!r} in {file}", name, Configuration.model_fields))
    for name in given:
        if name not in by_variable and name not in PLACES and name.startswith(PREFIX):
            raise GscError(_unknown(name, name, by_variable))
    named = {by_variable[name]: text for name, text in given.items() if name in by_variable}
    try:
        return Configuration.model_validate(stored | named)
    except ValidationError as error:
        setting = str(error.errors()[0]["loc"][0])
        expects = Configuration.model_fields[setting].title
        where = variable(setting) if setting in named else f"{setting} in {file}"
        said = "" if "token" in setting else f" is {str((stored | named)[setting])[:20]!r}"
        raise GscError(f"{where}{said or ' cannot be used'}: set it to {expects}.") from None


@functools.lru_cache(maxsize=8)
def _read(
    file: Path, _: tuple[int, int] | None, given: tuple[tuple[str, str], ...]
) -> Configuration:
    return configured_in(file, dict(given))


def _stamp(file: Path) -> tuple[int, int] | None:
    """Changes when the file does."""
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def _stored(file: Path, *, required: bool) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            text = opened.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        if required:
            raise GscError(f"{FILE} names {file}, which does not exist: correct it.") from None
        return {}
    except OSError as error:
        raise GscError(f"{file} cannot be read ({error.strerror}): check who owns it.") from error
    if len(text) > _MOST_BYTES:
        raise GscError(f"{file} is too long for a configuration: correct it.")
    try:
        return tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise GscError(f"{file} is not TOML ({error}): correct that line.") from error


def _unknown(what: str, name: str, names: Mapping[str, object]) -> str:
    near = get_close_matches(name, names, n=1)
    advice = f"did you mean {near[0]}?" if near else "remove it."
    return f"{what} is not a setting of GSC Audit: {advice}"
