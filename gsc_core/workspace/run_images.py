"""Images of a run to take along: as a ZIP, with what they show, and the rest of a marked set."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gsc_core.errors import GscError
from gsc_core.images.names import composed
from gsc_core.run.class_names import names_of
from gsc_core.run.gallery import RunImage, run_images
from gsc_core.run.image_files import ImageFiles
from gsc_core.run.marks import by_row
from gsc_core.run.stored import Run

MAX_IMAGES, MAX_BYTES = 5000, 500_000_000  # of a ZIP that is made while somebody waits
LABELS_FILE = "labels.csv"


@dataclass(frozen=True)
class Remainder:
    """What is left of a set of a run: `rows`, and how many were left out by their marks."""

    set: str
    rows: tuple[int, ...]
    left_out: int


def remainders(run: Run) -> tuple[Remainder, ...]:
    """Each set of which some image is left out, and some is not. Raises GscError as `by_row`."""
    out = {row for row, mark in by_row(run).items() if mark.doubt is not None}
    parts = (
        Remainder(name, tuple(row for row in rows if row not in out), sum(r in out for r in rows))
        for name, rows in ((name, rows.tolist()) for name, rows in run.members().by_name.items())
    )
    return tuple(part for part in parts if part.left_out and part.rows)


def ensure_few(run: Run, rows: Sequence[int]) -> None:
    """Raises GscError for more images than are packed while somebody waits."""
    few = len(rows) <= MAX_IMAGES
    if few:
        sizes = (_bytes(image.path) for image in run_images(run, rows))
        few = sum(sizes) <= MAX_BYTES
    if not few:
        raise GscError(
            f"A ZIP holds at most {MAX_IMAGES:,} images or {MAX_BYTES // 10**6} MB: select fewer, "
            "or make an image set of them."
        )


def images_zip(run: Run, rows: Sequence[int]) -> bytes:
    """A ZIP of images as they were audited, by set where they are of several.

    Beside familiar images lies `labels.csv` with what they show, corrected where somebody did.
    Raises GscError as `ensure_few` does, and for an image that is gone or has changed.
    """
    ensure_few(run, rows)
    images = run_images(run, rows)
    several = len({_set(image) for image in images}) > 1
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as packed:
        for image in images:
            name = f"{_folder(_set(image))}/{image.file}" if several else image.file
            packed.writestr(name, _content(run, image))
        if table := labels_csv(run, images, several=several):
            packed.writestr(LABELS_FILE, table)
    return file.getvalue()


def write_images(
    run: Run, rows: Sequence[int], folder: Path, on_count: Callable[[int, int], None]
) -> None:
    """Copy images as they were audited into a folder, with `labels.csv` as in `images_zip`.

    Raises GscError for an image that is gone or has changed.
    """
    images = run_images(run, rows)
    for at, image in enumerate(images, 1):
        path = folder / image.file  # a name that leads out was refused with the image's own path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_content(run, image))
        on_count(at, len(images))
    if table := labels_csv(run, images, several=False):
        (folder / LABELS_FILE).write_text(table, encoding="utf-8")


def labels_csv(run: Run, images: Sequence[RunImage], *, several: bool) -> str:
    """A table of `file` and `label` of familiar images, as class names; empty without labels.

    Class numbers where names are missing, or stand for two classes.
    """
    marks = by_row(run)
    names = names_of(run)
    named = bool(names) and len({composed(name) for name in names}) == len(names)

    def lines() -> Iterator[tuple[str, str]]:
        for image in images:
            mark = marks.get(image.row)
            index = image.label if mark is None or mark.label is None else mark.label
            if index is not None and image.role != "ood":
                label = names[index] if named and index < len(names) else str(index)
                file = f"{_folder(_set(image))}/{image.file}" if several else image.file
                yield file, label

    rows = [*lines()]
    if not rows:
        return ""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("file", "label"), *rows])
    return text.getvalue()


def _set(image: RunImage) -> str:
    return image.set if image.role == "ood" else image.role


def _folder(set_name: str) -> str:
    """A set's name as that of a folder in a ZIP."""
    safe = "".join(c if c.isalnum() or c in " -_()" else "_" for c in set_name).strip(" .")
    return PurePosixPath(safe or "set").name


def _content(run: Run, image: RunImage) -> bytes:
    files = ImageFiles.of(run.path, run.settings)
    return files.read(image.role, image.set, image.file, run.sha256(image.row))


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError):  # gone: to be said when it is packed
        return 0
