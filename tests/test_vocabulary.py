"""One word for each thing: names in the engine say which images, scores and results they hold.

That no OOD image is seen while a detector is fitted can only be read from code in which no word
means ID images here, OOD images there and surrogates elsewhere. What people read has its own words,
in `sentences`, `report` and `cli`.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import ROOT

CORE = ROOT / "gsc_core"
WORDY = frozenset({"sentences", "report", "cli"})


AMBIGUOUS = re.compile(
    "known|ours|theirs|strangers?|strange|far|apart|pictures?|turned|backwards|passes|inside|kept|"
    "found|told|each|chosen"
)
LIBRARY = {
    "FileNotFoundError": "Python's",
    "PackageNotFoundError": "importlib.metadata's",
    "is_known": "pytorch-ood's",
}
STORED = {
    "chosen": "a key of metrics.json, of a stored decision and of what `gsc tune` writes",
    "extra_passes": "a key of `gsc detectors --json`",
    "pictures": "a key of an exported detector's card, and of the file of `gsc watch`",
}
"""Fields whose name is in files of earlier versions; accepted as fields alone."""

ROOMS = sorted({path.relative_to(CORE).parts[0] for path in CORE.rglob("*.py")} - WORDY)


def names(tree: ast.Module) -> Iterator[tuple[str, int, bool]]:
    """Every name in a module with its line, and whether it is a field's; in f-strings too."""
    declared = {
        id(line.target)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for line in node.body
        if isinstance(line, ast.AnnAssign)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant):
            continue  # a string
        if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("gsc_core"):
            continue  # its module has the library's name, and what it brings is walked by itself
        is_field = isinstance(node, ast.Attribute | ast.keyword) or id(node) in declared
        for _, value in ast.iter_fields(node):
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str):
                    for name in text.split("."):
                        yield name, getattr(node, "lineno", 0), is_field


def is_one_of_them(name: str) -> bool:
    """Whether a part of a name, in snake or camel case, is a word that means two things."""
    parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    return any(AMBIGUOUS.fullmatch(part.lower()) for part in parts)


def hits(path: Path) -> list[tuple[str, int, bool]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    stem = [(path.stem, 0, False)]
    return [hit for hit in [*stem, *names(tree)] if is_one_of_them(hit[0])]


def modules(room: str) -> list[Path]:
    return [CORE / room] if room.endswith(".py") else sorted((CORE / room).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_names_in_the_engine_mean_one_thing(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in modules(room)
        for name, line, is_field in hits(path)
        if name not in LIBRARY and not (is_field and name in STORED)
    ]
    assert not wrong


@pytest.mark.slow
def test_every_exception_is_needed() -> None:
    every = {name for path in CORE.rglob("*.py") for name, _, _ in hits(path)}
    assert LIBRARY.keys() | STORED.keys() <= every


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("known = 1", ["known"]),
        ("def f(strangers): pass", ["strangers"]),
        ("class KeptRun: pass", ["KeptRun"]),
        ("MOST_PICTURES = 6", ["MOST_PICTURES"]),
        ("x = f'{ours} of {n}'", ["ours"]),
        ("[each for each in names]", ["each", "each"]),
        ("from gsc_core.images.pictures import header", ["pictures"]),
        ("from torch.export.passes import move", []),
        ("'found'  # told", []),
        ("farther = unknown = background = teacher = 1", []),
    ],
)
def test_what_counts_as_a_name(source: str, expected: list[str]) -> None:
    assert [name for name, _, _ in names(ast.parse(source)) if is_one_of_them(name)] == expected
