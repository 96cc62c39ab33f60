"""A workspace of the test's own."""

import pytest


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))
