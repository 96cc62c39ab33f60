"""A workspace of the test's own."""

from pathlib import Path

import pytest


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    return tmp_path / "runs"
