"""The front of the package: a dozen names, light to import, each with an example that runs."""

import ast
import doctest
import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import gsc_core

ROOT = Path(__file__).parents[1]


def documented(name: str) -> str:
    """The text that documents a public name; a constant's is that of the module it is made in."""
    thing = getattr(gsc_core, name)
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        thing = sys.modules["gsc_core.detectors.catalogue"]
    return inspect.getdoc(thing) or ""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the example of the package itself ran, from which the others go on."""
    folder = tmp_path_factory.mktemp("examples")
    run_examples(gsc_core.__doc__ or "", folder)
    return folder


def run_examples(text: str, folder: Path) -> None:
    test = doctest.DocTestParser().get_doctest(text, {"Path": Path}, "example", None, 0)
    assert test.examples, "there is no example"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        said: list[str] = []
        done = doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert done.failed == 0, "".join(said)


@pytest.mark.slow
def test_the_example_of_each_name_runs(workplace: Path) -> None:
    for name in sorted(gsc_core.__all__, key=lambda name: name == "load_detector"):
        text = documented(name)
        assert any(name in each.source for each in doctest.DocTestParser().get_examples(text)), name
        run_examples(text, workplace)


def test_the_names_are_declared_once_for_types_and_once_for_use() -> None:
    tree = ast.parse(Path(gsc_core.__file__).read_text(encoding="utf-8"))
    declared = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert declared == dict(gsc_core._MODULES)
    assert list(declared) and sorted(declared) == sorted(gsc_core.__all__)
    assert set(gsc_core.__all__) <= set(dir(gsc_core))
    for name, module in declared.items():
        assert getattr(gsc_core, name) is getattr(importlib.import_module(module), name)


def test_another_name_is_none() -> None:
    with pytest.raises(AttributeError, match="'gsc_core' has no attribute 'run_audits'"):
        _ = gsc_core.run_audits


def test_the_front_is_light() -> None:
    code = "import sys, gsc_core; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    loaded = set(done.stdout.split())
    assert not loaded & {"torch", "numpy", "pydantic", "pyarrow", "streamlit", "timm"}


@pytest.mark.slow
def test_the_reference_has_every_name(tmp_path: Path) -> None:
    pytest.importorskip("pdoc", reason="pdoc is not installed: see requirements-dev.txt")
    command = [sys.executable, "-W", "error::UserWarning:pdoc", ROOT / "docs" / "reference.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([*command, tmp_path], env=environment, cwd=tmp_path, check=True)
    page = (tmp_path / "gsc_core.html").read_text(encoding="utf-8")
    assert not [name for name in gsc_core.__all__ if f'id="{name}"' not in page]
    assert "&gt;&gt;&gt;" in page
