"""What runs without the engine, each in a process of its own: reading a run, judging it, pages."""

import pytest
from own_process import said_by_python

pytestmark = pytest.mark.slow

ENGINE = ("torch", "torchvision", "timm", "sklearn", "pytorch_ood")
LOADED = """
import importlib, pkgutil, sys

for name in {names}:
    module = importlib.import_module(name)
    for part in pkgutil.iter_modules(getattr(module, "__path__", ()), name + "."):
        importlib.import_module(part.name)
print(*(name for name in {unwanted} if name in sys.modules))
"""
PAGES = """
import importlib, logging, sys

logging.disable()  # Streamlit warns that nobody is served
import app

for titles in app.PAGES.values():
    for name in titles:
        importlib.import_module("pages." + name)
print(*(name for name in {unwanted} if name in sys.modules))
"""


@pytest.mark.parametrize(
    "names",
    [
        ("gsc_core.run", "gsc_core.release"),
        ("gsc_core.sentences", "gsc_core.charts", "gsc_core.report"),
    ],
)
def test_a_finished_run_is_read_without_the_engine(names: tuple[str, ...]) -> None:
    assert said_by_python("-c", LOADED.format(names=names, unwanted=(*ENGINE, "streamlit"))) == ""


@pytest.mark.parametrize("room", ["images", "classifier", "detectors", "explanation", "ablation"])
def test_the_door_of_a_room_is_light(room: str) -> None:
    """What a room's `__init__` gives needs no torch; the rest comes from its own module."""
    code = f"import sys, gsc_core.{room}; print(*(n for n in {ENGINE} if n in sys.modules))"
    assert said_by_python("-c", code) == ""


def test_no_page_loads_the_engine() -> None:
    assert said_by_python("-c", PAGES.format(unwanted=ENGINE)) == ""


def test_it_would_be_seen() -> None:
    found = said_by_python("-c", LOADED.format(names=("gsc_core.scoring",), unwanted=ENGINE))
    assert "torch" in found.split()
