"""The label of each image, as text: from a table, from class folders, or from its file name."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from gsc_core.errors import ImageError
from gsc_core.errors.questions import Answer, Choice, Question, Setting
from gsc_core.images.dataset_parts import Parts, parts_of
from gsc_core.images.label_table import TABLE_SUFFIXES, ContradictionError, LabelTable, read_table
from gsc_core.images.names import composed

WORDNET_ID = re.compile(r"n\d{8}(?![0-9A-Za-z])", re.ASCII)
_ALIKE = 0.75  # share of images on which a table and folders of the same classes agree at least

Labels = dict[str, str | None]
LabelsFrom = Path | Literal["folders"]
"""Where labels are taken from, when that is asked for: a table, or the folders and file names."""


def labels_from(said: str | Path | None) -> LabelsFrom | None:
    """What labels are taken from, as a person says it: `folders`, or a table."""
    if said is None:
        return None
    return "folders" if str(said) == "folders" else Path(said)


@dataclass(frozen=True)
class Labelling:
    """The label of each image by its name, None where there is none, and where they come from.

    `source` is a sentence, empty without labels and tables. `question` is what has to be asked
    before these labels are used, in words that go on from the set's name.
    """

    labels: Labels
    source: str = ""
    question: Question | None = None


def labels_of(
    names: Sequence[str],
    root: Path | None,
    asked: LabelsFrom | None = None,
    copies: Sequence[str] = (),
) -> Labelling:
    """Find the label of each image of a set.

    `names` are paths relative to `root`, `copies` those of images that are left out. Looked for in
    this order, unless `asked` decides: the one table in `root` (if given) that names images and
    labels; WordNet ids that begin every file name of one folder (ImageNet's own naming); class
    folders, the first folder below a common one, when every image is in a folder. A table that was
    asked for and is not there is looked for in `root` and above it.

    Raises ImageError when a table that was asked for cannot be read, or names none of the images,
    and when a table gives an image two labels.
    """
    if isinstance(asked, Path):
        table = read_table(_placed(asked, root), names)
        if not table.labels:
            raise ImageError(f"{table.name} names none of these images: check its file column.")
        return Labelling(_of_table(table, names), _from_table(table))
    folders = _from_names(names)
    if asked == "folders":
        return Labelling(folders, _FROM_FOLDERS if any(folders.values()) else "")
    parts = parts_of([*names, *copies])
    question = None if parts is None else _which_part(parts, names, root)
    usable, unused = _tables(names, root, folders) if root else ([], [])
    if len(usable) == 1:
        labelling = _beside_folders(usable[0], folders, names, root)
    else:
        by_folders = _FROM_FOLDERS if any(folders.values()) else ""
        labelling = Labelling(folders, by_folders, _which_table(usable, folders, root))
    source = " ".join(filter(None, (labelling.source, *unused)))
    return Labelling(labelling.labels, source, question or labelling.question)


_FROM_FOLDERS = "They come from the names of folders and files."


def _from_table(table: LabelTable) -> str:
    return f"They come from {table.name} ({table.columns})."


def _of_table(table: LabelTable, names: Sequence[str]) -> Labels:
    return {name: table.labels.get(name) for name in names}


def _placed(table: Path, root: Path | None) -> Path:
    """Where a table is that is named by its path in a set's folder or above that."""
    if table.exists() or root is None or table.is_absolute():
        return table
    return next((f / table for f in (root, *root.parents) if (f / table).is_file()), table)


def _within(file: Path, root: Path) -> str:
    """How a table in a set's folder is named in an answer."""
    return file.relative_to(root).as_posix()


def _which_part(parts: Parts, names: Sequence[str], root: Path | None) -> Question:
    """Ask for one part; where there are no class folders, first for that which a table labels."""
    labelled_by: dict[str, str] = {}
    of_all: list[str] = []  # tables that label images of several parts
    for path in _files(names, root) if root else ():
        with suppress(ImageError):
            labelled = read_table(path, names).labels
            of_part = {
                folder: sum(name.startswith(f"{folder}/") for name in labelled)
                for folder in parts.folders
            }
            if not any(of_part.values()):
                continue
            if sum(of_part.values()) == max(of_part.values()):
                best = max(of_part, key=lambda folder: of_part[folder])
                labelled_by[best] = _within(path, root or path.parent)
            else:
                of_all.append(_within(path, root or path.parent))
    folders = sorted(parts.folders, key=lambda folder: folder not in labelled_by)
    return Question(
        doubt=f"holds the parts of a data set, {' and '.join(parts.names)}, which are not classes",
        answers=(
            *(_part(folder, labelled_by.get(folder)) for folder in folders),
            *(Answer.of(Setting.LABELS, table) for table in of_all),
        ),
    )


def _part(folder: str, table: str | None) -> Answer:
    choices = [Choice(setting=Setting.PART, value=folder)]
    if table is not None:
        choices.append(Choice(setting=Setting.LABELS, value=table))
    return Answer(choices=tuple(choices))


def _which_table(
    usable: Sequence[LabelTable], folders: Labels, root: Path | None
) -> Question | None:
    """Ask for one of several tables that label the same images in other ways."""
    if len(usable) < 2 or root is None:
        return None
    names = sorted(table.name for table in usable)
    ways = sorted(_within(table.file, root) for table in usable)
    ways += ["folders"] if any(folders.values()) else []
    return Question(
        doubt=f"has labels in {' and '.join(names)}, and they differ",
        answers=tuple(Answer.of(Setting.LABELS, way) for way in ways),
    )


def _beside_folders(
    table: LabelTable, folders: Labels, names: Sequence[str], root: Path | None
) -> Labelling:
    """A table's labels, where the folders do not say the same of more images or something else."""
    both = [(folders[name], label) for name, label in table.labels.items() if folders[name]]
    if not both:
        return Labelling(_of_table(table, names), _from_table(table))
    if all(folder == label for folder, label in both):
        said = f"They come from the folders, with which {table.name} agrees."
        return Labelling(folders, said)
    meant = _meant_by(both)
    differing = [
        name
        for name, label in table.labels.items()
        if (folder := folders[name]) and meant[folder] != label
    ]
    if not differing and len(set(meant.values())) == len(meant):
        labels = _of_table(table, names)
        filled = {name: labels[name] or meant.get(folders[name] or "") for name in names}
        return Labelling(filled, f"{_from_table(table)} Each folder has one label there.")
    question = None
    if _are_same_classes(both, meant, len(differing)):
        within = _within(table.file, root or table.file.parent)
        question = _which_source(table, within, folders, differing or list(table.labels))
    said = f"{_from_table(table)} The folders are not used."
    return Labelling(_of_table(table, names), said, question)


def _meant_by(both: Sequence[tuple[str | None, str]]) -> dict[str, str]:
    """The label that most images of a folder have in the table; its own name where it is one."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for folder, label in both:
        counts[folder or ""][label] += 1
    every = {label for _, label in both}
    return {
        folder: folder if folder in every else of_folder.most_common(1)[0][0]
        for folder, of_folder in counts.items()
    }


def _are_same_classes(
    both: Sequence[tuple[str | None, str]], meant: Mapping[str, str], differing: int
) -> bool:
    """Whether folders and table mean the same classes, so that one of them is wrong.

    Folders can also be batches or days, whose names say nothing of what is in the images.
    """
    if any(folder in {label for _, label in both} for folder in meant):
        return True
    distinct = len(set(meant.values())) == len(meant) > 1
    return distinct and len(both) - differing >= _ALIKE * len(both)


def _which_source(
    table: LabelTable, within: str, folders: Labels, differing: Sequence[str]
) -> Question:
    first = differing[0]
    return Question(
        doubt=f"has labels in {table.name} and in its folders, and they disagree on "
        f"{len(differing):,} of {len(table.labels):,} images (of {first[:60]!r}: "
        f"{table.labels[first][:40]!r} in the table, folder {(folders[first] or '')[:40]!r})",
        answers=tuple(Answer.of(Setting.LABELS, way) for way in (within, "folders")),
        otherwise="remove the wrong ones",
    )


def _tables(
    names: Sequence[str], root: Path, folders: Labels
) -> tuple[list[LabelTable], list[str]]:
    """The tables beside the images that give labels, and of the others a sentence each.

    Looked for in `root`, and from there down as long as all images are in one folder. Of tables
    that say the same, that with the most images is enough.
    """
    usable: list[LabelTable] = []
    unused: list[str] = []
    for path in _files(names, root):
        try:
            table = read_table(path, names)
        except ContradictionError:  # it is about these images, so passing it over is not an answer
            raise
        except ImageError as error:
            unused.append(f"{path.name} is not used: {str(error).removeprefix(f'{path.name} ')}")
            continue
        if table.labels and (table.is_sure or not any(folders.values())):
            usable.append(table)
        elif table.labels:
            unused.append(
                f"{path.name} is not used: none of its columns is named like labels, and the "
                "folders have some."
            )
        else:
            unused.append(f"{path.name} is not used: it has no label for any of these images.")
    usable.sort(key=lambda table: -len(table.labels))
    if usable and all(other.labels.items() <= usable[0].labels.items() for other in usable[1:]):
        return usable[:1], unused
    return usable, unused


def _files(names: Sequence[str], root: Path) -> list[Path]:
    paths = [PurePosixPath(name).parts[:-1] for name in names]
    folder = root
    while not (tables := _tables_in(folder)):
        first = {path[:1] for path in paths}
        if len(first) != 1 or () in first:
            return []
        folder, paths = folder.joinpath(*first.pop()), [path[1:] for path in paths]
    return tables


def _tables_in(folder: Path) -> list[Path]:
    visible = (path for path in folder.iterdir() if not path.name.startswith("."))
    tables = (path for path in visible if path.suffix.lower() in TABLE_SUFFIXES and path.is_file())
    return sorted(tables)


def _from_names(names: Sequence[str]) -> Labels:
    paths = {name: PurePosixPath(name).parts for name in names}
    while len({parts[0] for parts in paths.values()}) == 1 and _all_in_folders(paths, 2):
        paths = {name: parts[1:] for name, parts in paths.items()}
    folders = {parts[:-1] for parts in paths.values()}
    ids = {name: WORDNET_ID.match(parts[-1]) for name, parts in paths.items()}
    if len(folders) == 1 and all(ids.values()):
        return {name: match[0] for name, match in ids.items() if match}
    if _all_in_folders(paths, 1):
        return {name: composed(parts[0]) for name, parts in paths.items()}
    return dict.fromkeys(names)


def _all_in_folders(paths: dict[str, tuple[str, ...]], depth: int) -> bool:
    return all(len(parts) > depth for parts in paths.values())
