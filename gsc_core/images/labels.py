"""The label of each image, as text: from a table, from class folders, or from its file name."""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from gsc_core.errors import ImageError

_FILE_COLUMNS = ("file", "filename", "image", "path", "name")
_LABEL_COLUMNS = ("label", "class", "target", "y")
_MAX_BYTES = 100_000_000
WORDNET_ID = re.compile(r"n\d{8}(?![0-9A-Za-z])", re.ASCII)

Labels = dict[str, str | None]


def labels_of(names: Sequence[str], root: Path | None, table: Path | None = None) -> Labels:
    """Find the label of each image of a set; None where there is none.

    `names` are paths relative to `root`. Looked for in this order: `table`, or else the only CSV
    in `root` (if given); WordNet ids that begin every file name of one folder (ImageNet's own
    naming); class folders, the first folder below a common one, when every image is in a folder.

    Raises ImageError when `table` cannot be read, or names none of the images.
    """
    if table is not None:
        by_name = _from_table(names, table)
        if not any(by_name.values()):
            raise ImageError(f"{table.name} names none of these images: check its file column.")
        return by_name
    tables = _tables(names, root) if root else []
    if len(tables) == 1 and _columns(_rows(tables[0])):
        by_name = _from_table(names, tables[0])
        if any(by_name.values()):
            return by_name
    return _from_names(names)


def _tables(names: Sequence[str], root: Path) -> list[Path]:
    """List the CSV files of `root`; if none, of the one folder that all its images are in."""
    folders = {PurePosixPath(name).parts[0] for name in names if "/" in name}
    here = _csv_files(root)
    return here or (_csv_files(root.joinpath(*folders)) if len(folders) == 1 else [])


def _csv_files(folder: Path) -> list[Path]:
    visible = (path for path in folder.iterdir() if not path.name.startswith("."))
    return [path for path in visible if path.suffix.lower() == ".csv" and path.is_file()]


def _from_names(names: Sequence[str]) -> Labels:
    paths = {name: PurePosixPath(name).parts for name in names}
    while len({parts[0] for parts in paths.values()}) == 1 and _all_in_folders(paths, 2):
        paths = {name: parts[1:] for name, parts in paths.items()}
    folders = {parts[:-1] for parts in paths.values()}
    ids = {name: WORDNET_ID.match(parts[-1]) for name, parts in paths.items()}
    if len(folders) == 1 and all(ids.values()):
        return {name: match[0] for name, match in ids.items() if match}
    if _all_in_folders(paths, 1):
        return {name: parts[0] for name, parts in paths.items()}
    return dict.fromkeys(names)


def _all_in_folders(paths: dict[str, tuple[str, ...]], depth: int) -> bool:
    return all(len(parts) > depth for parts in paths.values())


def _from_table(names: Sequence[str], table: Path) -> Labels:
    """Look up each image by its path, and by its bare name where no other has the same."""
    rows = _rows(table)
    columns = _columns(rows)
    if columns is None:
        raise ImageError(
            f"{table.name} has no columns called file and label: name them so in its first row."
        )
    listed: dict[str, str] = {}
    for row in rows[1:]:
        if len(row) <= max(columns):
            continue
        file = row[columns[0]].strip().replace("\\", "/").removeprefix("./")
        label = row[columns[1]].strip()
        if listed.setdefault(file, label) != label:
            raise ImageError(f"{table.name} gives {file[:80]!r} two labels: keep one of them.")
    bare = Counter(PurePosixPath(name).name for name in names)

    def label_of(name: str) -> str | None:
        path = PurePosixPath(name)
        tails = ["/".join(path.parts[at:]) for at in range(len(path.parts) - 1)]
        if bare[path.name] == 1:
            tails.append(path.name)
        return next((listed[tail] or None for tail in tails if tail in listed), None)

    return {name: label_of(name) for name in names}


def _rows(table: Path) -> list[list[str]]:
    """Read a table as nothing but text, parted by commas, semicolons or tabs as its head is."""
    try:
        if table.stat().st_size > _MAX_BYTES:
            raise ImageError(
                f"{table.name} is larger than 100 MB: give a table of files and labels."
            )
        text = table.read_text(encoding="utf-8-sig")
        head = text.partition("\n")[0]
        delimiter = max(",;\t", key=head.count)
        return [
            row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row
        ]
    except OSError as error:
        raise ImageError(f"{table.name} cannot be opened: {error.strerror or error}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ImageError(f"{table.name} is not a CSV table: save it as CSV, UTF-8.") from error


def _columns(rows: list[list[str]]) -> tuple[int, int] | None:
    head = [cell.strip().casefold() for cell in rows[0]] if rows else []
    file = next((head.index(name) for name in _FILE_COLUMNS if name in head), None)
    label = next((head.index(name) for name in _LABEL_COLUMNS if name in head), None)
    return None if file is None or label is None else (file, label)
