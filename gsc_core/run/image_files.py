"""Where the images of a finished run lie: neither names in its files nor the disk are trusted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gsc_core.errors import GscError
from gsc_core.run.document import Settings
from gsc_core.run.layout import unpacked_folder


@dataclass(frozen=True)
class ImageFiles:
    """Finds images of the run in `folder` by role, set and file, as `scores.parquet` names them.

    id, ood and calibration are what the audit was given: a folder, a ZIP or one image each. Of
    sources that only list images, the audit leaves copies of some where ZIPs are unpacked.
    Without `calibration`, calibration images lie among the ID images.
    """

    folder: Path
    id: Path | None
    ood: Mapping[str, Path]
    calibration: Path | None = None

    @classmethod
    def of(cls, folder: Path, settings: Settings) -> ImageFiles:
        """As the settings of a run say, which a person may have edited."""
        return cls.of_sources(folder, settings.id, settings.ood, settings.calibration)

    @classmethod
    def of_sources(
        cls, folder: Path, id_set: object, ood: Mapping[str, object], calibration: object = None
    ) -> ImageFiles:
        """From sources as text, and addresses, which have no image on this disk."""
        paths = {name: _path(source) for name, source in ood.items()}
        named = {name: path for name, path in paths.items() if path is not None}
        return cls(folder, _path(id_set), named, _path(calibration))

    def path(self, role: str, set_name: str, file: str) -> Path:
        """Where an image was audited; it may be gone. A link to an image is an image.

        Raises GscError for a name that leads out of its set's folder.
        """
        root, name = self._root(role, set_name), PurePosixPath(file)
        path = root / name
        leads_out = name.is_absolute() or ".." in name.parts or "\0" in file
        if leads_out or not _is_below(path.parent, root):
            raise GscError(
                f'The run "{self.folder.name}" names an image outside its folders: run it again.'
            )
        return path

    def find(self, role: str, set_name: str, file: str) -> Path:
        """As `path`, of an image that is there. Raises GscError when it is gone."""
        path = self.path(role, set_name, file)
        if not _is_file(path):
            raise GscError(
                f"The image {file} is no longer where it was audited: put its folder back, or "
                "run the audit again."
            )
        return path

    def read(self, role: str, set_name: str, file: str, sha256: str) -> bytes:
        """The bytes that were audited. Raises GscError when they are gone, or others by now."""
        path = self.find(role, set_name, file)
        try:
            with path.open("rb") as opened:
                # Hashed piece by piece: what took its place may be too large to be held.
                if hashlib.file_digest(opened, "sha256").hexdigest() == sha256:
                    opened.seek(0)
                    return opened.read()
        except OSError as error:
            reason = error.strerror or error
            raise GscError(f"The image {file} cannot be opened ({reason}): check it.") from error
        raise GscError(
            f"The image {file} has changed since it was audited: put the old one back, or run the "
            "audit again."
        )

    def _root(self, role: str, set_name: str) -> Path:
        """The folder that a set was read from: its own, that of a single image, or the unpacked."""
        source, name = self.ood.get(set_name), set_name
        if role != "ood":
            own = role == "calibration" and self.calibration is not None
            source, name = (self.calibration, role) if own else (self.id, "id")
        unpacked = unpacked_folder(self.folder, name)
        if source is None or unpacked.is_dir():
            return unpacked
        return source if source.is_dir() or not source.is_file() else source.parent


def _path(stored: object) -> Path | None:
    if isinstance(stored, Path):
        return stored
    return Path(stored) if isinstance(stored, str) and "://" not in stored else None


def _is_below(folder: Path, root: Path) -> bool:
    try:
        return folder.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError):  # links in a circle, a name that no disk can hold
        return False


def _is_file(path: Path) -> bool:
    """Whether it is a file of its own kind: a named pipe would be waited for without end."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no disk can hold
        return False
