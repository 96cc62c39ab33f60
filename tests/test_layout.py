"""The layout of the project and the direction of its imports, read from every module's syntax.

    pages | commands → report → gate → workspace | charts → deploy → reopened | ablation | tuning
          → audit → results
          → scoring | evaluation | explanation → detectors → classifier | images → errors | log

The command line and the demo's audit are on top of `gsc_core`; nothing below knows what is above.
"""

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import ROOT

CORE = ROOT / "gsc_core"

# From the bottom to the top. A module imports its own package and what is below, not its neighbour.
LAYERS: tuple[frozenset[str], ...] = tuple(
    map(
        frozenset,
        [
            {"gsc_core"},
            {"gsc_core.errors", "gsc_core.log", "gsc_core.progress", "gsc_core.stopwatch"},
            {
                "gsc_core.files",
                "gsc_core.extras",
                "gsc_core.imagenet",
                "gsc_core.evaluation",
            },
            {"gsc_core.run"},
            {"gsc_core.sentences", "gsc_core.classifier", "gsc_core.images"},
            {"gsc_core.detectors", "gsc_core.demo"},
            {"gsc_core.scoring", "gsc_core.explanation"},
            {"gsc_core.audit"},
            {"gsc_core.ablation", "gsc_core.deploy", "gsc_core.demo.audit", "gsc_core.jobs.home"},
            {"gsc_core.team"},
            {"gsc_core.charts", "gsc_core.jobs"},
            {"gsc_core.release"},
            {"gsc_core.workspace"},
            {"gsc_core.report"},
            {"pages.parts"},
            {"pages", "gsc_core.cli"},
            {"app", "gsc_core.__main__"},
        ],
    )
)
PART_OF = {part: level for level, parts in enumerate(LAYERS) for part in parts}
PACKAGES = ("classifier", "images", "detectors", "scoring", "evaluation", "workspace", "demo")
TOP = (
    "app.py",
    "pages",
    "gsc_core/cli/app.py",
    "gsc_core/audit/run.py",
    "gsc_core/charts/scores.py",
    "tests",
    "requirements.txt",
    "Dockerfile",
    "README.md",
    "Makefile",
    "pyproject.toml",
    ".ci/run",
    ".streamlit/config.toml",
    "benchmarks",
    "docs",
)
ENGINE = {"torch", "torchvision", "timm", "pytorch_ood", "sklearn"}
NO_STORY = {"utils", "util", "helpers", "helper", "common", "misc"}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


SOURCES = {name_of(path): path for path in sorted(CORE.rglob("*.py"))}
PAGES = [ROOT / "app.py", *sorted((ROOT / "pages").rglob("*.py"))]
SOURCES |= {name_of(path): path for path in PAGES}


def imports_of(text: str) -> Iterator[str]:
    """Full names of all that a module imports, inside functions too; relative ones with a dot."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from (f"{base}.{alias.name}" for alias in node.names)


def part_of(name: str) -> str | None:
    """The part of the layout a module, or a name in it, belongs to; None for other libraries."""
    words = name.split(".")
    if words[0] not in ("gsc_core", "pages", "app"):
        return None
    if words[0] == "gsc_core" and len(words) > 1 and not is_module("gsc_core", words[1]):
        return "gsc_core"  # such as its version
    tails = (".".join(words[:length]) for length in range(len(words), 0, -1))
    part = next((tail for tail in tails if tail in PART_OF), None)
    is_new = words[0] == "gsc_core" and part == "gsc_core" and len(words) > 1
    assert part is not None and not is_new, f"{name} has no place in the layout: give it one"
    return part


def is_module(package: str, name: str) -> bool:
    folder = ROOT / package
    return (folder / f"{name}.py").exists() or (folder / name).is_dir()


def libraries_of(text: str) -> set[str]:
    return {name.split(".")[0] for name in imports_of(text)}


def _by_the_front(text: str) -> list[str]:
    """Public names that a module takes from the package itself, which lead anywhere."""
    own = ("gsc_core", "gsc_core.__version__")
    return [n for n in imports_of(text) if part_of(n) == "gsc_core" and n not in own]


@functools.cache
def engine_modules() -> frozenset[str]:
    """The modules whose import loads a library that computes, by themselves or by others."""
    loads = {module: set(loaded_with(path)) for module, path in SOURCES.items()}
    engine = {module for module, names in loads.items() if names & ENGINE}
    while more := {m for m, names in loads.items() if m not in engine and names & engine}:
        engine |= more
    return frozenset(engine)


def loaded_with(path: Path) -> Iterator[str]:
    """All that is imported when a module is, packages included; not what functions import."""
    top = ast.parse(path.read_text(encoding="utf-8")).body
    imports = [node for node in top if isinstance(node, ast.Import | ast.ImportFrom)]
    for name in imports_of("\n".join(map(ast.unparse, imports))):
        words = name.split(".")
        yield from (".".join(words[:length]) for length in range(1, len(words) + 1))


def wrong_imports(module: str, text: str) -> list[str]:
    """What a module imports from its own height or from above."""
    own = part_of(module)
    assert own is not None
    if module == "gsc_core":  # the front names what others build on, and imports it when asked
        return []
    if module.startswith("gsc_core") and (by_the_front := _by_the_front(text)):
        return by_the_front
    return [
        name
        for name in imports_of(text)
        if (part := part_of(name)) is not None
        and part != own
        and PART_OF[part] >= PART_OF[own]
        and (own, name) != ("pages", "app.main")  # the guard at its end, see the design
    ]


@pytest.mark.parametrize("module", SOURCES)
def test_imports_go_down(module: str) -> None:
    text = SOURCES[module].read_text(encoding="utf-8")
    assert not wrong_imports(module, text)
    assert not [name for name in imports_of(text) if name.startswith(".")], "write the full name"
    if module.startswith("gsc_core"):
        assert "streamlit" not in libraries_of(text)


@pytest.mark.parametrize(
    ("module", "line", "allowed"),
    [
        ("gsc_core.images.decode", "from gsc_core.detectors import find", False),
        ("gsc_core.images.decode", "from gsc_core.classifier import Preprocessing", False),
        ("gsc_core.images.decode", "from gsc_core.images.archive import unpack", True),
        ("gsc_core.detectors.gsc", "from gsc_core.classifier.network import Network", True),
        ("gsc_core.detectors.gsc", "import gsc_core.scoring.onepass", False),
        ("gsc_core.evaluation.metrics", "from gsc_core.scoring.scorer import Scores", False),
        ("gsc_core.scoring.local", "def f():\n    from gsc_core.audit.run import run_audit", False),
        ("gsc_core.demo.train", "from gsc_core import audit", False),
        ("gsc_core.demo.audit", "from gsc_core import __version__, audit", True),
        ("gsc_core.demo.audit", "from gsc_core.jobs.home import home", False),
        ("gsc_core.audit.run", "from gsc_core.jobs.home import home", False),
        ("gsc_core.audit.run", "from gsc_core import reopen", False),
        ("gsc_core.cli.app", "from gsc_core import __version__", True),
        ("gsc_core", "from gsc_core.audit.run import run_audit", True),
        ("gsc_core.cli.app", "from gsc_core.demo.audit import run_demo", True),
        ("gsc_core.workspace.runs", "from gsc_core.cli.app import main", False),
        ("gsc_core.charts.scores", "from pages import results", False),
        ("pages.results", "from gsc_core import charts", True),
        ("pages.results", "def f():\n    from app import main", True),
        ("pages.results", "from gsc_core.cli.app import main", False),
        ("app", "from pages import results", True),
    ],
)
def test_the_rule_itself(module: str, line: str, allowed: bool) -> None:
    assert bool(wrong_imports(module, line)) is not allowed


def test_evaluation_knows_nothing_of_the_rest() -> None:
    """Scores in, figures out: of `gsc_core` it imports itself and the errors."""
    for module, path in SOURCES.items():
        if module.startswith("gsc_core.evaluation"):
            parts = {part_of(name) for name in imports_of(path.read_text(encoding="utf-8"))}
            assert parts <= {None, "gsc_core.evaluation", "gsc_core.errors"}, module


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_pages_only_show(path: Path) -> None:
    """The engine does not run in the web server."""
    text = path.read_text(encoding="utf-8")
    assert not libraries_of(text) & ENGINE
    imported = set(imports_of(text))
    imported |= {name.rpartition(".")[0] for name in imported}
    assert not imported & engine_modules()


def test_one_file_knows_ray() -> None:
    """Whoever maintains the cluster's side reads one file."""
    texts = {name: path.read_text(encoding="utf-8") for name, path in SOURCES.items()}
    knowing = [name for name, text in texts.items() if "ray" in libraries_of(text)]
    assert knowing == ["gsc_core.scoring.ray"]


def test_every_package_and_file_of_the_layout_is_there() -> None:
    missing = [name for name in TOP if not (ROOT / name).exists()]
    missing += [name for name in PACKAGES if not (CORE / name / "__init__.py").exists()]
    assert not missing
    folders = {path.parent for path in SOURCES.values() if CORE in path.parents}
    assert not [folder for folder in folders if not (folder / "__init__.py").exists()]


def test_the_house_has_few_rooms() -> None:
    """Whoever opens the door sees all of them at a glance."""
    rooms = {path.relative_to(CORE).parts[0] for path in CORE.rglob("*.py")}
    assert len(rooms - {"__init__.py", "__main__.py"}) <= 26
    parts = ROOT / "pages" / "parts"
    assert [path.name for path in parts.glob("*.py")] == ["__init__.py"], "a folder for each page"


def test_no_file_is_named_for_nothing() -> None:
    """A file tells one story, and its name tells which."""
    assert not [name for name in SOURCES if NO_STORY & set(name.split("."))]


IMPORT_ALL = """
import importlib, pkgutil, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "streamlit":
            raise ImportError("streamlit is not to be imported here")

sys.meta_path.insert(0, Blocked())
import gsc_core
found = [m.name for m in pkgutil.walk_packages(gsc_core.__path__, "gsc_core.")]
for name in found:
    if name != "gsc_core.__main__":  # which runs the program
        importlib.import_module(name)
assert not [name for name in sys.modules if name.split(".")[0] == "streamlit"]
print(len(found))
"""


@pytest.mark.slow
def test_the_whole_core_imports_without_streamlit() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IMPORT_ALL],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len([name for name in SOURCES if name.startswith("gsc_core.")])
