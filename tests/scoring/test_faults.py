"""One detector's failure never ends an audit: it is left out, told and logged; the others go on.

The others' scores are those of an audit without it, to the bit.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest
import torch
from PIL import Image
from places import ROOT
from small_audit import PREPROCESS, known, save_program, strange
from torch import Tensor

from gsc_core.ablation.run import ablate
from gsc_core.audit.reopen import reopen
from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.audit.tuning import TuneSpec, tune
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.cli.output import print_result
from gsc_core.detectors import catalogue
from gsc_core.detectors.auto import AutoGSC
from gsc_core.detectors.base import Calibration, Detector, Fit, Need, Representation
from gsc_core.detectors.catalogue import CATALOGUE
from gsc_core.detectors.energy import Energy
from gsc_core.detectors.ensemble import ensemble_of
from gsc_core.detectors.gsc import GSC
from gsc_core.detectors.knn import KNN
from gsc_core.detectors.msp import MSP
from gsc_core.errors import Cancelled, GscError, SpecError
from gsc_core.log import LOGGER, is_logged_to, logged_to
from gsc_core.progress import Progress
from gsc_core.run.stored import Run
from gsc_core.scoring.chunks import CHUNK_IMAGES
from gsc_core.scoring.faults import in_words, of_memory

GOOD = ("energy", "knn", "gsc")
OURS = "a fault of GSC Audit; the log has the details"


@dataclass(eq=False)
class Faulty(Detector):
    """Reads logits, and gives the largest of them."""

    about: ClassVar[str] = "Has a fault."
    fitted_with: ClassVar[Fit] = Fit.IMAGES

    def score(self, batch: Representation) -> Any:
        return -batch.logits.amax(dim=1)


def faulty(name: str, **methods: Any) -> type[Detector]:
    """A detector with some methods gone wrong."""
    return type(name, (Faulty,), {"name": name, "title": name, **methods})


def raising(error: BaseException) -> Callable[..., Any]:
    def method(*_: Any) -> Any:
        raise error

    return method


def raises_on_white(self: Faulty, batch: Representation) -> Tensor:
    assert batch.images is not None
    if bool((batch.images.amin(dim=(1, 2, 3)) > 2).any()):
        raise ValueError("a line\nand another")
    return -batch.logits.amax(dim=1)


SCORES: dict[str, tuple[Callable[[Faulty, Representation], Any], str]] = {
    "wrong-shape": (lambda _, b: b.logits, "ValueError: scores have the shape"),
    "too-few": (lambda _, b: b.logits[1:, 0], "ValueError: scores have the shape"),
    "whole": (lambda _, b: b.predicted, "TypeError: scores are int64 and no floats"),
    "graph": (
        lambda _, b: b.logits[:, 0].clone().requires_grad_() * 1,
        "ValueError: scores carry a graph",
    ),
    "float": (lambda *_: 0.5, "TypeError: scores are a float and no tensor"),
    "none": (lambda *_: None, "TypeError: scores are a NoneType and no tensor"),
    "list": (lambda _, b: b.logits[:, 0].tolist(), "TypeError: scores are a list and no tensor"),
    "nan": (lambda _, b: b.logits[:, 0] * torch.nan, "not a number"),
    "exits": (raising(StopIteration()), "StopIteration"),
    "asserts": (raising(AssertionError()), "AssertionError"),
    "speaks": (raising(SpecError("A sentence.")), "SpecError: A sentence"),
}


def _bad_learning(self: Faulty, calibration: Calibration) -> Any:
    raise RuntimeError("Expected all tensors to be on the same device")


def _fails_on_a_part(self: Faulty, calibration: Calibration) -> Any:
    if len(calibration.logits) < 80:  # a held-out fit
        raise ZeroDivisionError("division by zero")
    return self


FAULTY = {
    "bad-fit": faulty("bad-fit", fit=_bad_learning),
    "bad-part": faulty("bad-part", fit=_fails_on_a_part),
    "bad-after": faulty("bad-after", logits_after=raising(KeyError("after"))),
    "odd-after": faulty("odd-after", logits_after=lambda _, batch: batch.logits[:, :1]),
    "bad-frozen": faulty("bad-frozen", frozen=raising(LookupError("nothing"))),
    "bad-chunk": faulty("bad-chunk", score=raises_on_white, needs=Need.LOGITS | Need.IMAGES),
    **{name: faulty(name, score=score) for name, (score, _) in SCORES.items()},
}
REASONS = {
    "bad-fit": "RuntimeError: Expected all tensors to be on the same device",
    "bad-part": "ZeroDivisionError: division by zero",
    "bad-after": "KeyError: 'after'",
    "odd-after": "ValueError: logits after the short-circuit",
    "bad-frozen": "LookupError: nothing",
    "bad-chunk": "ValueError: a line",
    **{name: reason for name, (_, reason) in SCORES.items()},
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Familiar images in two chunks; the last of the second is white."""
    folder = tmp_path_factory.mktemp("faults")
    save_program(folder / "small.pt2")
    known(folder / "id", 540, seed=11)
    known(folder / "calibration", 80, seed=12)
    strange(folder / "noise", 30, seed=13)
    Image.new("RGB", (12, 12), "white").save(folder / "id" / "3" / "9999.png")
    return folder


@pytest.fixture(scope="module", autouse=True)
def in_the_catalogue() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "CATALOGUE", (*CATALOGUE, *FAULTY.values()))
        yield


def spec_of(stage: Path, *names: str) -> AuditSpec:
    return AuditSpec(
        model=ModelSpec(
            checkpoint=stage / "small.pt2", preprocessing=Preprocessing.parse(PREPROCESS)
        ),
        id=stage / "id",
        calibration=stage / "calibration",
        ood={"noise": stage / "noise"},
        detectors=tuple(DetectorSpec(name=name) for name in names),
        repeats=10,
    )


@pytest.fixture(scope="module")
def without(stage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An audit of the good detectors alone."""
    return run_audit(spec_of(stage, *GOOD), tmp_path_factory.mktemp("without") / "out").path


def scores_of(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "scores.parquet")


def told(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return document


def log_of(folder: Path) -> str:
    return (folder / "log.txt").read_text()


def assert_others_are_those_of(without: Path, folder: Path) -> None:
    right, found = scores_of(without), scores_of(folder)
    pd.testing.assert_frame_equal(found[right.columns], right)
    mine, theirs = told(folder), told(without)
    assert mine["results"] == theirs["results"]
    for key in ("id_accuracy", "id_accuracy_after", "inverted", "surrogate_auroc", "in_sample"):
        assert mine[key] == theirs[key]


# --- an audit -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_audit_ends_without_those_that_fail(
    stage: Path, without: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    document = run_audit(spec_of(stage, *FAULTY, *GOOD), out).document.model_dump(mode="json")
    assert_others_are_those_of(without, out)
    assert document["excused"].keys() == FAULTY.keys()
    for name, reason in document["excused"].items():
        assert REASONS[name] in reason and "\n" not in reason
        if name != "nan":
            assert reason.startswith("failed: ") and reason.endswith(OURS)
    assert capfd.readouterr() == ("", "")
    log = log_of(out)
    assert log.count("Traceback") == len(FAULTY) - 1
    assert 'raise ValueError("a line' in log and "in _fails_on_a_part" in log
    phases = ("scoring id, 0 of 541", "scoring noise", "fitting the detectors", "measuring")
    for phase in ("opening the model", "reading the images", *phases):
        assert log.count(f"Z {phase}") == 1

    print_result(Run.load(out))
    shown = " ".join(capfd.readouterr().out.split())
    said = "left out: bad-fit: failed: RuntimeError: Expected all tensors to be on the same device"
    assert f"{said}, {OURS}" in shown


@pytest.mark.slow
def test_the_second_chunk_is_where_it_fails(stage: Path, tmp_path: Path) -> None:
    """Else the tests here would say less than they promise."""
    done: list[int] = []

    def watch(progress: Progress) -> None:
        if progress.phase == "scoring id" and "bad-chunk" not in log_of(tmp_path / "out"):
            done.append(progress.done)

    run_audit(spec_of(stage, "bad-chunk", "energy"), tmp_path / "out", watch)
    assert CHUNK_IMAGES < done[-1] < 541


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bad-fit", "bad-chunk", "bad-frozen"])
def test_where_all_fail_the_sentence_says_so(name: str, stage: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as found:
        run_audit(spec_of(stage, name), tmp_path / "out")
    sentence = str(found.value)
    assert sentence.startswith("No detector ran to the end, so choose others: ")
    assert f"{name} failed: " in sentence and sentence.endswith(f"{OURS}.")
    assert "Traceback" in log_of(tmp_path / "out")
    assert not (tmp_path / "out" / "metrics.json").exists()


@pytest.mark.slow
def test_a_resumed_run_tells_the_true_reason(stage: Path, without: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    spec = spec_of(stage, "bad-fit", "bad-chunk", *GOOD, "nan")

    def stop(progress: Progress) -> None:
        if progress.phase == "scoring noise":
            raise Cancelled

    with pytest.raises(Cancelled):
        run_audit(spec, out, stop)
    assert not (out / "metrics.json").exists()
    assert log_of(out).count("raise ValueError(") == 1
    document = run_audit(spec, out).document.model_dump(mode="json")
    assert_others_are_those_of(without, out)
    assert document["excused"].keys() == {"bad-fit", "bad-chunk", "nan"}
    assert document["excused"]["bad-chunk"] == f"failed: ValueError: a line, {OURS}"
    assert "not a number" in document["excused"]["nan"]
    assert log_of(out).count("raise ValueError(") == 1, "what was scored is not scored again"


@pytest.mark.slow
def test_an_ensemble_goes_with_its_part_and_no_other(
    stage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = ensemble_of((Energy, MSP))
    monkeypatch.setattr(broken, "name", "broken")
    monkeypatch.setattr(broken, "combine", raising(OSError("no")), raising=False)
    unlearned = ensemble_of((Energy, KNN))
    monkeypatch.setattr(unlearned, "name", "unlearned")
    monkeypatch.setattr(unlearned, "learn", raising(OSError("no")), raising=False)
    monkeypatch.setattr(catalogue, "CATALOGUE", (*catalogue.CATALOGUE, broken, unlearned))
    names = ("energy+bad-chunk", "energy+bad-fit", "energy+knn", "broken", "unlearned")
    document = run_audit(spec_of(stage, *names), tmp_path / "out").document.model_dump(mode="json")
    excused = document["excused"]
    assert excused.keys() == {"bad-chunk", "bad-fit", *names} - {"energy+knn"}
    assert excused["energy+bad-chunk"] == "has a part that was left out, bad-chunk"
    assert excused["energy+bad-fit"] == "needs bad-fit, which cannot run here"
    for name in ("broken", "unlearned"):
        assert excused[name] == f"failed: OSError: no, {OURS}"
    run_audit(spec_of(stage, "energy+knn", "msp"), tmp_path / "without")
    mine, theirs = scores_of(tmp_path / "out"), scores_of(tmp_path / "without")
    pd.testing.assert_frame_equal(mine[theirs.columns], theirs)


# --- what keeps its own way ---------------------------------------------------------------------


class Interrupt(Exception):  # noqa: N818
    """Of whoever calls us."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "error", [Cancelled(), Interrupt(), SpecError("Full."), KeyboardInterrupt()]
)
@pytest.mark.parametrize("phase", ["choosing the short-circuit", "scoring id"])
def test_whoever_stops_an_audit_stops_it(
    error: BaseException, phase: str, stage: Path, tmp_path: Path
) -> None:
    def stop(progress: Progress) -> None:
        if progress.phase == phase and progress.done:
            raise error

    with pytest.raises(type(error)) as found:
        run_audit(spec_of(stage, "gsc-auto"), tmp_path / "out", stop)
    assert found.value is error
    assert "left out" not in log_of(tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fit", "score", "frozen"])
@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        Cancelled(),
        KeyboardInterrupt(),
        SystemExit(1),
    ],
)
def test_no_fault_is_made_of_what_ends_the_work(
    error: BaseException,
    method: str,
    stage: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(FAULTY["bad-after"], method, raising(error), raising=False)
    monkeypatch.delattr(FAULTY["bad-after"], "logits_after")
    with pytest.raises(type(error)) as found:
        run_audit(spec_of(stage, "bad-after", "energy"), tmp_path / "out")
    assert found.value is error


def test_what_memory_says_is_known_from_other_errors() -> None:
    assert of_memory(OSError(12, "Cannot allocate memory"))
    assert not of_memory(OSError(28, "No space left on device"))
    assert not of_memory(ValueError("out of memory"))
    assert not of_memory(RuntimeError("shapes do not fit"))


def test_a_reason_is_one_short_line() -> None:
    assert in_words(KeyError()) == f"failed: KeyError, {OURS}"
    assert in_words(ValueError("  one.\ntwo")) == f"failed: ValueError: one, {OURS}"
    long = in_words(ValueError("x" * 5000))
    assert len(long) < 250 and "…, a fault of GSC Audit" in long


# --- the log ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_who_logs_already_gets_each_line_once(stage: Path, tmp_path: Path) -> None:
    """As a worker does, which also logs the phases."""
    out = tmp_path / "out"
    out.mkdir()
    with logged_to(out / "log.txt") as log:
        log.begin()
        LOGGER.info("the worker begins")
        run_audit(spec_of(stage, "bad-fit", "energy"), out)
        LOGGER.info("the worker ends")
    lines = log_of(out).splitlines()
    assert lines[0].endswith("the worker begins") and lines[-1].endswith("the worker ends")
    assert log_of(out).count("Traceback") == 1 and "scoring id" not in log_of(out)
    assert not is_logged_to(out / "log.txt") and not LOGGER.handlers


def test_a_log_of_somebody_elses_is_left_alone(stage: Path, tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("mine")
    with pytest.raises(SpecError, match=r"holds log\.txt, but no audit"):
        run_audit(spec_of(stage, "energy"), tmp_path)
    assert log_of(tmp_path) == "mine"


def test_what_does_not_begin_leaves_no_log(stage: Path, tmp_path: Path) -> None:
    spec = spec_of(stage, "energy").model_copy(update={"id": stage / "nowhere"})
    with pytest.raises(GscError):
        run_audit(spec, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_log_that_cannot_be_written_stops_nothing(
    stage: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run_audit(spec_of(stage, "energy"), out)
    (out / "log.txt").unlink()
    (out / "log.txt").mkdir()
    document = run_audit(spec_of(stage, "bad-fit", "energy"), out).document.model_dump(mode="json")
    assert document["excused"].keys() == {"bad-fit"}
    assert capfd.readouterr() == ("", "")


_PROGRAM = """
import sys
from gsc_core.detectors import catalogue
from gsc_core.detectors.energy import Energy

class Broken(Energy):
    name = "broken"
    def score(self, batch):
        return [][1]

catalogue.CATALOGUE = (*catalogue.CATALOGUE, Broken)
from gsc_core.cli.app import main
main()
"""


@pytest.mark.slow
def test_the_command_line_tells_it(stage: Path, without: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    sets = ("--id", stage / "id", "--calibration", stage / "calibration", "--ood")
    asked = ("audit", "--model", stage / "small.pt2", "--preprocess", PREPROCESS, *sets)
    asked = (*asked, f"noise={stage / 'noise'}", "--detectors", "broken,energy", "--out", out)
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *map(str, asked)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert "failed: IndexError: list index out of range" in " ".join(done.stdout.split())
    assert "Traceback" not in done.stderr and "Traceback" in log_of(out)
    pd.testing.assert_series_equal(scores_of(out)["energy"], scores_of(without)["energy"])


# --- after an audit, and beside it --------------------------------------------------------------


@pytest.mark.slow
def test_a_reopened_audit_goes_on_without_who_fails_now(
    stage: Path, without: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(without, folder)
    picture = next((stage / "noise").iterdir())
    right = reopen(folder).score(picture)
    assert right.keys() == set(GOOD)

    with monkeypatch.context() as patch:
        patch.setattr(KNN, "fit", raising(RuntimeError("not now")))
        audit = reopen(folder)
    assert audit.score(picture) == {name: right[name] for name in ("energy", "gsc")}
    assert audit.scorer.excused == {"knn": f"failed: RuntimeError: not now, {OURS}"}
    assert "RuntimeError: not now" in log_of(folder)

    audit = reopen(folder)
    with monkeypatch.context() as patch:
        patch.setattr(Energy, "score", raising(RuntimeError("nor now")))
        patch.setattr(GSC, "mask", raising(RuntimeError("never")))
        assert audit.score(picture) == {"knn": right["knn"]}
        with pytest.raises(SpecError, match=r"^gsc failed: RuntimeError: never, a fault of.*\.$"):
            audit.explain(picture)
    assert audit.score(picture) == right, "a failure is that of one image"
    assert "RuntimeError: nor now" in log_of(folder)


@pytest.mark.slow
def test_an_ablation_leaves_out_the_settings_that_fail(
    stage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(stage, "gsc")
    right = ablate(spec, tmp_path / "right", images_per_set=30).rows()
    monkeypatch.setattr(GSC, "_learn_caps", raising(RuntimeError("no caps")))
    found = ablate(spec, tmp_path / "found", images_per_set=30)
    assert found.facts.excused
    for name, reason in found.facts.excused.items():
        assert "truncate" in name and reason == f"failed: RuntimeError: no caps, {OURS}"
    others = right[right["intervention"] != "truncate"].reset_index(drop=True)
    pd.testing.assert_frame_equal(found.rows().reset_index(drop=True), others)
    assert "no caps" in log_of(tmp_path / "found")


@pytest.mark.slow
def test_tuning_says_what_failed_and_where_to_look(
    stage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = spec_of(stage, "gsc-auto")
    spec = TuneSpec(model=audit.model, id=audit.id, calibration=audit.calibration)
    tune(spec, tmp_path / "right.json")
    assert {path.name for path in tmp_path.iterdir()} == {"right.json"}
    monkeypatch.setattr(AutoGSC, "_options", raising(RuntimeError("no options")))
    with pytest.raises(SpecError, match=r"gsc-auto failed: RuntimeError: no options"):
        tune(spec, tmp_path / "out.json")
    assert "RuntimeError: no options" in (tmp_path / "out.json.log").read_text()
