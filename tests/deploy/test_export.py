"""Exported detectors against the audit they come from, on real files, and what is refused."""

import json
import resource
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

from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.cli.app import app
from gsc_core.deploy.card import DetectorCard, read_card
from gsc_core.deploy.export import Exported, export_detector
from gsc_core.deploy.loading import load_detector, sha256_of
from gsc_core.deploy.program import Alarm, ResizeCrop, float32_at_most
from gsc_core.detectors.catalogue import parse_detectors
from gsc_core.errors import Cancelled, CheckpointError, GscError, SpecError
from gsc_core.evaluation.thresholds import F1, Cost, KeepId, Typed, Youden, format_rule, parse_rule
from gsc_core.images.decode import decode
from gsc_core.progress import Progress

pytestmark = pytest.mark.slow

NEW = ("gsc-energy", "lts", "optfs", "ras", "actsub", "adascale", "rmd", "neco", "cadref")
DETECTORS = f"gsc,gsc-auto,energy,react,knn,mahalanobis,odin,{','.join(NEW)},gsc+knn"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished audit, its model and images beside it."""
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
@pytest.mark.parametrize(
    ("resize", "mode"),
    [
        (None, "center"),
        (12, "center"),
        (31, "center"),
        ((18, 31), "center"),
        ((18, 31), "squash"),
        ((18, 31), "border"),
        (20, "border"),
    ],
)
@pytest.mark.parametrize("crop", [(12, 12), (21, 14)])
def test_any_picture_is_resized_and_cropped_pixel_for_pixel(
    interpolation: str, resize: object, mode: str, crop: tuple[int, int]
) -> None:
    preprocessing = Preprocessing.model_validate(
        {"resize": resize, "crop_mode": mode, "crop": crop, "interpolation": interpolation}
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
def test_a_rule_is_written_as_it_is_read(rule: KeepId) -> None:
    assert parse_rule(format_rule(rule)) == rule


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
    with pytest.raises(CheckpointError, match=r"gsc on this network .* use react or energy\.$"):
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


@pytest.mark.parametrize("detector", ["gsc", *NEW, "mahalanobis", "gsc+knn"])
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
    assert np.abs(found[2] - outputs[2].numpy()).max() < 2  # one calibration image more or less
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


def test_a_score_that_ties_counts_as_calibration_and_passes() -> None:
    """By hand: 0.25 is at most itself and flagged by a threshold below it alone."""

    class Given(nn.Module):
        def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
            return torch.zeros(len(pixels), 2), pixels[:, 0, 0, 0] / 8

    pixels = torch.tensor([0, 1, 2, 3, 4], dtype=torch.uint8).view(-1, 1, 1, 1)
    calibration = torch.tensor([0.125, 0.25, 0.25, 0.375])
    alarm = Alarm(Given(), calibration, 0.25)  # type: ignore[arg-type]
    _, score, percentile, flagged = alarm(pixels)
    assert score.tolist() == [0, 0.125, 0.25, 0.375, 0.5]
    assert percentile.tolist() == [0, 25, 75, 100, 100]
    assert flagged.tolist() == [False, False, False, True, True]


@pytest.mark.parametrize("detector", ["gsc-auto", "gsc+knn", "mahalanobis"])
def test_neither_threads_nor_the_layout_of_pixels_change_what_it_says(
    detector: str, stage: Path, write: Callable[[str], Exported]
) -> None:
    detect, _ = load_detector(write(detector).program)
    images = torch.stack(images_of(stage, "faint"))
    before, threads = detect(images), torch.get_num_threads()
    assert before[1].unique().numel() > 10
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            for each in (images, images.to(memory_format=torch.channels_last)):
                again = detect(each)
                torch.testing.assert_close(again[1], before[1], rtol=1e-5, atol=1e-5)
                assert again[3].tolist() == before[3].tolist()
    finally:
        torch.set_num_threads(threads)


def test_a_picture_in_the_layout_of_the_example_is_resized_pixel_for_pixel() -> None:
    preprocessing = Preprocessing.model_validate({"resize": 31, "crop": (21, 24)})
    lines = torch.randint(0, 256, (1, 97, 143, 3), dtype=torch.uint8)
    image = lines.permute(0, 3, 1, 2)
    right = preprocessing.resize_crop(image[0].contiguous())
    assert torch.equal(resizing(preprocessing)(image)[0], right)


def test_pictures_of_a_zip_are_compared_and_one_detector_left_is_enough(
    stage: Path, tmp_path: Path
) -> None:
    """With 8 calibration images the neighbours are too few: energy alone is scored."""
    for name in ("id", "noise"):
        shutil.make_archive(str(tmp_path / name), "zip", stage / name)
    some = sorted((stage / "calibration").rglob("*.png"))[:8]
    (tmp_path / "calibration").mkdir()
    for i, path in enumerate(some):
        shutil.copy(path, tmp_path / "calibration" / f"{i}.png")
    spec = json.loads((stage / "run" / "spec.json").read_text())
    run_audit(
        AuditSpec.model_validate(
            spec
            | {
                "id": tmp_path / "id.zip",
                "calibration": tmp_path / "calibration",
                "ood": {"a name *of* one's own": tmp_path / "noise.zip"},
                "detectors": [{"name": "knn"}, {"name": "energy"}],
            }
        ),
        tmp_path / "run",
    )
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["excused"].keys() == {"knn"}
    out = tmp_path / "detector.pt2"
    card = export_detector(tmp_path / "run", "energy", 0.0, "typed:0.0", out).card
    assert (card.agreement.against, card.agreement.pictures) == ("stored scores", 48)
    with pytest.raises(SpecError, match="no detector 'knn' to export: choose one of energy"):
        export_detector(tmp_path / "run", "knn", 0.0, "typed:0.0", out)
    told = CliRunner().invoke(app, ["export", str(tmp_path / "run"), "--detector", "knn"])
    assert told.exit_code != 0 and isinstance(told.exception, SpecError)
    assert "at least" in str(told.exception)  # why it was excused


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
    out = copied(write("react"), tmp_path)
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
