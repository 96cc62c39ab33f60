"""No test depends on the machine's speed: waits are for states, with one limit in one place."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import PATIENCE
from places import TESTS

SOURCES = sorted(TESTS.rglob("*.py"))
WAITS = {"wait", "join", "communicate", "result", "set_default_timeout", "wait_for_timeout"}
LIMITS = {"timeout", "default_timeout"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(TESTS)))
def test_no_wait_has_a_limit_of_its_own(path: Path) -> None:
    assert list(own_limits(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "line",
    [
        "process.wait(60)",
        "page.goto(url, timeout=30_000)",
        "def until(true, timeout=180.0): ...",
        "def until(true, *, timeout: float = 3): ...",
        "thread.join(0.5)",
    ],
)
def test_one_would_be_found(line: str) -> None:
    assert list(own_limits(line)) == [1]


def test_a_browsers_pages_wait_as_long_as_everything_else(browser) -> None:
    with browser.new_context() as context:
        settings = context._impl_obj._timeout_settings
        assert settings.timeout(None) == settings.navigation_timeout(None) == 1000 * PATIENCE


def own_limits(source: str) -> Iterator[int]:
    """The lines on which a wait, or a function that waits, is given a number of seconds."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            given = [keyword.value for keyword in node.keywords if keyword.arg in LIMITS]
            if isinstance(node.func, ast.Attribute) and node.func.attr in WAITS:
                given += node.args
        elif isinstance(node, ast.arguments):
            named = [*node.posonlyargs, *node.args]
            last = dict(zip(named[::-1], node.defaults[::-1], strict=False))
            last |= dict(zip(node.kwonlyargs, node.kw_defaults, strict=True))
            given = [value for name, value in last.items() if name.arg in LIMITS]
        else:
            continue
        yield from (
            value.lineno
            for value in given
            if isinstance(value, ast.Constant) and isinstance(value.value, int | float)
        )
