"""Images elsewhere than in the workspace that an operator allowed: folders and addresses.

Folders are those below GSC_IMAGE_ROOT, addresses those below GSC_IMAGE_ADDRESSES.
"""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from gsc_core.errors import GscError
from gsc_core.images.sources.uri import Reach
from gsc_core.jobs.configuration import configuration, variable

VARIABLE = variable("image_root")
_MOST, _DEEPEST = 2000, 4


def allowed_addresses() -> Reach:
    """The addresses that image sets may name."""
    return Reach(tuple(address.strip() for address in configuration().image_addresses))


def image_root() -> Path | None:
    """The directory an operator allowed, or None when none was."""
    named = configuration().image_root
    return None if named is None else named.resolve()


def folders() -> list[str]:
    """Folders below the allowed directory, relative to it, in order: four deep, 2,000 at most.

    The directory itself is `"."`. Hidden and linked folders are passed over. Without an allowed
    directory the list is empty.
    """
    root = image_root()
    if root is None or not root.is_dir():
        return []
    return [".", *islice(_below(root, root, 1), _MOST)]


def folder_below(relative: str) -> Path:
    """The folder of that name below the allowed directory, links resolved.

    Raises GscError when there is no allowed directory, no such folder, or it lies elsewhere.
    """
    root = image_root()
    if root is None:
        raise GscError(
            f"Folders of this server cannot be used: its operator must set {VARIABLE} first."
        )
    try:
        folder = (root / relative).resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in it, or links in a circle
        raise GscError("That is not the name of a folder: choose one from the list.") from error
    if not folder.is_relative_to(root):
        raise GscError("That folder is outside the allowed directory: choose one from the list.")
    if not folder.is_dir():
        raise GscError("That folder no longer exists: choose another from the list.")
    return folder


def _below(root: Path, folder: Path, depth: int) -> Iterator[str]:
    for part in _subfolders(folder):
        yield part.relative_to(root).as_posix()
        if depth < _DEEPEST:
            yield from _below(root, part, depth + 1)


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            folders = [Path(e.path) for e in entries if e.is_dir(follow_symlinks=False)]
    except OSError:  # one that may not be read is not offered
        return []
    return sorted(path for path in folders if not path.name.startswith(".") and _is_text(path.name))


def _is_text(name: str) -> bool:
    return name.isprintable()
