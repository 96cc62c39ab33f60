"""What needs no run: detectors, layers, version and help."""

import json
from pathlib import Path

import pytest
from command_line import Ran, audit, gsc
from small_audit import PREPROCESS

from gsc_core import __version__
from gsc_core.detectors.catalogue import CATALOGUE

pytestmark = pytest.mark.slow


def test_detectors_lists_the_catalogue_with_its_knobs() -> None:
    rows = {row["name"]: row for row in json.loads(gsc("detectors", "--json").out)}
    assert list(rows) == [detector.name for detector in CATALOGUE]
    for detector in CATALOGUE:
        settings = {item["name"]: item["default"] for item in rows[detector.name]["settings"]}
        assert settings == detector().settings()
        said = rows[detector.name]["family"], rows[detector.name]["fails_on"]
        assert said == (detector.family.value, detector.fails_on)
    assert (rows["ash"]["family"], rows["ash"]["fails_on"]) == ("shaping", "transformers")
    table = gsc("detectors").out
    assert all(name in table for name in rows)
    assert "transformers" in table


def test_splits_lists_layers_that_audit_accepts(stage: Path, tmp_path: Path) -> None:
    arguments = ["--model", stage / "small.pt2", "--preprocess", PREPROCESS]
    rows = json.loads(gsc("splits", *arguments, "--json").out)
    assert [row["name"] for row in rows if row["default"]] == ["block.1"]
    assert next(row["shape"] for row in rows if row["name"] == "block") == [16, 4, 4]
    for row in rows:
        out = tmp_path / row["name"]
        ran = gsc(*audit(stage, out, "--json", split=row["name"], detectors="gsc"))
        assert json.loads(ran.out)["settings"]["split"] == row["name"]
    table = gsc("splits", *arguments).out
    assert all(row["name"] in table for row in rows)


def test_version_and_help() -> None:
    assert gsc("--version") == Ran(0, f"gsc-audit {__version__}\n", "")
    text = gsc("audit", "--help")
    assert text.code == 0
    for option in ("model", "arch", "preprocess", "id", "ood", "calibration", "detectors", "split"):
        assert f"--{option}" in text.out
