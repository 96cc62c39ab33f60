"""Exported detectors against the audit they come from, on real files, and what is refused."""

import json
import shutil
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_audit import MEAN, STD, write_stage
from small_classifier import Small, pictures
from torch import Tensor, nn
from typer.testing import CliRunner

from gsc_core.audit import AuditSpec, DetectorSpec, run_audit
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.cli import app
from gsc_core.deploy.card import DetectorCard, read_card, spelled
from gsc_core.deploy.export import Exported, export_detector
from gsc_core.deploy.loading import load_detector, sha256_of
from gsc_core.deploy.program import ResizeCrop, float32_at_most
from gsc_core.detectors import parse_detectors
from gsc_core.errors import CheckpointError, GscError, SpecError
from gsc_core.evaluation.thresholds import F1, Cost, KeepId, Typed, Youden, parse_rule
from gsc_core.images import decode

DETECTORS = "gsc,gsc-auto,energy,react,knn,mahalanobis,odin,gsc+knn"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished audit, its model and pictures beside it."""
    here = write_stage(tmp_path_factory.mktemp("stage"))
    audited(here, here / "run", DETECTORS)
    return here


def audited(here: Path, out: Path, detectors: str, split: str | None = None) -> None:
    preprocessing = Preprocessing(resize=12, crop=(12, 12), mean=(MEAN,) * 3, std=(STD,) * 3)
    run_audit(
        AuditSpec(
            model=ModelSpec(checkpoint=here / "small.pt2", preprocessing=preprocessing),
            id=here / "id",
            calibration=here / "calibration",
            ood={"noise": here / "noise", "faint": here / "faint"},
            detectors=tuple(DetectorSpec.of(each) for each in parse_detectors(detectors)),
            split=split,
            device="cpu",
            repeats=20,
        ),
        out,
    )


@pytest.fixture(scope="module")
def write(stage: Path) -> Callable[[str], Exported]:
    """Exports a detector of the audit, once."""

    @cache
    def exported(detector: str) -> Exported:
        middle = float(np.median(of_set(stage, detector, "calibration")))
        out = stage / "exports" / detector / "detector.pt2"
        return export_detector(stage / "run", detector, middle, f"typed:{middle!r}", out)

    return exported


def of_set(stage: Path, column: str, name: str) -> np.ndarray:
    table = pq.read_table(stage / "run" / "scores.parquet")
    return table[column].to_numpy()[np.array(table["set"].to_pylist()) == name]


def images_of(stage: Path, name: str) -> list[Tensor]:
    return [decode(stage / name / file) for file in of_set(stage, "file", name)]


@pytest.mark.parametrize("detector", DETECTORS.split(","))
def test_the_file_gives_the_scores_percentiles_and_alarms_of_the_audit(
    detector: str, stage: Path, write: Callable[[str], Exported]
) -> None:
    written = write(detector)
    detect, card = load_detector(written.program)
    known = of_set(stage, detector, "calibration")
    for name in ("id", "noise", "faint"):
        images = torch.stack(images_of(stage, name))
        _, score, percentile, flagged = detect(images)
        expected = of_set(stage, detector, name)
        torch.testing.assert_close(score, torch.tensor(expected), rtol=1e-5, atol=1e-5)
        share = 100 * (known[None] <= score.numpy()[:, None]).mean(axis=1)
        np.testing.assert_allclose(percentile, share, rtol=1e-6)
        assert flagged.tolist() == [float(s) > card.threshold for s in score]
        assert len(set(flagged.tolist())) == 2 or name != "id"  # the threshold is the median
    assert card.calibration_flagged == (known.astype(float) > card.threshold).sum()
    assert card.agreement.against == "stored scores"
    assert card.agreement.decided_otherwise == 0


def test_logits_and_batches_of_any_size(stage: Path, write: Callable[[str], Exported]) -> None:
    detect, card = load_detector(write("gsc-auto").program)
    images = torch.stack(images_of(stage, "id")[:16])
    whole = detect(images)
    assert [tuple(each.shape) for each in whole] == [(16, 4), (16,), (16,), (16,)]
    assert [each.dtype for each in whole] == [torch.float32] * 3 + [torch.bool]
    one_by_one = [torch.cat(each) for each in zip(*map(detect, images.split(1)), strict=True)]
    for a, b in zip(whole, one_by_one, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    assert whole[0].argmax(dim=1).tolist() == of_set(stage, "predicted", "id")[:16].tolist()
    assert not whole[0].requires_grad and card.classes is None


SHAPES = [(8, 8), (12, 12), (12, 60), (60, 12), (13, 9), (31, 31), (301, 470), (640, 41)]


@cache
def resizing(preprocessing: Preprocessing) -> Callable[[Tensor], Tensor]:
    """The step as it is saved, with free sizes."""
    free = {0: torch.export.Dim("b"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")}
    images = torch.zeros(13, 3, 67, 71, dtype=torch.uint8)
    return torch.export.export(
        ResizeCrop(preprocessing), (images,), dynamic_shapes=(free,), strict=False
    ).module(check_guards=False)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("resize", [None, 12, 31])
@pytest.mark.parametrize("crop", [(12, 12), (21, 14)])
def test_any_picture_is_resized_and_cropped_pixel_for_pixel(
    interpolation: str, resize: int | None, crop: tuple[int, int]
) -> None:
    preprocessing = Preprocessing.model_validate(
        {"resize": resize, "crop": crop, "interpolation": interpolation}
    )
    resized = resizing(preprocessing)

    def check(height: int, width: int) -> None:
        image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
        assert torch.equal(resized(image[None])[0], preprocessing.resize_crop(image))

    @settings(max_examples=25, deadline=None, derandomize=True)
    @given(st.integers(8, 150), st.integers(8, 150))
    def at_any_size(height: int, width: int) -> None:
        check(height, width)

    for height, width in SHAPES:
        check(height, width)
    at_any_size()


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
def test_a_rule_is_spelled_as_it_is_read(rule: KeepId) -> None:
    assert parse_rule(spelled(rule)) == rule


@pytest.mark.parametrize("detector", ["gsc", "gsc-auto"])
def test_gradients_through_convolutions_are_exported(
    detector: str, stage: Path, tmp_path: Path
) -> None:
    audited(stage, tmp_path / "deep", detector, split="first")
    table = pq.read_table(tmp_path / "deep" / "scores.parquet")
    scores = table[detector].to_numpy()[-50:]  # of `faint`
    out = tmp_path / "detector.pt2"
    written = export_detector(tmp_path / "deep", detector, 0.0, "typed:0.0", out, onnx=True)
    images = torch.stack(images_of(stage, "faint"))
    found = load_detector(out)[0](images)[1].numpy()
    np.testing.assert_allclose(found, scores, rtol=1e-4, atol=1e-5)
    session = onnxruntime.InferenceSession(written.onnx)
    (again,) = session.run(["score"], {"pixels": images.numpy()})
    np.testing.assert_allclose(again, scores, rtol=1e-4, atol=1e-5)


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
    scores[60:] += 0.5  # those of test pictures
    pq.write_table(table.set_column(at, "energy", [scores]), run / "scores.parquet")
    with pytest.raises(GscError, match="does not give the audit's scores"):
        export_detector(run, "energy", 0.0, "typed:0.0", tmp_path / "out" / "detector.pt2")
    assert not list((tmp_path / "out").iterdir())


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
    with pytest.raises(CheckpointError, match=r"gsc on this network .* take react or energy\.$"):
        export_detector(tmp_path / "run", "gsc", 0.0, "typed:0.0", tmp_path / "detector.pt2")
    assert not list(tmp_path.glob("detector*"))


@pytest.mark.parametrize(
    ("detector", "threshold", "name", "said"),
    [
        ("vim", 0.0, "detector.pt2", "no detector 'vim' to export: choose one of gsc, gsc-auto"),
        ("energy", float("inf"), "detector.pt2", "would flag nothing"),
        ("energy", float("nan"), "detector.pt2", "would flag nothing"),
        ("energy", 0.0, "detector.onnx", "must end in .pt2"),
    ],
)
def test_what_cannot_be_exported_is_said(
    detector: str, threshold: float, name: str, said: str, stage: Path, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=said):
        export_detector(stage / "run", detector, threshold, "typed:0", tmp_path / name)
    assert not list(tmp_path.iterdir())


def copied(written: Exported, to: Path) -> Path:
    for path in (written.program, written.card_path):
        shutil.copy(path, to / path.name)
    return to / written.program.name


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
    with pytest.raises(CheckpointError, match="not a detector"):
        load_detector(program)


def test_a_classifier_is_no_detector(
    stage: Path, write: Callable[[str], Exported], tmp_path: Path
) -> None:
    program = copied(write("energy"), tmp_path)
    shutil.copy(stage / "small.pt2", program)
    card = json.loads((tmp_path / "detector.json").read_text())
    card["program_sha256"] = sha256_of(program)
    (tmp_path / "detector.json").write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match="not a detector"):
        load_detector(program)


@pytest.mark.parametrize("detector", ["gsc", "gsc+knn"])
def test_onnx_gives_the_same_from_pixels(detector: str, stage: Path, tmp_path: Path) -> None:
    middle = float(np.median(of_set(stage, detector, "calibration")))
    out = tmp_path / "detector.pt2"
    written = export_detector(stage / "run", detector, middle, "typed:0", out, onnx=True)
    assert written.onnx is not None and written.card.onnx_sha256 == sha256_of(written.onnx)
    session = onnxruntime.InferenceSession(written.onnx)
    images = torch.stack(images_of(stage, "faint"))
    outputs = load_detector(out)[0](images)
    found = session.run(["logits", "score", "percentile", "flagged"], {"pixels": images.numpy()})
    for ours, theirs in zip(outputs[:2], found, strict=False):
        np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-5)
    assert np.abs(found[2] - outputs[2].numpy()).max() < 2  # one calibration picture more or less
    export_detector(stage / "run", detector, middle, "typed:0", out)
    assert not written.onnx.exists()  # what belonged to the earlier file


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
