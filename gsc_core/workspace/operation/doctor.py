"""Looks at an installation and its workspace, and says what an operator should do."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from gsc_core.classifier.installation import check_installation
from gsc_core.errors import GscError
from gsc_core.evaluation.counts import number_of
from gsc_core.extras import missing
from gsc_core.jobs.configuration import MB, Configuration, configuration, configuration_file
from gsc_core.jobs.database import DATABASE_FILE, VERSION
from gsc_core.jobs.home import home
from gsc_core.jobs.limits import cores, worker_memory
from gsc_core.workspace.operation.check import Check, Level
from gsc_core.workspace.operation.health import disk_check, free_bytes, health
from gsc_core.workspace.operation.web_settings import CONFIG, WebSettings, web_settings

_MIB = 2**20
_LEAST_MEMORY = 4 * 10**9


def examine(folder: Path) -> list[Check]:
    """Every check, for an app that is started in a folder; none of them changes anything."""
    try:
        settings = configuration()
    except GscError as error:
        return [Check("configuration", Level.BAD, str(error)), _libraries(), _torch()]
    web = web_settings(folder)
    looks: tuple[Callable[[], Check], ...] = (
        _configuration,
        _libraries,
        _torch,
        _device,
        _memory,
        lambda: disk_check(free_bytes()),
        _workspace,
        lambda: health().checks()[-1],
        lambda: _uploads(settings, web),
        lambda: _login(settings, web),
        lambda: _address(web),
    )
    return [look() for look in looks]


def _configuration() -> Check:
    file = configuration_file()
    said = f"{file} and the environment" if file.exists() else "The environment"
    return Check("configuration", Level.GOOD, f"{said} can be read.")


def _libraries() -> Check:
    sentence = missing("streamlit", "starlette", "python-multipart", "plotly", "sqlmodel")
    if sentence is not None:
        return Check("libraries", Level.BAD, sentence)
    return Check("libraries", Level.GOOD, "What the app needs is installed.")


def _torch() -> Check:
    try:
        check_installation()
    except GscError as error:
        return Check("torch", Level.BAD, str(error))
    import torch  # noqa: PLC0415 - heavy
    import torchvision  # noqa: PLC0415

    both = f"torch {torch.__version__} and torchvision {torchvision.__version__}"
    return Check("torch", Level.GOOD, f"{both} fit together.")


def _device() -> Check:
    try:
        import torch  # noqa: PLC0415 - heavy
    except (ImportError, OSError):
        return Check("device", Level.BAD, "Without torch nothing is computed: install it.")
    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        said = f"{card.name} with {card.total_memory / 1e9:.0f} GB."
        return Check("device", Level.GOOD, said)
    if Path("/dev/nvidiactl").exists():
        return Check(
            "device",
            Level.WARN,
            "There is a graphics card that torch cannot use: install a driver and a torch of the "
            "same CUDA version.",
        )
    return Check("device", Level.GOOD, f"No graphics card: {cores()} processor cores.")


def _memory() -> Check:
    limit = worker_memory()
    said = f"A worker may use {limit / 1e9:.1f} GB of memory"
    if limit < _LEAST_MEMORY:
        return Check("memory", Level.WARN, f"{said}: audits of large networks need 4 GB or more.")
    return Check("memory", Level.GOOD, f"{said}.")


def _workspace() -> Check:
    folder = home()
    if not folder.exists():
        said = f"{folder} does not exist yet; it is made when the app or an audit needs it."
        return _writable(folder, folder.parent, said)
    file = folder / DATABASE_FILE
    if not file.exists():
        return _writable(folder, folder, f"{folder} is empty and can be written.")
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=5)) as index:
            (version,) = index.execute("PRAGMA user_version").fetchone()
            (sound,) = index.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        busy = "locked" in str(error)
        advice = "try again" if busy else "move it away; finished runs are found without it"
        return Check("workspace", Level.BAD, f"{file} cannot be read ({error}): {advice}.")
    if sound != "ok":
        return Check(
            "workspace", Level.BAD, f"{file} is damaged: restore a backup, or move it away."
        )
    if version > VERSION:
        return Check(
            "workspace",
            Level.BAD,
            f"{file} was written by a newer version of this program: install that version.",
        )
    old = f"of version {version}, and becomes {VERSION} when it is opened"
    state = f"version {version}" if version == VERSION else old
    return _writable(folder, folder, f"{folder} can be written; its index is {state}.")


def _writable(folder: Path, parent: Path, good: str) -> Check:
    there = next(path for path in (parent, *parent.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            return Check("workspace", Level.GOOD, good)
    except OSError as error:
        return Check(
            "workspace",
            Level.BAD,
            f"{folder} cannot be written ({error.strerror}): check who owns it, or set GSC_HOME "
            "to another folder.",
        )


def _uploads(settings: Configuration, web: WebSettings) -> Check:
    session, one = settings.upload_session_mb * MB, web.max_upload_mb * _MIB
    said = f"{one / MB:,.0f} MB per file, {session / MB:,.0f} MB per visitor"
    if one > session:
        return Check(
            "uploads",
            Level.WARN,
            f"{said}: a file may be larger than what its visitor may send, so raise "
            "GSC_UPLOAD_SESSION_MB or lower server.maxUploadSize.",
        )
    if settings.upload_total_mb * MB > free_bytes():
        return Check(
            "uploads",
            Level.WARN,
            f"{said}: all uploads together ({settings.upload_total_mb:,} MB) may be more than the "
            "disk holds, so lower GSC_UPLOAD_TOTAL_MB.",
        )
    return Check("uploads", Level.GOOD, f"{said}.")


def _login(settings: Configuration, web: WebSettings) -> Check:
    if web.unreadable is not None:
        return Check(
            "login", Level.BAD, f"{web.unreadable} cannot be read as TOML: nobody is let in."
        )
    if not web.has_login:
        level = Level.WARN if web.listens_here_only else Level.BAD
        return Check("login", level, "No login is set up: see the README, For operators.")
    try:
        people = settings.beside_login(web.people)
    except GscError as error:
        return Check("login", Level.BAD, f"{error} Until then nobody is let in.")
    if people.lets_everyone_in:
        return Check(
            "login",
            Level.WARN,
            "Everybody with an account at the provider gets in, as an operator: set [gsc] allowed.",
        )
    names = {*(people.allowed or ()), *people.operators, *people.auditors, *people.readers}
    if not names:
        return Check("login", Level.BAD, "[gsc] names nobody, so nobody is let in: set allowed.")
    return Check("login", Level.GOOD, f"A login is set up for {number_of(len(names), 'name')}.")


def _address(web: WebSettings) -> Check:
    where = web.address or "every address of this machine"
    if not web.has_config:
        return Check(
            "address",
            Level.WARN,
            f"There is no {CONFIG} in {Path(os.curdir).resolve()}: run this where the app is "
            "started.",
        )
    if web.listens_here_only:
        return Check("address", Level.GOOD, f"The app listens on {where}: on this machine alone.")
    if web.has_login:
        return Check("address", Level.GOOD, f"The app listens on {where}, behind its login.")
    return Check(
        "address",
        Level.BAD,
        f"The app listens on {where} without a login: set server.address to 127.0.0.1, or set up "
        "a login.",
    )
