"""What the version before wrote opens unchanged: runs, a workspace, a detector, a watch, a choice.

`tests/earlier` holds it as that version left it. Figures are compared with the stored files, read
here by other means: as JSON, as tables, as pixels.
"""

import importlib
import json
import shutil
import sqlite3
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from opened_page import opened, words
from PIL import Image

from gsc_core import load_detector, reopen

ROOT = Path(__file__).parents[1]
EARLIER = Path(__file__).with_name("earlier")
MADE_IN = "/srv/gsc/home"  # see README.md there
PREPROCESS = "resize=12,crop=12,mean=0.16666667,std=0.33333333"

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def gsc(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line as it is installed: exit status and what it printed."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, function = scripts["gsc"].split(":")
    main = getattr(importlib.import_module(module), function)

    def command(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["gsc", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        assert end.value.code != 2, said.err
        return int(end.value.code or 0), said.out

    return command


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workspace, as a user has it who installed today's version over the earlier one."""
    shutil.copytree(EARLIER / "workspace", tmp_path / "home")
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def run(home: Path) -> Path:
    """Its finished run."""
    (folder,) = (home / "runs").iterdir()
    return folder


@pytest.fixture
def at_home(home: Path, run: Path) -> Path:
    """The run where the workspace lies at the place that its documents name."""
    for file in (run / "spec.json", run / "metrics.json"):
        text = file.read_text(encoding="utf-8")
        assert MADE_IN in text
        file.write_text(text.replace(MADE_IN, str(home)), encoding="utf-8")
    with sqlite3.connect(home / "workspace.db") as index:
        for table, column in (("storedset", "folder"), ("storedmodel", "spec"), ("job", "payload")):
            index.execute(
                f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (MADE_IN, str(home))
            )
    return run


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    """The exported detector with the state of its watch, where it may be written."""
    shutil.copytree(EARLIER / "detector", tmp_path / "detector")
    return tmp_path / "detector" / "detector.pt2"


def document(run: Path) -> dict[str, Any]:
    return json.loads((run / "metrics.json").read_text(encoding="utf-8"))


def means(run: Path) -> dict[str, dict[str, float]]:
    return {row["detector"]: row for row in document(run)["results"] if row["ood_set"] == "mean"}


def image(path: Path) -> torch.Tensor:
    """A file's pixels, uint8 `[1,3,h,w]`."""
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)[None]


def scored(run: Path, detector: str) -> list[tuple[Path, float]]:
    """Test images of a set each with the stored score, as files of the workspace."""
    folders = {"id": document(run)["settings"]["id"], **document(run)["settings"]["ood"]}
    table = pd.read_parquet(run / "scores.parquet")
    rows = table[table["role"] != "calibration"].groupby("set").head(8)
    home = run.parents[1]
    return [
        (Path(folders[row["set"]].replace(MADE_IN, str(home))) / row["file"], row[detector])
        for _, row in rows.iterrows()
    ]


# --- runs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["demo", "workspace"])
def test_the_report_of_a_run_has_its_figures(
    which: str, gsc: Command, run: Path, tmp_path: Path
) -> None:
    folder = EARLIER / "demo" if which == "demo" else run
    gsc("report", folder, "--out", tmp_path / "report.json", "--without-images")
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    schema = json.loads((ROOT / "docs" / "report.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(report, schema)
    stored = means(folder)
    assert {each["name"] for each in report["detectors"]} == stored.keys()
    for each in report["detectors"]:
        for metric in ("fpr95", "auroc"):
            row = stored[each["name"]]
            figures = [row[metric], row[f"{metric}_low"], row[f"{metric}_high"]]
            assert [each[metric][key] for key in ("value", "low", "high")] == figures
    gsc("report", folder, "--out", tmp_path / "report.html", "--without-channels")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    best = min(stored.values(), key=lambda row: row["fpr95"])
    assert f"{100 * best['fpr95']:.1f}&nbsp;%" in page


@pytest.mark.parametrize("which", ["demo", "workspace"])
def test_the_gate_judges_a_run_as_it_did(which: str, gsc: Command, run: Path) -> None:
    folder = EARLIER / "demo" if which == "demo" else run
    before = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))
    status, printed = gsc("gate", folder, "--policy", EARLIER / "policy.toml", "--json")
    today = json.loads(printed)
    assert status == {"pass": 0, "fail": 3, "not enough data": 4}[before["outcome"]]
    for key in ("detector", "threshold", "outcome"):
        assert today[key] == before[key]
    assert len(today["limits"]) == len(before["limits"])
    for now, then in zip(today["limits"], before["limits"], strict=True):
        assert now["outcome"] == then["outcome"], then
        for key in ("value", "low", "high"):
            assert now[key] == pytest.approx(then[key], rel=1e-9), then


def test_the_threshold_that_was_chosen_is_in_force(gsc: Command, run: Path) -> None:
    chosen = json.loads((run / "threshold.json").read_text(encoding="utf-8"))
    _, printed = gsc("gate", run.name, "--json")
    assert (chosen["detector"], chosen["rule"]["share"]) == ("energy", 0.9)
    assert json.loads(printed)["threshold"] == chosen["value"]


def test_the_table_of_scores_is_written_as_it_is(gsc: Command, run: Path, tmp_path: Path) -> None:
    gsc("report", run, "--out", tmp_path / "scores.csv")
    written = pd.read_csv(tmp_path / "scores.csv")
    stored = pd.read_parquet(run / "scores.parquet")
    for name in means(run):
        assert written[name].to_numpy(np.float32) == pytest.approx(stored[name].to_numpy())


@pytest.mark.slow
def test_the_detectors_are_fitted_again_as_they_were(at_home: Path) -> None:
    audit = reopen(at_home)
    assert audit.detectors.keys() == means(at_home).keys()
    for name in ("gsc-auto", "energy", "knn", "auto-ensemble"):
        for path, score in scored(at_home, name):
            assert audit.score(path)[name] == pytest.approx(score, rel=1e-4, abs=1e-5)


# --- an exported detector and its watch ----------------------------------------------------------


@pytest.mark.slow
def test_the_exported_detector_gives_the_stored_scores(detector: Path, run: Path) -> None:
    detect, card = load_detector(detector)
    assert card.detector == "gsc"
    session = onnxruntime.InferenceSession(detector.with_suffix(".onnx"))
    for path, score in scored(run, "gsc"):
        pixels = image(path)
        _, now, _, flagged = detect(pixels)
        assert float(now) == pytest.approx(score, rel=1e-4, abs=1e-5)
        assert bool(flagged) == (score > card.threshold)
        (by_onnx,) = session.run(["score"], {"pixels": pixels.numpy()})
        assert by_onnx[0] == pytest.approx(score, rel=1e-4, abs=1e-5)


@pytest.mark.slow
def test_the_watch_goes_on_counting(detector: Path, gsc: Command) -> None:
    state = detector.with_suffix(".watch.json")
    before = json.loads(state.read_text(encoding="utf-8"))
    assert len(before["pictures"]) == 24
    folder = EARLIER / "watched"
    today = json.loads(
        gsc("watch", "--detector", detector, "--images", folder / "wednesday", "--json")[1]
    )
    assert (today["pictures"], today["this_look"]["pictures"]) == (36, 12)
    assert today["outside"] == before["flagged"] + today["this_look"]["outside"]
    again = json.loads(
        gsc("watch", "--detector", detector, "--images", folder / "monday", "--json")[1]
    )
    assert (again["pictures"], again["this_look"]["counted_before"]) == (36, 12)


@pytest.mark.slow
def test_an_audit_takes_the_choice_of_that_version(
    detector: Path, run: Path, gsc: Command, tmp_path: Path
) -> None:
    choice = json.loads((detector.parent / "gsc.json").read_text(encoding="utf-8"))
    settings, home = document(run)["settings"], str(run.parents[1])
    files = {key: settings[key].replace(MADE_IN, home) for key in ("id",)}
    (noise,) = settings["ood"].values()
    model = settings["model"]["checkpoint"].replace(MADE_IN, home)
    gsc(
        "audit", "--model", model, "--preprocess", PREPROCESS, "--id", files["id"],
        "--ood", f"noise={noise.replace(MADE_IN, home)}", "--detectors", "gsc-auto",
        "--gsc-config", detector.parent / "gsc.json", "--out", tmp_path / "out",
    )  # fmt: skip
    made = document(tmp_path / "out")["settings"]
    assert made["split"] == choice["split"]
    read_as_then = {"weights": "mean"} | choice["settings"]
    assert made["detectors"] == [{"name": "gsc-auto", "settings": read_as_then}]


# --- the workspace in the app --------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ("home", "Corners and noise"),
        ("models", "Corners"),
        ("image_sets", "noise"),
        ("runs", "Corners and noise"),
        ("results", "energy"),
        ("images", ""),
        ("thresholds", "energy"),
        ("ablation", ""),
        ("report", ""),
        ("deploy", "energy"),
    ],
)
def test_a_page_opens_on_the_workspace(page: str, shown: str, run: Path) -> None:
    app = opened(page, run=run.name)
    assert not app.exception
    assert not app.error, [each.value for each in app.error]
    tables = [str(table.value) for table in app.dataframe]
    links = [link.proto.label for link in app.get("page_link")]
    assert shown in "\n".join([words(app), *tables, *links])
