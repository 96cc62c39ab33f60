"""The program as a person runs it: what comes out, what is left behind, and what bad input is told.

Most commands run in this process, through the same `main` with its own arguments; some run as the
real program.
"""

import contextlib
import io
import json
import os
import pickle
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import timm
import torch
from command_line import PROGRESS, Ran, audit, gsc, program, refused
from hostile_programs import ATTACKS, DROPPED, Payload, read, save, write
from hostile_programs import Small as OtherSmall
from PIL import Image
from places import ROOT
from small_audit import PREPROCESS, known, model, strange, write_stage

from gsc_core import __version__
from gsc_core.detectors.catalogue import CATALOGUE
from gsc_core.run.stored import Run

pytestmark = pytest.mark.slow

RESULT = {
    "spec.json", "scores.parquet", "features.parquet", "metrics.json", "calibration.safetensors",
    "log.txt",
}  # fmt: skip
METRICS = ("fpr95", "fpr95_ood_positive", "auroc", "aupr_in", "aupr_out", "detection_error")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stage(tmp_path_factory.mktemp("stage"))


@pytest.fixture
def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


# --- what a finished audit gives -------------------------------------------------------------


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


def test_the_real_program_prints_the_document_it_writes(
    stage: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    """Two OOD sets, every detector; a pipe gets plain lines and clean JSON."""
    more = ["--ood", f"faint={stage / 'faint'}", "--json"]
    command = program(*audit(stage, tmp_path / "out", *more, detectors="all"))
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert all(PROGRESS.fullmatch(line) for line in done.stderr.splitlines()), done.stderr
    assert "scoring faint 50/50" in done.stderr.splitlines()
    document = json.loads(done.stdout)
    assert document == json.loads((tmp_path / "out" / "metrics.json").read_text())
    check_document(document, {detector.name for detector in CATALOGUE}, {"noise", "faint"})
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {*RESULT, "channels.parquet"}
    assert set(Run.load(tmp_path / "out").ood_sets) == {"noise", "faint"}


def test_a_profile_shows_where_the_time_went_and_leaves_json_clean(
    stage: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    """A process of its own: the rows of the phases sum up to the last one, which is the whole."""
    command = program(*audit(stage, tmp_path / "out", "--json", "--profile"))
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    took = time.perf_counter() - started
    assert done.returncode == 0, done.stderr
    table = [line.split("│")[1:3] for line in done.stderr.splitlines() if line.startswith("│")]
    seconds = {name: float(value) for name, value in table if not name.startswith("   ")}
    seconds = {name.strip(): value for name, value in seconds.items()}
    whole = seconds.pop("total")
    assert sum(seconds.values()) == pytest.approx(whole, abs=0.01 * len(seconds))
    assert 0 < whole < took
    stored = json.loads(done.stdout)["provenance"]["phases"]
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


# --- the other commands ----------------------------------------------------------------------


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


# --- stopped and continued -------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_stage(stage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough unfamiliar images for three chunks."""
    folder = tmp_path_factory.mktemp("long")
    shutil.copy(stage / "small.pt2", folder)
    known(folder / "id", 40, seed=21)
    strange(folder / "noise", 1300, seed=22)
    return folder


def test_ctrl_c_and_the_same_command_again(
    long_stage: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    options = {"detectors": "energy,gsc,odin", "batch_size": 4}
    command = audit(long_stage, tmp_path / "out", "--json", **options)
    with subprocess.Popen(
        program(*command),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        bufsize=1,
        # pytest-xdist's workers ignore SIGINT, and what they start would too
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line.strip())
            if re.fullmatch(r"scoring noise (5[2-9]|[6-9]\d)\d/1300", lines[-1]):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    told = [line for line in rest.splitlines() if not PROGRESS.fullmatch(line)]
    assert told == ["Stopped. Finished chunks are saved: the same command continues from there."]
    left = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert "metrics.json" not in left
    assert not [name for name in left if name.endswith(".part")]

    again = gsc(*command)
    assert again.code == 0, again.err
    first = next(line for line in again.err.splitlines() if line.startswith("scoring noise"))
    assert first == "scoring noise 512/1300"
    at_once = gsc(*audit(long_stage, tmp_path / "at once", "--json", **options))
    assert same_result(json.loads(again.out), json.loads(at_once.out))
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "out" / "scores.parquet"),
        pd.read_parquet(tmp_path / "at once" / "scores.parquet"),
        rtol=1e-5,
        atol=1e-6,
    )
    assert not (tmp_path / "out" / "chunks").exists()


def same_result(a: dict, b: dict) -> bool:
    return all(a[key] == b[key] for key in ("results", "images", "id_accuracy", "inverted"))


def test_a_terminal_shows_a_bar(stage: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """Also for a set whose name would be markup."""
    terminal, theirs = pty.openpty()
    with subprocess.Popen(
        program(*audit(stage, tmp_path / "out", "--json", ood=f"[/x]={stage / 'noise'}")),
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**environment, "TERM": "xterm", "COLUMNS": "100"},
    ) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # a terminal's end
            while block := os.read(terminal, 4096):
                shown += block
        assert process.stdout is not None
        printed = process.stdout.read()
    os.close(terminal)
    text = shown.decode()
    assert process.returncode == 0, text
    assert "━━━" in text
    assert "\x1b[" in text
    assert "scoring [/x]" in text
    assert "40/40" in text
    assert json.loads(printed)["images"]["[/x]"]["scored"] == 40


# --- bad models ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a tiny architecture, as safetensors and as a state dict."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    state = timm.create_model("test_resnet", num_classes=4).state_dict()
    safetensors.torch.save_file(state, folder / "tiny.safetensors")
    torch.save(state, folder / "tiny.pt")
    spoilt = {name: value.clone() for name, value in state.items()}
    next(value for value in spoilt.values() if value.is_floating_point()).view(-1)[0] = torch.nan
    safetensors.torch.save_file(spoilt, folder / "nan.safetensors")
    return folder


CROP_32 = "resize=32,crop=32"


def test_weights_with_their_architecture_are_audited(
    weights: Path, stage: Path, tmp_path: Path
) -> None:
    for name in ("tiny.safetensors", "tiny.pt"):
        more = {"model": weights / name, "arch": "timm/test_resnet", "preprocess": CROP_32}
        ran = gsc(*audit(stage, tmp_path / name, "--json", **more))
        assert ran.code == 0, ran.err
        assert json.loads(ran.out)["settings"]["architecture"] == "timm/test_resnet"


@pytest.mark.parametrize(
    ("file", "arch", "said"),
    [
        ("nothing.pt2", None, ("nothing.pt2", "check the path")),
        ("tiny.safetensors", None, ("name the architecture",)),
        ("tiny.pt", None, ("name the architecture",)),
        ("tiny.safetensors", "torchvision/resnet18", ("do not fit torchvision/resnet18",)),
        ("tiny.safetensors", "timm/test_resnat", ("no architecture", "test_resnet")),
        ("nan.safetensors", "timm/test_resnet", ("NaN",)),
    ],
)
def test_weights_that_do_not_fit(
    file: str,
    arch: str | None,
    said: tuple[str, ...],
    weights: Path,
    stage: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    more = {"model": weights / file, "arch": arch, "preprocess": CROP_32}
    refused(gsc(*audit(stage, out, **more)), out, *said)
    assert not out.exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
@pytest.mark.parametrize("file", ["small.pt2", "tiny.safetensors", "tiny.pt"])
def test_a_truncated_checkpoint(
    file: str, share: float, weights: Path, stage: Path, tmp_path: Path
) -> None:
    content = next(p for p in (stage / file, weights / file) if p.exists()).read_bytes()
    cut = tmp_path / file
    cut.write_bytes(content[: int(len(content) * share)])
    arch = None if file == "small.pt2" else "timm/test_resnet"
    ran = gsc(*audit(stage, tmp_path / "out", model=cut, arch=arch))
    refused(ran, tmp_path / "out", file)
    assert not (tmp_path / "out").exists()


def whole_pickle(path: Path, payload: Payload) -> None:
    path.write_bytes(pickle.dumps({"weight": torch.zeros(2), "evil": payload}))


def torch_archive(path: Path, payload: Payload) -> None:
    torch.save({"state_dict": {"weight": torch.zeros(2)}, "evil": payload}, path)


@pytest.mark.parametrize("build", [whole_pickle, torch_archive])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".pt2", ".safetensors"])
def test_a_pickle_with_code_in_it_is_not_run(
    build, suffix: str, stage: Path, tmp_path: Path
) -> None:
    marker, evil = tmp_path / "marker", tmp_path / f"evil{suffix}"
    build(evil, Payload(marker))
    ran = gsc(*audit(stage, tmp_path / "out", model=evil))
    refused(ran, tmp_path / "out", evil.name)
    assert not marker.exists()
    with contextlib.suppress(Exception):
        torch.load(io.BytesIO(evil.read_bytes()), weights_only=False)
    with contextlib.suppress(Exception):
        pickle.loads(evil.read_bytes())
    assert marker.exists(), "the payload does nothing: this test would prove nothing"


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_a_program_with_code_in_it_is_not_run(attack, stage: Path, tmp_path: Path) -> None:
    """That each payload is live is shown in test_classifier_gate."""
    marker = tmp_path / "marker"
    members = read(save(OtherSmall(), tmp_path / "honest.pt2", size=32))
    attack(members, marker)
    evil = write(tmp_path / "evil.pt2", members)
    ran = gsc(*audit(stage, tmp_path / "out", model=evil, preprocess=CROP_32))
    if attack.__name__ in DROPPED:
        assert ran.code == 0, ran.err
    else:
        refused(ran, tmp_path / "out", "evil.pt2")
    assert not marker.exists()


def test_torchscript_is_refused_with_the_way_out(stage: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.pt"
    torch.jit.save(torch.jit.script(model()), script)
    ran = gsc(*audit(stage, tmp_path / "out", model=script))
    refused(ran, tmp_path / "out", "TorchScript", "state_dict")


def test_names_that_are_not_one_a_class(stage: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("one\ntwo\nthree\n")
    ran = gsc(*audit(stage, tmp_path / "out", class_names=names))
    refused(ran, tmp_path / "out", "4 classes", "3 names")


# --- bad images ----------------------------------------------------------------------------


def broken_headers(folder: Path) -> Path:
    folder.mkdir()
    for i in range(5):
        (folder / f"{i}.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    return folder


def broken_pixels(stage: Path, folder: Path) -> Path:
    """Right headers over pixels that are cut off."""
    folder.mkdir(parents=True)
    for i, path in enumerate(sorted((stage / "noise").iterdir())[:6]):
        with Image.open(path) as image:
            image.resize((64, 64)).save(folder / f"{i}.png")
        content = (folder / f"{i}.png").read_bytes()
        (folder / f"{i}.png").write_bytes(content[: len(content) // 2])
    return folder


def empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def texts(folder: Path) -> Path:
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.txt").write_text("no image")
    return folder


@pytest.mark.parametrize("role", ["id", "ood", "calibration"])
@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda stage, folder: folder, "does not exist"),
        (lambda stage, folder: empty(folder), "no image"),
        (lambda stage, folder: texts(folder), "3 × .txt"),
        (lambda stage, folder: broken_headers(folder), "can be read"),
        (broken_pixels, "can be read"),
    ],
    ids=["missing", "empty", "texts", "headers", "pixels"],
)
def test_a_folder_without_pictures(role: str, build, said: str, stage: Path, tmp_path) -> None:
    folder = build(stage, tmp_path / "bad")
    given = {"ood": f"bad={folder}"} if role == "ood" else {role: folder}
    ran = gsc(*audit(stage, tmp_path / "out", **given))
    assert ran.code == 2
    assert len(ran.told) == 1, ran.err
    assert said in ran.told[0]
    assert not (tmp_path / "out" / "metrics.json").exists()
    assert not (tmp_path / "out" / "scores.parquet").exists()
    assert not list(tmp_path.rglob("*.part"))


def test_one_id_picture_is_too_few_even_when_copied(stage: Path, tmp_path: Path) -> None:
    one = empty(tmp_path / "one")
    picture = next((stage / "id").rglob("*.png"))
    for name in ("a.png", "b.png"):
        shutil.copy(picture, one / name)
    refused(gsc(*audit(stage, tmp_path / "out", id=one)), tmp_path / "out", "at least two")


def test_an_ood_set_of_id_pictures_is_none(stage: Path, tmp_path: Path) -> None:
    ran = gsc(*audit(stage, tmp_path / "out", ood=f"same={stage / 'id'}"))
    refused(ran, tmp_path / "out", "same", "ID image")


def test_a_damaged_zip_leaves_nothing_unpacked(stage: Path, tmp_path: Path) -> None:
    """The first set is unpacked before the second fails."""
    shutil.make_archive(str(tmp_path / "id"), "zip", stage / "id")
    (tmp_path / "bad.zip").write_bytes((tmp_path / "id.zip").read_bytes()[:1000])
    out = tmp_path / "out"
    ran = gsc(*audit(stage, out, id=tmp_path / "id.zip", ood=f"x={tmp_path / 'bad.zip'}"))
    refused(ran, out, "bad.zip")
    assert not out.exists() or not list(out.iterdir())


KILLED_WHILE_IT_UNPACKS = """
import os, signal, sys
from pathlib import Path
from gsc_core.audit.inputs import unpacking
with unpacking(Path(sys.argv[1])) as folder:
    (folder / "id").mkdir()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_audit_killed_while_it_unpacked_is_done_anew(stage: Path, tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "id"), "zip", stage / "id")
    out = tmp_path / "out"
    command = [sys.executable, "-W", "ignore", "-c", KILLED_WHILE_IT_UNPACKS]
    subprocess.run([*command, str(out / "unpacked")], cwd=ROOT, check=False)
    assert (out / "unpacked" / "id").exists()
    ran = gsc(*audit(stage, out, id=tmp_path / "id.zip"))
    assert ran.code == 0, ran.err
    assert (out / "metrics.json").exists()


# --- bad options -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"detectors": "energee"}, ("energee", "energy")),
        ({"detectors": "knn:neighbours=3"}, ("knn", "neighbours", "k")),
        ({"detectors": "knn:k=many"}, ("k=",)),
        ({"detectors": "knn:k=0"}, ("k=0", "at least 1")),
        ({"detectors": "energy,msp,energy"}, ("energy", "twice")),
        ({"detectors": ""}, ("No detector",)),
        ({"split": "blok"}, ("blok", "block")),
        ({"ood": "noise"}, ("NAME=DIR",)),
        ({"ood": "=noise"}, ("NAME=DIR",)),
        ({"ood": "noise="}, ("NAME=DIR",)),
        ({"ood": "id=noise"}, ("'id'",)),
        ({"ood": "mean=noise"}, ("'mean'",)),
        ({"ood": "calibration=noise"}, ("'calibration'",)),
        ({"ood": f"{'x' * 61}=noise"}, ("60 letters",)),
        ({"ood": f"{'图' * 40}=noise"}, ("100 bytes",)),
        ({"ood": "two\nlines=noise"}, ("two\\nlines",)),
        ({"ood": "\udcff=noise"}, ("cannot be named",)),
        ({"calibration": "0"}, ("--calibration 0", "between 0 and 1")),
        ({"calibration": "1.5"}, ("--calibration 1.5",)),
        ({"calibration": "nan"}, ("--calibration nan",)),
        ({"preprocess": "size=12"}, ("size=12",)),
        ({"preprocess": "crop=0"}, ("crop", "'0'")),
        ({"preprocess": "std=0"}, ("std", "above 0")),
        ({"preprocess": "crop=13"}, ("12×12", "13×13")),
        ({"device": "nonsense"}, ("nonsense", "auto")),
        ({"device": "meta"}, ("meta", "auto")),
        ({"device": "hpu"}, ("hpu", "auto")),
        ({"device": "cuda:77"}, ("cuda:77", "auto")),
        ({"batch_size": "0"}, ("--batch-size", "greater than or equal to 1")),
        ({"threads": "0"}, ("--threads",)),
        ({"seed": "-1"}, ("--seed",)),
        ({"labels": "nowhere.csv"}, ("nowhere.csv",)),
        ({"class_names": "nowhere.txt"}, ("nowhere.txt",)),
        ({"model": None}, ("No model",)),
        ({"arch": "resnet18"}, ("whole program",)),
        ({"id": "x" * 300}, ("cannot be used",)),
        ({"id": "not\udcffutf8"}, ("UTF-8",)),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_an_option_that_cannot_be(
    changed: dict, said: tuple[str, ...], stage: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    if isinstance(ood := changed.get("ood"), str):
        changed = {**changed, "ood": ood.replace("=noise", f"={stage / 'noise'}")}
    refused(gsc(*audit(stage, out, **changed)), out, *said)
    assert not out.exists()


def test_two_sets_of_one_name(stage: Path, tmp_path: Path) -> None:
    ran = gsc(*audit(stage, tmp_path / "out", "--ood", f"noise={stage / 'faint'}"))
    refused(ran, tmp_path / "out", "'noise'", "own name")


def test_detectors_that_all_cannot_run(stage: Path, tmp_path: Path) -> None:
    ran = gsc(*audit(stage, tmp_path / "out", detectors="gmm"))
    refused(ran, tmp_path / "out", "None of the detectors", "gmm")


@pytest.mark.parametrize(
    "arguments",
    [
        ["audit"],
        ["audit", "--id", "x", "--out", "y"],
        ["audit", "--batch-size", "many"],
        ["audit", "--nonsense"],
        ["audits"],
        ["splits", "--split"],
    ],
    ids=" ".join,
)
def test_usage_errors_end_with_2_and_show_the_way(arguments: list[str]) -> None:
    ran = gsc(*arguments)
    assert ran.code == 2
    assert "Usage:" in ran.err
    assert "Traceback" not in ran.err


# --- bad places for the result ---------------------------------------------------------------


def test_out_is_a_file(stage: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    refused(gsc(*audit(stage, tmp_path / "out")), None, "cannot be written")
    refused(gsc(*audit(stage, tmp_path / "out" / "below")), None, "cannot be written")
    assert (tmp_path / "out").read_text() == "mine"


def test_out_cannot_be_written(stage: Path, tmp_path: Path) -> None:
    """Where even root may not; and for others, a folder without the right to write."""
    refused(gsc(*audit(stage, Path("/proc/gsc"))), None, "/proc/gsc", "cannot be written")
    if os.geteuid() != 0:
        locked = empty(tmp_path / "locked")
        locked.chmod(0o500)
        refused(gsc(*audit(stage, locked / "out")), None, "Permission denied")


@pytest.mark.parametrize(
    "name", ["chunks", "unpacked", "metrics.json", "scores.parquet", "channels.parquet"]
)
def test_other_peoples_files_are_left_alone(name: str, stage: Path, tmp_path: Path) -> None:
    """A folder of that name that no audit has written is neither emptied nor written over."""
    theirs = tmp_path / name / "theirs.txt" if "." not in name else tmp_path / name
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_text("keep")
    refused(gsc(*audit(stage, tmp_path)), None, name, "empty folder")
    assert theirs.read_text() == "keep"


FILL_A_REAL_DISK = """
mount -t tmpfs -o size=$SIZE none "$1/disk" || exit 99
shift
"$@"
echo "code $?"
cd "$OLDPWD" 2>/dev/null
find "$DISK" -type f
"""


@pytest.mark.parametrize("size", ["4k", "48k"], ids=["at once", "in the midst"])
def test_a_disk_that_fills_up(
    size: str, stage: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    """On a real, small file system, in a mount namespace of its own."""
    probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", str(tmp_path)]
    tried = shutil.which("unshare") and subprocess.run(probe, capture_output=True, check=False)
    if not tried or tried.returncode:
        pytest.skip("no small disk to fill: mounting in a namespace is not allowed here")
    disk = empty(tmp_path / "disk")
    more = ["--ood", f"faint={stage / 'faint'}"]
    command = program(*audit(stage, disk / "out", *more, detectors="all"))
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", FILL_A_REAL_DISK, "sh", tmp_path, *command],
        capture_output=True,
        text=True,
        env={**environment, "DISK": str(disk), "SIZE": size},
        check=False,
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "code 2", done.stderr
    told = [line for line in done.stderr.splitlines() if not PROGRESS.fullmatch(line)]
    assert len(told) == 1, done.stderr
    assert told[0].startswith("The disk is full")
    left = {Path(line).relative_to(disk / "out").as_posix() for line in lines[1:]}
    assert ("chunks/key" in left) == (size == "48k")
    assert "metrics.json" not in left
    assert not {name for name in left if name.endswith(".part")}


def test_a_zip_is_no_folder_of_zips(stage: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.writestr("inner.zip", b"PK\x05\x06" + bytes(18))
    ran = gsc(*audit(stage, tmp_path / "out", id=tmp_path / "outer.zip"))
    refused(ran, tmp_path / "out", "no image", ".zip")
