"""`gsc audit`: what comes out and what is left behind.

Most commands run in this process, through the same `main` with its own arguments; some run as the
real program.
"""

import json
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bad_images import broken_pixels
from command_line import PROGRESS, audit, gsc, program

from gsc_core import __version__
from gsc_core.detectors.catalogue import CATALOGUE
from gsc_core.run.stored import Run

pytestmark = pytest.mark.slow

RESULT = {
    "spec.json", "scores.parquet", "features.parquet", "metrics.json", "calibration.safetensors",
    "log.txt",
}  # fmt: skip
TABLE = tuple("┏┃┡│└")
METRICS = ("fpr95", "fpr95_ood_positive", "auroc", "aupr_in", "aupr_out", "detection_error")


def check_document(document: dict, detectors: set[str], sets: set[str]) -> None:
    """Every promised key, of the promised type, in its range."""
    rows = {(row["detector"], row["ood_set"]): row for row in document["results"]}
    scored = detectors - document["excused"].keys()
    assert len(rows) == len(document["results"])
    assert set(rows) == {(name, s) for name in scored for s in {*sets, "mean"}}
    for row in document["results"]:
        keys = {m + end for m in METRICS for end in ("", "_low", "_high")}
        assert row.keys() == {"detector", "ood_set"} | keys
        for metric in METRICS:
            value, low, high = (row[metric + end] for end in ("", "_low", "_high"))
            assert all(type(x) is float for x in (value, low, high))
            assert 0 <= low <= value <= high <= 1, (row["detector"], row["ood_set"], metric)
    assert type(document["id_accuracy"]) is float
    assert 0 <= document["id_accuracy"] <= 1
    assert all(0 <= share <= 1 for share in document["id_accuracy_after"].values())
    after = {"gsc", "gsc-drop", "gsc-energy"} & scored
    if document["chosen"].get("gsc-auto", {}).get("layer", "none") != "none":
        after.add("gsc-auto")
    assert document["id_accuracy_after"].keys() == after
    assert document["images"].keys() == {"id", "calibration", *sets}
    for counts in document["images"].values():
        assert counts.keys() == {"scored", "without_class", "broken", "duplicates"}
        assert all(type(count) is int for count in counts.values())
        assert counts["scored"] > 0
    assert all(type(reason) is str and reason for reason in document["excused"].values())
    assert type(document["inverted"]) is list
    assert set(document["inverted"]) <= scored
    assert document["settings"]["seed"] == document["provenance"]["seed"] == 0
    sha256 = [document["provenance"]["model_sha256"]]
    sha256 += document["provenance"]["image_sets_sha256"].values()
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in sha256)
    assert document["provenance"]["versions"]["torch"] == version("torch")
    assert document["provenance"]["versions"]["gsc-audit"] == __version__


@dataclass(frozen=True)
class Printed:
    """What the real program wrote, and where it left its result."""

    out: str
    err: list[str]
    seconds: float
    run: Path


@pytest.fixture(scope="module")
def printed(
    stage: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Printed:
    """Two OOD sets, every detector, into pipes."""
    run = tmp_path_factory.mktemp("printed") / "out"
    more = ["--ood", f"faint={stage / 'faint'}", "--json", "--profile"]
    command = program(*audit(stage, run, *more, detectors="all"))
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    took = time.perf_counter() - started
    assert done.returncode == 0, done.stderr
    return Printed(done.stdout, done.stderr.splitlines(), took, run)


def test_the_real_program_prints_the_document_it_writes(printed: Printed) -> None:
    """A pipe gets plain lines and clean JSON."""
    plain = [line for line in printed.err if not line.startswith(TABLE)]
    assert all(PROGRESS.fullmatch(line) for line in plain), printed.err
    assert "scoring faint 50/50" in plain
    document = json.loads(printed.out)
    assert document == json.loads((printed.run / "metrics.json").read_text())
    check_document(document, {detector.name for detector in CATALOGUE}, {"noise", "faint"})
    files = {path.name for path in printed.run.iterdir()}
    assert files == {*RESULT, "channels.parquet"}
    assert set(Run.load(printed.run).ood_sets) == {"noise", "faint"}


def test_a_profile_shows_where_the_time_went(printed: Printed) -> None:
    """The rows of the phases sum up to the last one, which is the whole."""
    table = [line.split("│")[1:3] for line in printed.err if line.startswith("│")]
    seconds = {name: float(value) for name, value in table if not name.startswith("   ")}
    seconds = {name.strip(): value for name, value in seconds.items()}
    whole = seconds.pop("total")
    assert sum(seconds.values()) == pytest.approx(whole, abs=0.01 * len(seconds))
    assert 0 < whole < printed.seconds
    stored = json.loads(printed.out)["provenance"]["phases"]
    assert set(stored) <= set(seconds)
    assert stored["fitting"]["wall_s"] == pytest.approx(seconds["fitting"], abs=0.01)
    told = {"importing", "opening the model", "the network's forward pass", "scoring", "measuring"}
    assert told < set(seconds)


def test_without_json_a_table_names_each_detector_and_what_was_left_out(
    stage: Path, tmp_path: Path
) -> None:
    ran = gsc(*audit(stage, tmp_path / "out", detectors="energy,gsc,gsc-drop,gmm"))
    assert ran.code == 0, ran.err
    document = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert "gmm" in document["excused"]
    lines = ran.out.splitlines()
    assert any("gmm" in line and "left out" in line for line in lines)
    energy = next(row for row in document["results"] if row["detector"] == "energy")
    assert any("energy" in line and f"{100 * energy['fpr95']:.1f} (" in line for line in lines)
    for name in document["inverted"]:
        assert any(f" {name} " in line and "points" in line for line in lines)
    assert "gsc-drop" in document["inverted"]
    assert f"{100 * document['id_accuracy']:.1f} %" in ran.out


def test_what_detectors_chose_is_told_after_the_table(stage: Path, tmp_path: Path) -> None:
    ran = gsc(*audit(stage, tmp_path / "out", detectors="auto-ensemble", calibration="0.6"))
    assert ran.code == 0, ran.err
    document = json.loads((tmp_path / "out" / "metrics.json").read_text())
    text = " ".join(ran.out.split())
    selection = document["selections"]["gsc-auto"]
    passing = f"of 100 surrogate images {100 * selection['chosen']['fpr95']:.0f} are accepted"
    assert (
        text.index("gsc-auto chose: ")
        < text.index(passing)
        < text.index("Familiar images classified")
    )
    fused = document["fusions"]["auto-ensemble"]
    how = "weighs its detectors" if fused["learned"] else "gives its"
    (sentence,) = re.findall(rf"auto-ensemble {how} [^.]*\.", text)
    counted = [part["detector"] for part in fused["parts"]] if fused["learned"] else []
    assert all(name in sentence for name in [*counted, *fused["useless"]])


def test_zips_give_the_same_figures_as_folders_also_a_second_time(
    stage: Path, tmp_path: Path
) -> None:
    for name in ("id", "noise"):
        shutil.make_archive(str(tmp_path / name), "zip", stage / name)
    zips = audit(
        stage,
        tmp_path / "out",
        "--json",
        id=tmp_path / "id.zip",
        ood=f"noise={tmp_path / 'noise.zip'}",
    )
    folders = gsc(*audit(stage, tmp_path / "plain", "--json"))
    for _ in range(2):
        ran = gsc(*zips)
        assert ran.code == 0, ran.err
        assert json.loads(ran.out)["results"] == json.loads(folders.out)["results"]


def test_a_calibration_folder_leaves_the_whole_id_set_for_testing(
    stage: Path, tmp_path: Path
) -> None:
    ran = gsc(*audit(stage, tmp_path / "out", "--json", calibration=stage / "calibration"))
    images = json.loads(ran.out)["images"]
    assert (images["calibration"]["scored"], images["id"]["scored"]) == (60, 80)


def flat_with_table(stage: Path, folder: Path, wrong: int) -> Path:
    """The ID images in one folder, with a table that gives some of them a wrong label."""
    folder.mkdir()
    rows = []
    for i, path in enumerate(sorted((stage / "id").rglob("*.png"))):
        shutil.copy(path, folder / path.name)
        label = int(path.parent.name)
        rows.append({"file": path.name, "label": (label + (i < wrong)) % 4})
    pd.DataFrame(rows).to_csv(folder.parent / "table.csv", index=False)
    return folder


def test_labels_from_a_table(stage: Path, tmp_path: Path) -> None:
    flat = flat_with_table(stage, tmp_path / "flat", wrong=20)
    told = audit(stage, tmp_path / "a", "--json", id=flat, labels=tmp_path / "table.csv")
    document = json.loads(gsc(*told).out)
    scores = pd.read_parquet(tmp_path / "a" / "scores.parquet").query("role == 'id'")
    table = pd.read_csv(tmp_path / "table.csv").set_index("file")["label"]
    assert list(scores["label"]) == list(table[scores["file"]])
    assert document["id_accuracy"] == np.mean(scores["label"] == scores["predicted"])
    assert document["id_accuracy"] < 1


def test_without_labels_there_is_no_accuracy_and_the_run_can_be_opened(
    stage: Path, tmp_path: Path
) -> None:
    flat = flat_with_table(stage, tmp_path / "flat", wrong=0)
    ran = gsc(*audit(stage, tmp_path / "out", id=flat, detectors="energy,gsc,she"))
    assert ran.code == 0, ran.err
    assert "Accuracy is not known" in ran.out
    run = Run.load(tmp_path / "out")
    assert run.id_accuracy is None
    assert run.id_accuracy_after == {}
    assert "labels" in run.excused["she"]


@pytest.mark.parametrize(
    "name",
    ["<img src=x>", '=HYPERLINK("http://x","y")', "two words", "Ümläut 图", "../up", "[/red]", "."],
)
def test_a_set_may_have_any_name(name: str, stage: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran = gsc(*audit(stage, out, "--json", ood=f"{name}={stage / 'noise'}"))
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert name in document["images"]
    assert name in set(pd.read_parquet(out / "scores.parquet")["set"])
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    assert {path.name for path in out.iterdir()} - {"channels.parquet"} == RESULT


def test_files_may_have_any_name(stage: Path, tmp_path: Path) -> None:
    folder = tmp_path / "stränge & <b>"
    folder.mkdir()
    names = ["=1+1.png", "a\nb.png", "<script>.png", "图.png", " .png"]
    for name, source in zip(names, sorted((stage / "noise").iterdir()), strict=False):
        shutil.copy(source, folder / name)
    ran = gsc(*audit(stage, tmp_path / "out", "--json", ood=f"x={folder}"))
    assert ran.code == 0, ran.err
    scores = pd.read_parquet(tmp_path / "out" / "scores.parquet").query("set == 'x'")
    assert sorted(scores["file"]) == sorted(names)


def test_a_second_audit_in_the_same_folder_replaces_the_first(stage: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    gsc(*audit(stage, out))
    ran = gsc(*audit(stage, out, "--json", detectors="msp", ood=f"faint={stage / 'faint'}"))
    assert {row["detector"] for row in json.loads(ran.out)["results"]} == {"msp"}
    assert set(pd.read_parquet(out / "scores.parquet")["set"]) == {"calibration", "id", "faint"}


def test_a_failed_audit_leaves_no_result_of_the_one_before(stage: Path, tmp_path: Path) -> None:
    """Or `spec.json` and `metrics.json` would tell of two different audits."""
    out = tmp_path / "out"
    gsc(*audit(stage, out))
    broken = broken_pixels(stage, tmp_path / "broken")
    ran = gsc(*audit(stage, out, ood=f"broken={broken}"))
    assert ran.code == 2
    assert not (out / "metrics.json").exists()
    assert not (out / "scores.parquet").exists()


def test_the_demo_needs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))
    ran = gsc("demo", "--json")
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    sets = {"unseen-signs", "shop-signs", "textures", "night-fog", "noise"}
    check_document(document, {detector.name for detector in CATALOGUE}, sets)
    run = tmp_path / "home" / "runs" / "demo"
    assert document == json.loads((run / "metrics.json").read_text())
    assert document["id_accuracy"] > 0.9
    assert document["excused"].keys() <= {"gmm"}  # 23 calibration images a class are too few
