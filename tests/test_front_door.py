"""What whoever comes first sees: metadata, extras, documents, and nothing of our machines."""

import importlib
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from own_process import said_by_python
from packaging.requirements import Requirement
from small_audit import known, strange
from torchvision.models import resnet18

import gsc_core
from gsc_core import extras
from gsc_core.extras import EXTRAS, MissingExtra, missing, require

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OPTIONAL = PROJECT["optional-dependencies"]


ALONE = {"hf", "ray"}  # extras that the app comes without


def requirements(lines: list[str]) -> dict[str, Requirement]:
    """Requirements by name, without comments."""
    parsed = [Requirement(line.split("#")[0]) for line in lines if line.split("#")[0].strip()]
    return {each.name: each for each in parsed}


# --- extras ------------------------------------------------------------------------------------


def test_each_optional_library_comes_with_the_extra_that_is_named() -> None:
    declared = {
        (name, extra)
        for extra, lines in OPTIONAL.items()
        for name in requirements(lines)
        if name != PROJECT["name"]
    }
    assert set(EXTRAS.items()) <= declared
    assert {name for name, _ in declared} == EXTRAS.keys()
    assert not EXTRAS.keys() & requirements(PROJECT["dependencies"]).keys()


def test_what_is_missing_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    require(*(name for name, extra in EXTRAS.items() if extra not in ALONE))  # installed here
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "typst" else name)
    assert missing("jinja2") is None
    assert missing("jinja2", "typst") == (
        "This needs typst, which is not installed: pip install 'gsc-audit[report]'."
    )
    with pytest.raises(MissingExtra, match=re.escape("'gsc-audit[report]'")):
        require("typst")
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    assert missing("sqlmodel") == (
        "This needs sqlmodel, which is not installed: pip install 'gsc-audit[app]'."
    )
    for package in [name for name in sys.modules if name.startswith("gsc_core.report")]:
        monkeypatch.delitem(sys.modules, package)
    with pytest.raises(MissingExtra, match=re.escape("'gsc-audit[report]'")):
        importlib.import_module("gsc_core.report")


def test_the_app_is_installed_within_the_bounds_of_the_library() -> None:
    """What `make run` installs satisfies every bound that the package declares."""
    pinned = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line
    )
    pins = {name.lower().replace("_", "-"): version for name, version in pinned.items()}
    optional = (lines for extra, lines in OPTIONAL.items() if extra not in ALONE)
    lines = [*PROJECT["dependencies"], *(line for each in optional for line in each)]
    wanted = requirements(lines)
    assert not [
        str(each)
        for name, each in wanted.items()
        if name != PROJECT["name"] and pins[name.lower()] not in each.specifier
    ]
    installed = requirements((ROOT / "requirements.txt").read_text().splitlines())
    assert wanted.keys() - {PROJECT["name"]} <= installed.keys()


WITHOUT_EXTRAS = """
import contextlib, io, json, sys
from importlib.machinery import PathFinder

there = PathFinder.find_spec

def find_spec(cls, name, path=None, target=None):
    return None if name.split(".")[0] in EXTRAS else there(name, path, target)

PathFinder.find_spec = classmethod(find_spec)  # as where they are not installed: libraries look too
from gsc_core.cli.app import main
ended = []
for words in json.loads(sys.argv[1]):
    sys.argv, said, code = ["gsc", *words], io.StringIO(), 0
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            main()
    except SystemExit as end:
        code = end.code or 0
    ended.append([code, said.getvalue()])
print(json.dumps(ended))
"""


@pytest.mark.slow
def test_from_an_audit_to_a_watch_no_extra_is_needed(tmp_path: Path) -> None:
    """Weights of torchvision, all that `pip install .` gives, and one sentence for the rest.

    In one process: eleven would take most of their minutes to import torch.
    """
    torch.manual_seed(0)
    torch.save(resnet18(num_classes=4).state_dict(), tmp_path / "weights.pt")
    known(tmp_path / "id", 60, seed=1)
    strange(tmp_path / "noise", 30, seed=2)
    model = ("--model", "weights.pt", "--arch", "torchvision/resnet18")
    images = ("--preprocess", "resize=32,crop=32", "--id", "id")
    policy = str(ROOT / "tests" / "earlier" / "policy.toml")
    work = (
        (("audit", *model, *images, "--ood", "noise=noise", "--out", "run"), {0}),
        (("gate", "run", "--policy", policy), {0, 3, 4}),
        (("export", "run", "--detector", "energy", "--out", "detector.pt2"), {0}),
        (("watch", "--detector", "detector.pt2", "--images", "noise"), {0, 3}),
        (("ablate", "run", "--images", "20"), {0}),
    )
    sets = ("--ood", "n=noise", "--out")
    refused = (
        (("report", "run", "--out", "report.html"), "report"),
        (("export", "run", "--detector", "energy", "--onnx"), "onnx"),
        (("audit", "--arch", "timm/resnet18", "--pretrained", *images, *sets, "t"), "timm"),
        (("worker", "--idle", "0"), "app"),
        (("gate", "demo"), "app"),
        (("ablate", "demo"), "app"),
    )
    commands = [words for words, _ in (*work, *refused)]
    absent = set(EXTRAS) - {"jinja2"}  # which torch brings
    code = WITHOUT_EXTRAS.replace("EXTRAS", repr(absent))
    ended = json.loads(said_by_python("-c", code, json.dumps(commands), cwd=tmp_path))
    for (words, allowed), (status, said) in zip(work, ended[: len(work)], strict=True):
        assert status in allowed, (words, said)
    for (words, extra), (status, said) in zip(refused, ended[len(work) :], strict=True):
        assert status == 2, (words, said)
        assert said.splitlines()[-1].endswith(f"pip install 'gsc-audit[{extra}]'.")


# --- documents ---------------------------------------------------------------------------------


def test_the_licence_is_the_one_that_is_declared() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert PROJECT["license"] == "Apache-2.0" and PROJECT["license-files"] == ["LICENSE"]
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert "license: Apache-2.0" in citation and f"version: {gsc_core.__version__}" in citation
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## {gsc_core.__version__}\n" in changes


def test_documents_link_to_what_is_there() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    links = [
        (document, target)
        for document in documents
        for target in re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8"))
        if "://" not in target
    ]
    assert len(links) > 10
    assert not [(doc.name, link) for doc, link in links if not (doc.parent / link).exists()]


# --- nothing of the machine it was made on -------------------------------------------------------

OF_A_MACHINE = re.compile(
    rb"(?<![\w.~\xa6-])/(?:work|home|root|tmp|Users|private|mnt|var/folders)/[\w.~-]"
)
"""Where people and CI keep a checkout, an environment, or what they are trying out."""


def contents(path: Path) -> Iterator[bytes]:
    """A file, and where it is an archive, what is packed in it."""
    yield path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as packed:
            yield from map(packed.read, packed.namelist())


def test_no_file_names_a_place_of_the_machine_it_was_made_on() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert len(files) > 300
    found = {
        str(path.relative_to(ROOT)): place[0]
        for path in files
        if path.is_file()
        for content in contents(path)
        if (place := OF_A_MACHINE.search(content))
    }
    assert not found


@pytest.mark.parametrize(
    ("text", "names_one"),  # with | for /, or this file would name some
    [
        ("--data |work|shared|data", True),
        ('"|home|ann|gsc|run.py"', True),
        ("|tmp|x|bench.json", True),
        ("…|tmp|bench.json", False),
        ("https:||example.org|home|ann", False),
        ("docs|work|a.png", False),
        ("|data|today", False),
    ],
)
def test_the_rule_for_places(text: str, names_one: bool) -> None:
    assert bool(OF_A_MACHINE.search(text.replace("|", "/").encode())) is names_one
