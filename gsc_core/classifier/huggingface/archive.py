"""A ZIP of a Hugging Face folder, as an upload brings it: only what is read is unpacked."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from gsc_core.classifier.huggingface.configuration import CONFIG, PROCESSOR
from gsc_core.classifier.huggingface.shards import is_part
from gsc_core.errors import CheckpointError
from gsc_core.files import DAMAGED_ZIP

_MOST = 4  # times the size of the ZIP: weights hardly compress


def is_one(path: Path) -> bool:
    """Whether the file is a ZIP with a `config.json`, at its top or in its one folder."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _root(archive) is not None
    except (*DAMAGED_ZIP, OSError):
        return False


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A folder with the configuration and the weights, which is removed afterwards.

    Raises CheckpointError where they would be much larger than the ZIP, or are damaged.
    """
    with tempfile.TemporaryDirectory() as aside, zipfile.ZipFile(path) as archive:
        folder = Path(aside) / path.stem
        folder.mkdir()
        root = _root(archive)
        members = {i.filename: i for i in archive.infolist()}
        names = [name for name in members if _is_read(name, root or "")]
        size = sum(members[name].file_size for name in names)
        if size > _MOST * path.stat().st_size + 2**20:
            raise CheckpointError(
                f"{path.name} would unpack to {size / 2**20:,.0f} MB, much more than its own size: "
                "make the ZIP again."
            )
        try:
            for name in names:
                with (
                    archive.open(name) as member,
                    (folder / PurePosixPath(name).name).open("wb") as f,
                ):
                    shutil.copyfileobj(member, f)
        except (*DAMAGED_ZIP, OSError) as error:
            raise CheckpointError(f"{path.name} is damaged: copy or save it again.") from error
        yield folder


def _is_read(name: str, root: str) -> bool:
    path = PurePosixPath(name.removeprefix(root))
    return (
        name.startswith(root)
        and len(path.parts) == 1
        and (path.name in (CONFIG, PROCESSOR) or is_part(path.name))
    )


def _root(archive: zipfile.ZipFile) -> str | None:
    """What the names of the members begin with; None where there is no configuration."""
    paths = [PurePosixPath(name) for name in archive.namelist()]
    configurations = [p for p in paths if p.name == CONFIG and len(p.parts) <= 2]
    if len(configurations) != 1:
        return None
    parent = str(configurations[0].parent)
    return "" if parent == "." else f"{parent}/"
