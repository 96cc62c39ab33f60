"""`gsc tune` and `gsc audit --gsc-config`: the choice an audit would make, made once and kept."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import audit, gsc, program, refused
from places import ROOT
from small_audit import PREPROCESS, strange, write_stage

from gsc_core.audit.tuning import TuneSpec
from gsc_core.audit.tuning import tune as choose
from gsc_core.audit.tuning_file import read_tuned
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.errors import Cancelled
from gsc_core.progress import Progress
from gsc_core.run.stored import Run
from gsc_core.sentences.selection import tuning_sentences


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stage(tmp_path_factory.mktemp("stage"))


def tune(stage: Path, file: Path, *more: object, **changed: object) -> list[object]:
    """The arguments of a tuning on the stage; `changed` replaces options."""
    options: dict[str, object] = {
        "model": stage / "small.pt2",
        "preprocess": PREPROCESS,
        "id": stage / "id",
        "out": file,
    }
    options |= changed
    given = [(f"--{name.replace('_', '-')}", value) for name, value in options.items()]
    return ["tune", *(x for pair in given for x in pair), *more]


@pytest.fixture(scope="module")
def tuned(stage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("tuned") / "gsc.json"
    ran = gsc(*tune(stage, file))
    assert ran.code == 0, ran.err
    return file


def scores(out: Path) -> pd.Series:
    """Of test images: those of calibration are by weights learned without them, or held still."""
    rows = pd.read_parquet(out / "scores.parquet")
    return rows.loc[rows["role"] != "calibration", "gsc-auto"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"calibration": "0.9", "seed": "2"},
        {"calibration": "FOLDER", "split": "first", "seed": "1"},
    ],
    ids=["usual", "share and seed", "folder and layer"],
)
def test_the_file_holds_what_an_audit_chooses_and_scores_the_same(
    options: dict, stage: Path, tmp_path: Path
) -> None:
    if options.get("calibration") == "FOLDER":
        options = options | {"calibration": stage / "calibration"}
    file = tmp_path / "gsc.json"
    ran = gsc(*tune(stage, file, **options))
    assert ran.code == 0, ran.err
    own = gsc(*audit(stage, tmp_path / "own", "--json", detectors="gsc-auto,energy", **options))
    document = json.loads(own.out)
    kept = json.loads(file.read_text())
    assert kept["settings"] == document["chosen"]["gsc-auto"]
    assert kept["split"] == document["settings"]["split"]
    selection = document["selections"]["gsc-auto"]
    assert (kept["chosen"], kept["nothing"]) == (selection["chosen"], selection["nothing"])
    assert "split" not in options or kept["settings"]["layer"] == "split"  # which does cut
    assert kept["model_sha256"] == document["provenance"]["model_sha256"]

    again = options | {"gsc_config": file}
    held = gsc(*audit(stage, tmp_path / "held", "--json", detectors="energy", **again))
    assert held.code == 0, held.err
    assert "choosing the short-circuit" in own.err
    assert "choosing the short-circuit" not in held.err
    assert json.loads(held.out)["selections"] == {}
    assert list(scores(tmp_path / "held")) == list(scores(tmp_path / "own"))


# --- the ensemble -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unlabelled(stage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ID images without their classes, which `gsc tune` does not ask for."""
    folder = tmp_path_factory.mktemp("unlabelled")
    for at, path in enumerate(sorted((stage / "id").rglob("*.png"))):
        shutil.copy(path, folder / f"{at:03}.png")
    return folder


@pytest.fixture(scope="module")
def weighed(stage: Path, unlabelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("weighed") / "gsc.json"
    ran = gsc(*tune(stage, file, id=unlabelled))
    assert ran.code == 0, ran.err
    assert "auto-ensemble weighs its detectors" in " ".join(ran.out.split())
    return file


def ensemble_audit(stage: Path, images: Path, out: Path, **more: object) -> tuple[dict, pd.Series]:
    """The document of an audit with both, and the ensemble's score of every image."""
    detectors = {"detectors": "auto-ensemble,gsc-auto"}
    ran = gsc(*audit(stage, out, "--json", **({"id": images} | detectors | more)))
    assert ran.code == 0, ran.err
    rows = pd.read_parquet(out / "scores.parquet")
    return json.loads(ran.out), rows.set_index(["role", "file"])["auto-ensemble"]


@pytest.mark.slow
def test_its_weights_are_those_an_audit_learns(
    stage: Path, unlabelled: Path, weighed: Path, tmp_path: Path
) -> None:
    """Of the same images, and so is each score, those of calibration images held out too."""
    own, of_own = ensemble_audit(stage, unlabelled, tmp_path / "own")
    held, of_held = ensemble_audit(stage, unlabelled, tmp_path / "held", gsc_config=weighed)
    assert json.loads(weighed.read_text())["ensemble"] == own["fusions"]["auto-ensemble"]
    assert own["fusions"]["auto-ensemble"]["learned"] and own["tuned_on"] is None
    assert held["tuned_on"] == held["images"]["calibration"]["scored"] == 40
    pd.testing.assert_series_equal(of_held, of_own, rtol=1e-5, atol=1e-6)
    (sentence,) = tuning_sentences(Run.load(tmp_path / "held"))
    assert "40 of these 40 calibration images" in sentence
    assert tuning_sentences(Run.load(tmp_path / "own")) == []


@pytest.mark.slow
def test_images_it_was_not_learned_from_are_scored_by_its_weights(
    stage: Path, unlabelled: Path, weighed: Path, tmp_path: Path
) -> None:
    """Of two calibration folders one is new, in the other a half is: brute force over the parts."""
    tuned = read_tuned(weighed)
    files = {hashlib.sha256(p.read_bytes()).hexdigest(): p for p in unlabelled.iterdir()}
    old = [files[digest] for digest in tuned.tuned_on]
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for path in old[:20]:
        shutil.copy(path, mixed / f"old-{path.name}")
    for path in sorted((stage / "calibration").rglob("*.png"))[:30]:
        shutil.copy(path, mixed / f"new-{path.parent.name}-{path.name}")
    for calibration, same in ((mixed, 20), (stage / "calibration", 0)):
        out = tmp_path / str(same)
        rest = tmp_path / "rest"
        if not rest.exists():
            rest.mkdir()
            for path in files.values():
                if path not in old:
                    shutil.copy(path, rest)
        more = {"calibration": calibration, "gsc_config": weighed}
        document, _ = ensemble_audit(stage, rest, out, **more)
        assert document["tuned_on"] == same
        rows = pd.read_parquet(out / "scores.parquet")
        by_file = 0.0
        for part in document["fusions"]["auto-ensemble"]["parts"]:
            standardised = (rows[part["detector"]] - part["middle"]) / part["spread"]
            by_file = by_file + part["weight"] * standardised
        equal = np.isclose(by_file, rows["auto-ensemble"], rtol=1e-4, atol=1e-4)
        of_old = (rows["role"] == "calibration") & rows["file"].str.startswith("old-")
        assert equal[~of_old].all()
        assert of_old.sum() == same and not equal[of_old].any()
        (sentence,) = tuning_sentences(Run.load(out))
        assert ("20 of these 50" if same else "other images than the calibration") in sentence


@pytest.mark.slow
def test_an_audit_without_the_ensemble_is_not_given_one(
    stage: Path, weighed: Path, tmp_path: Path
) -> None:
    ran = gsc(*audit(stage, tmp_path / "out", "--json", detectors="energy", gsc_config=weighed))
    assert ran.code == 0, ran.err
    named = [each["name"] for each in json.loads(ran.out)["settings"]["detectors"]]
    assert named == ["gsc-auto", "energy"]


@pytest.mark.slow
def test_a_file_that_does_not_say_its_images_leaves_the_weights_open(
    stage: Path, unlabelled: Path, weighed: Path, tmp_path: Path
) -> None:
    """As the first version wrote it; else nobody could tell whether thresholds are in sample."""
    content = json.loads(weighed.read_text()) | {"version": 1}
    del content["ensemble"], content["tuned_on"]
    file = tmp_path / "first.json"
    file.write_text(json.dumps(content))
    _, of_own = ensemble_audit(stage, unlabelled, tmp_path / "own")
    document, of_held = ensemble_audit(stage, unlabelled, tmp_path / "held", gsc_config=file)
    assert document["selections"] == {} and document["tuned_on"] is None
    pd.testing.assert_series_equal(of_held, of_own, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_of_several_layers_the_one_with_the_least_loss_is_taken(
    stage: Path, tmp_path: Path
) -> None:
    names, alone = ["first", "block.1", "block"], {}
    for name in names:
        assert gsc(*tune(stage, tmp_path / name, split=name)).code == 0
        alone[name] = read_tuned(tmp_path / name)
    ran = gsc(*tune(stage, tmp_path / "all.json", "--json", layers=",".join([*names, names[0]])))
    assert ran.code == 0, ran.err
    together = read_tuned(tmp_path / "all.json")
    least = min(each.chosen.loss for each in alone.values())
    assert together.chosen.loss == least == alone[together.split].chosen.loss
    losses = [each.tried.loss for each in together.runners_up]
    assert losses == sorted(losses)
    assert len(losses) == 10
    best_alone = min(each.runners_up[0].tried.loss for each in alone.values())
    assert losses[0] <= best_alone


@pytest.mark.slow
def test_it_prints_what_was_chosen_or_the_document(
    stage: Path, tuned: Path, tmp_path: Path
) -> None:
    ran = gsc(*tune(stage, tuned, "--json"))  # an earlier choice may be replaced
    assert json.loads(ran.out) == json.loads(tuned.read_text())
    ran = gsc(*tune(stage, tuned))
    found = read_tuned(tuned)
    text = " ".join(ran.out.split())
    assert f"of 100 surrogate images {100 * found.chosen.fpr95:.0f} are accepted" in text
    assert "Chosen on 40 familiar images and 40 surrogate images made from them" in text
    assert [path.name for path in tuned.parent.iterdir()] == [tuned.name]


@pytest.mark.slow
def test_a_zip_gives_the_same_choice_and_leaves_nothing(
    stage: Path, tuned: Path, tmp_path: Path
) -> None:
    shutil.make_archive(str(tmp_path / "id"), "zip", stage / "id")
    ran = gsc(*tune(stage, tmp_path / "new" / "gsc.json", id=tmp_path / "id.zip"))
    assert ran.code == 0, ran.err
    assert read_tuned(tmp_path / "new" / "gsc.json") == read_tuned(tuned)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["gsc.json"]


def changed(tuned: Path, file: Path, **fields: object) -> Path:
    file.write_text(json.dumps(json.loads(tuned.read_text()) | fields))
    return file


PART = {"detector": "energy", "weight": 1.0, "middle": 0.0, "spread": 1.0}
FUSED = {"parts": [PART], "useless": [], "learned": True}
OPEN = {"layer": "auto", "granularity": "channel", "ranking": "gradient", "share": 0.1}
OPEN |= {"intervention": "zero", "cap": "yes"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"version": 3}, ("newer version",)),
        ({"ensemble": FUSED | {"parts": [PART | {"weight": -0.1}]}}, ("damaged",)),
        ({"ensemble": FUSED | {"parts": [PART | {"detector": "luck"}]}}, ("damaged",)),
        ({"ensemble": FUSED | {"parts": []}}, ("damaged",)),
        ({"format": "another"}, ("not written by gsc tune",)),
        ({"model_sha256": "0" * 64}, ("another model",)),
        ({"settings": OPEN}, ("damaged",)),
        ({"settings": {"layer": "none"}}, ("damaged",)),
        ({"settings": OPEN | {"layer": "split", "share": 0}}, ("damaged",)),
        ({"settings": OPEN | {"layer": "split", "ranking": "luck"}}, ("damaged",)),
        ({"settings": OPEN | {"layer": "split", "depth": 3}}, ("damaged",)),
        ({"chosen": None}, ("damaged",)),
        ({"version": "1"}, ("damaged",)),
    ],
    ids=str,
)
def test_a_file_that_cannot_be_taken(
    fields: dict, said: tuple[str, ...], stage: Path, tuned: Path, tmp_path: Path
) -> None:
    file = changed(tuned, tmp_path / "gsc.json", **fields)
    ran = gsc(*audit(stage, tmp_path / "out", gsc_config=file))
    refused(ran, tmp_path / "out", "gsc.json", *said)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b"PK\x03\x04"], ids=len
)
def test_a_file_of_another_kind_is_not_taken_and_not_written_over(
    content: bytes, stage: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mine"
    file.write_bytes(content)
    ran = gsc(*audit(stage, tmp_path / "out", gsc_config=file))
    refused(ran, tmp_path / "out", "not written by gsc tune")
    refused(gsc(*tune(stage, file)), None, "not written by gsc tune", "another file")
    assert file.read_bytes() == content
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"gsc_config": "nowhere.json"}, ("nowhere.json", "check the path")),
        ({"split": "first"}, ("layer block.1, not first",)),
        ({"detectors": "gsc-auto:share=0.1"}, ("--detectors", "without settings")),
        ({"detectors": "auto-ensemble:partner=gen"}, ("auto-ensemble is set", "without settings")),
        ({"model": "nothing.pt2"}, ("nothing.pt2", "check the path")),
    ],
    ids=str,
)
def test_options_that_contradict_the_file(
    options: dict, said: tuple[str, ...], stage: Path, tuned: Path, tmp_path: Path
) -> None:
    ran = gsc(*audit(stage, tmp_path / "out", **({"gsc_config": tuned} | options)))
    refused(ran, tmp_path / "out", *said)


@pytest.mark.slow
def test_gsc_auto_by_name_and_the_same_layer_by_name_are_no_contradiction(
    stage: Path, tuned: Path, tmp_path: Path
) -> None:
    more = {"split": "block.1", "detectors": "energy,gsc-auto,gsc-auto+energy"}
    ran = gsc(*audit(stage, tmp_path / "out", "--json", gsc_config=tuned, **more))
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert [each["name"] for each in document["settings"]["detectors"]][:2] == [
        "energy",
        "gsc-auto",
    ]
    assert document["selections"] == {}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layers": "block,blok"}, ("blok", "block")),
        ({"layers": "block", "split": "block"}, ("--split and --layers",)),
        ({"calibration": "0.2"}, ("at least 20 calibration images", "there are 16")),
        ({"calibration": "2"}, ("--calibration 2",)),
        ({"id": "nowhere"}, ("nowhere",)),
        ({"out": "."}, ("another file",)),
        ({"out": "/proc/gsc.json"}, ("cannot be written",)),
        ({"seed": "-1"}, ("--seed",)),
        ({"device": "nonsense"}, ("nonsense",)),
    ],
    ids=str,
)
def test_a_tuning_that_cannot_be(
    options: dict, said: tuple[str, ...], stage: Path, tmp_path: Path
) -> None:
    refused(gsc(*tune(stage, tmp_path / "gsc.json", **options)), None, *said)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("phase", ["calibrating", "choosing the short-circuit"])
def test_what_is_stopped_leaves_nothing(phase: str, stage: Path, tmp_path: Path) -> None:
    seen = []

    def stop(progress: Progress) -> None:
        seen.append(progress.phase)
        if progress.phase == phase:
            raise Cancelled

    preprocessing = Preprocessing.parse(PREPROCESS)
    model = ModelSpec(checkpoint=stage / "small.pt2", preprocessing=preprocessing)
    with pytest.raises(Cancelled):
        choose(TuneSpec(model=model, id=stage / "id"), tmp_path / "gsc.json", stop)
    assert seen[0] == "opening the model"
    assert seen.count(phase) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_ctrl_c_says_that_nothing_was_written(stage: Path, tmp_path: Path) -> None:
    many = strange(tmp_path / "many", 400, seed=5)
    out = tmp_path / "out"
    with subprocess.Popen(
        program(*tune(stage, out / "gsc.json", id=many, batch_size=2)),
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        # pytest-xdist's workers ignore SIGINT, and what they start would too
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if re.match(r"calibrating \d", line):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read().splitlines()
    assert process.returncode == 130, rest
    assert rest[-1] == "Stopped. Nothing was written."
    assert not out.exists()
