"""The files of an exported detector: their card, what is refused, and what is left behind."""

import json
import resource
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from exportable import audited, copied, of_set
from hypothesis import example, given
from hypothesis import strategies as st
from small_classifier import Small, pictures
from torch import nn
from typer.testing import CliRunner

from gsc_core.cli.app import app
from gsc_core.deploy.card import DetectorCard, read_card
from gsc_core.deploy.export import Exported, export_detector
from gsc_core.deploy.loading import load_detector, sha256_of
from gsc_core.deploy.program import float32_at_most
from gsc_core.errors import Cancelled, CheckpointError, GscError, SpecError
from gsc_core.evaluation.thresholds import F1, Cost, KeepId, Typed, Youden, format_rule, parse_rule
from gsc_core.progress import Progress

pytestmark = pytest.mark.slow


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(0.1)
@example(-0.1)
@example(1e300)
@example(-1e300)
@example(16777217.0)
def test_a_threshold_parts_float32_scores_as_it_does_in_float64(threshold: float) -> None:
    found = np.float32(float32_at_most(threshold))
    with np.errstate(over="ignore"):  # beyond the largest number
        near = [found, *(np.nextafter(found, np.float32(end)) for end in (np.inf, -np.inf))]
    for score in near:
        if np.isfinite(score):
            assert (score > found) == (float(score) > threshold)


@pytest.mark.parametrize(
    "rule",
    [
        KeepId(share=0.95),
        Youden(),
        F1(prevalence=0.1),
        Cost(miss=10, alarm=1, prevalence=0.01),
        Typed(value=-1.5e-7),
    ],
)
def test_a_rule_is_written_as_it_is_read(rule: KeepId) -> None:
    assert parse_rule(format_rule(rule)) == rule


def test_the_card_tells_what_was_exported(stage: Path, write: Callable[[str], Exported]) -> None:
    written = write("react")
    card = read_card(written.card_path)
    assert card == written.card
    assert (card.detector, card.title, card.run) == ("react", "ReAct", "run")
    assert card.program_sha256 == sha256_of(written.program)
    assert card.model_sha256 == sha256_of(stage / "small.pt2")
    assert (card.calibration, card.preprocessing.crop) == (60, (12, 12))
    content = written.program.read_bytes()
    assert str(stage).encode() not in content and b"program.py" not in content  # nobody's paths


def test_the_card_tells_who_learned_from_the_calibration_pictures(
    stage: Path, tmp_path: Path, write: Callable[[str], Exported]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(stage / "run", run)
    document = json.loads((run / "metrics.json").read_text())
    assert document["in_sample"] == [] and not write("react").card.in_sample
    (run / "metrics.json").write_text(json.dumps(document | {"in_sample": ["energy"]}))
    assert export_detector(run, "energy", 0.0, "typed:0.0", tmp_path / "a.pt2").card.in_sample


def test_gone_pictures_are_stood_in_for_and_this_is_said(stage: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(stage / "run", run)
    spec = json.loads((run / "spec.json").read_text())
    spec |= {"id": str(tmp_path / "gone"), "ood": dict.fromkeys(spec["ood"], str(tmp_path))}
    (run / "spec.json").write_text(json.dumps(spec))
    card = export_detector(run, "energy", 0.0, "typed:0.0", tmp_path / "detector.pt2").card
    assert card.agreement.against == "reopened audit"
    assert card.agreement.largest_difference <= card.agreement.tolerance


def test_a_program_that_disagrees_with_the_audit_is_not_kept(stage: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(stage / "run", run)
    table = pq.read_table(run / "scores.parquet")
    at = table.column_names.index("energy")
    scores = table["energy"].to_numpy().copy()
    scores[60:] += 0.5  # those of test images
    pq.write_table(table.set_column(at, "energy", [scores]), run / "scores.parquet")
    with pytest.raises(GscError, match="does not give the audit's scores"):
        export_detector(run, "energy", 0.0, "typed:0.0", tmp_path / "out" / "detector.pt2")
    assert not (tmp_path / "out").exists()


class Hard(Small):
    """A network whose head has a gradient that torch cannot take a gradient of."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(*self.block[:-1], nn.Hardsigmoid())


def test_a_detector_that_is_no_graph_names_one_that_is(stage: Path, tmp_path: Path) -> None:
    shutil.copytree(stage, tmp_path / "hard", ignore=shutil.ignore_patterns("run", "exports"))
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(Hard().eval(), (pictures(4, 0)[0],), dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "hard" / "small.pt2")
    audited(tmp_path / "hard", tmp_path / "run", "gsc,react,energy", split="first")
    with pytest.raises(
        CheckpointError,
        match=r"gsc on this network .* use react or energy(, or update torch .*)?\.$",
    ):
        export_detector(tmp_path / "run", "gsc", 0.0, "typed:0.0", tmp_path / "detector.pt2")
    assert not list(tmp_path.glob("detector*"))


@pytest.mark.parametrize(
    ("detector", "threshold", "name", "said"),
    [
        ("vim", 0.0, "detector.pt2", "no detector 'vim' to export: choose one of gsc, gsc-auto"),
        ("energy", float("inf"), "detector.pt2", "flags all images or none"),
        ("energy", float("nan"), "detector.pt2", "flags all images or none"),
        ("energy", 0.0, "detector.onnx", "must end in .pt2"),
    ],
)
def test_what_cannot_be_exported_is_said(
    detector: str, threshold: float, name: str, said: str, stage: Path, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=said):
        export_detector(stage / "run", detector, threshold, "typed:0", tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_program_and_a_card_that_do_not_belong_together_are_refused(
    write: Callable[[str], Exported], tmp_path: Path
) -> None:
    program = copied(write("energy"), tmp_path)
    shutil.copy(write("react").program, program)
    with pytest.raises(CheckpointError, match="do not belong together"):
        load_detector(program)
    (tmp_path / "detector.json").unlink()
    with pytest.raises(SpecError, match="copy both files"):
        load_detector(program)


@pytest.mark.parametrize(
    "call",
    ["torch.ops.aten.from_file.default", "torch.ops.aten.kthvalue.default", "os.system"],
)
def test_a_hostile_program_with_a_fitting_card_is_refused(
    call: str, write: Callable[[str], Exported], tmp_path: Path
) -> None:
    program = copied(write("energy"), tmp_path)
    with zipfile.ZipFile(program) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    document = json.loads(members["model/models/model.json"])
    document["graph_module"]["graph"]["nodes"][0]["target"] = call
    members["model/models/model.json"] = json.dumps(document).encode()
    with zipfile.ZipFile(program, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    card = json.loads((tmp_path / "detector.json").read_text())
    card["program_sha256"] = sha256_of(program)
    (tmp_path / "detector.json").write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match="not written by `gsc export`"):
        load_detector(program)


def test_a_classifier_is_no_detector(
    stage: Path, write: Callable[[str], Exported], tmp_path: Path
) -> None:
    program = copied(write("energy"), tmp_path)
    shutil.copy(stage / "small.pt2", program)
    card = json.loads((tmp_path / "detector.json").read_text())
    card["program_sha256"] = sha256_of(program)
    (tmp_path / "detector.json").write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match="not written by `gsc export`"):
        load_detector(program)


def test_the_command_exports_what_was_asked_for(stage: Path, tmp_path: Path) -> None:
    out = tmp_path / "alarm.pt2"
    arguments = ["export", str(stage / "run"), "--detector", "energy", "--out", str(out)]
    done = CliRunner().invoke(app, [*arguments, "--threshold", "keep-id:0.9"])
    assert done.exit_code == 0, done.output
    assert 'torch.export.load("alarm.pt2")' in done.output
    card = read_card(out.with_suffix(".json"))
    known = np.sort(of_set(stage, "energy", "calibration").astype(float))
    assert card.threshold == known[int(np.ceil(61 * 0.9)) - 1]
    assert parse_rule(card.rule) == KeepId(share=0.9)
    asked = CliRunner().invoke(app, [*arguments, "--json"])
    assert DetectorCard.model_validate_json(asked.stdout).rule == "keep-id:share=0.95"


def test_a_model_that_moved_is_said(stage: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(stage / "run", run)
    spec = json.loads((run / "spec.json").read_text())
    spec["model"]["checkpoint"] = str(tmp_path / "gone.pt2")
    (run / "spec.json").write_text(json.dumps(spec))
    with pytest.raises(GscError, match=r"gone\.pt2"):
        export_detector(run, "energy", 0.0, "typed:0.0", tmp_path / "out" / "detector.pt2")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("suffix", [".pt2", ".json", ".onnx"])
def test_a_file_that_is_no_earlier_export_is_never_lost(
    suffix: str, stage: Path, tmp_path: Path
) -> None:
    """A classifier, say, that lies where the detector is asked for."""
    (tmp_path / f"model{suffix}").write_bytes(b"{}")
    with pytest.raises(SpecError, match=rf"model\{suffix} already exists and is not an exported"):
        export_detector(stage / "run", "energy", 0.0, "typed:0.0", tmp_path / "model.pt2")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"{}"]


def test_an_export_takes_the_place_of_an_earlier_one_and_of_what_a_killed_one_left(
    stage: Path, write: Callable[[str], Exported], tmp_path: Path
) -> None:
    earlier = write("mahalanobis")
    out = copied(earlier, tmp_path)
    assert earlier.onnx is not None
    shutil.copy(earlier.onnx, tmp_path)
    for left in (".part-detector.pt2-abc", ".part-other.pt2-abc"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "detector.pt2").write_bytes(b"half")
    export_detector(stage / "run", "energy", 0.0, "typed:0.0", out)
    assert load_detector(out)[1].detector == "energy"
    there = {path.name for path in tmp_path.iterdir()}
    assert there == {"detector.pt2", "detector.json", ".part-other.pt2-abc"}, "another's stays"


def test_it_can_be_stopped_at_each_step_and_leaves_nothing(stage: Path, tmp_path: Path) -> None:
    def export(on_progress: Callable[[Progress], None]) -> None:
        export_detector(
            stage / "run", "energy", 0.0, "typed:0.0", tmp_path / "detector.pt2", on_progress
        )

    def stop_at(phase: str, done: int) -> Callable[[Progress], None]:
        def stop(at: Progress) -> None:
            if (at.phase, at.done) == (phase, done):
                raise Cancelled

        return stop

    steps = ["fitting the detectors", "writing the detector as one program"]
    for phase, done in [*((step, 0) for step in steps), ("comparing it with the audit", 20)]:
        with pytest.raises(Cancelled):
            export(stop_at(phase, done))
        assert not list(tmp_path.iterdir())
    told: list[Progress] = []
    export(told.append)
    assert [each.done for each in told if each.total > 1] == list(range(48))


def test_a_disk_that_takes_no_more_is_said_and_nothing_is_left(stage: Path, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(SpecError, match=r"^The disk is full, so .*detector\.pt2"):
            export_detector(stage / "run", "energy", 0.0, "typed:0.0", tmp_path / "detector.pt2")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())
