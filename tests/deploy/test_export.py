"""Exported detectors against the audit they come from, on real files."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
import torch
from exportable import AS_ONNX, DETECTORS, Opened, audited, exported_here, images_of, of_set
from places import ROOT
from torch import Tensor, nn
from typer.testing import CliRunner

from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec
from gsc_core.cli.app import app
from gsc_core.deploy.card import EXAMPLE
from gsc_core.deploy.export import Exported, export_detector
from gsc_core.deploy.loading import load_detector, sha256_of
from gsc_core.deploy.program import Alarm
from gsc_core.errors import SpecError

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("detector", DETECTORS.split(","))
def test_the_file_gives_the_scores_percentiles_and_alarms_of_the_audit(
    detector: str, stage: Path, opened: Opened
) -> None:
    detect, card = opened(detector)
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


def test_logits_and_batches_of_any_size(stage: Path, opened: Opened) -> None:
    detect, card = opened("gsc-auto")
    images = torch.stack(images_of(stage, "id")[:16])
    whole = detect(images)
    assert [tuple(each.shape) for each in whole] == [(16, 4), (16,), (16,), (16,)]
    assert [each.dtype for each in whole] == [torch.float32] * 3 + [torch.bool]
    one_by_one = [torch.cat(each) for each in zip(*map(detect, images.split(1)), strict=True)]
    for a, b in zip(whole, one_by_one, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    assert whole[0].argmax(dim=1).tolist() == of_set(stage, "predicted", "id")[:16].tolist()
    assert not whole[0].requires_grad and card.classes is None


@pytest.fixture(scope="module")
def deep(stage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An audit whose network is cut before convolutions."""
    run = tmp_path_factory.mktemp("deep") / "run"
    audited(stage, run, "gsc,gsc-auto", split="first")
    return run


@pytest.mark.parametrize("detector", ["gsc", "gsc-auto"])
def test_gradients_through_convolutions_are_exported(
    detector: str, stage: Path, deep: Path, tmp_path: Path
) -> None:
    table = pq.read_table(deep / "scores.parquet")
    scores = table[detector].to_numpy()[-50:]  # of `faint`
    out = tmp_path / "detector.pt2"
    written = exported_here(deep, detector, 0.0, "typed:0.0", out, onnx=True)
    images = torch.stack(images_of(stage, "faint"))
    found = load_detector(out)[0](images)[1].numpy()
    np.testing.assert_allclose(found, scores, rtol=1e-4, atol=1e-5)
    session = onnxruntime.InferenceSession(written.onnx)
    (again,) = session.run(["score"], {"pixels": images.numpy()})
    np.testing.assert_allclose(again, scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("detector", AS_ONNX)
def test_onnx_gives_the_same_from_pixels(
    detector: str, stage: Path, write: Callable[[str], Exported], opened: Opened
) -> None:
    written = write(detector)
    assert written.onnx is not None and written.card.onnx_sha256 == sha256_of(written.onnx)
    session = onnxruntime.InferenceSession(written.onnx)
    images = torch.stack(images_of(stage, "faint"))
    outputs = opened(detector)[0](images)
    found = session.run(["logits", "score", "percentile", "flagged"], {"pixels": images.numpy()})
    for ours, theirs in zip(outputs[:2], found, strict=False):
        np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-5)
    assert np.abs(found[2] - outputs[2].numpy()).max() < 2  # one calibration image more or less


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
    detector: str, stage: Path, opened: Opened
) -> None:
    detect, _ = opened(detector)
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


# --- in an interpreter that has torch, and nothing that this project adds ---

NAMES = ("gsc", "gsc-auto", "energy", "react", "knn", "mahalanobis")

# The standard library, torch, and what pip installs with it; not even numpy.
ALONE = """
import json, sys
from importlib.machinery import PathFinder

ALLOWED = set(sys.stdlib_module_names) | {
    "torch", "torchgen", "functorch", "sympy", "mpmath", "networkx", "jinja2", "markupsafe",
    "fsspec", "filelock", "typing_extensions",
}

class Only:
    # finds what a fresh environment would have; anything else is not there
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top in ALLOWED or top.startswith("_sysconfigdata"):
            return PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [each for each in sys.meta_path if each is not PathFinder] + [Only()]
import torch

found = {}
for name, file, images in json.load(sys.stdin):
    detector = torch.export.load(file).module()
    found[name] = [
        [float(each) for each in detector(torch.tensor(image, dtype=torch.uint8)[None])[1:]]
        for image in images
    ]
tops = {name.split(".")[0] for name in sys.modules}
json.dump({"found": found, "loaded": sorted(tops)}, sys.stdout)
"""


def test_torch_alone_gives_the_scores_of_the_audit(
    stage: Path, write: Callable[[str], Exported], tmp_path: Path
) -> None:
    some = slice(0, 24)
    pixels = [image.tolist() for image in images_of(stage, "id")[some]]
    orders = [[name, str(write(name).program), pixels] for name in NAMES]
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", ALONE],
        input=json.dumps(orders),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    foreign = {"gsc_core", "torchvision", "pytorch_ood", "timm", "sklearn", "scipy", "numpy"}
    assert not foreign & set(answer["loaded"])
    for name, found in answer["found"].items():
        scores, percentiles, flagged = np.array(found).T
        np.testing.assert_allclose(scores, of_set(stage, name, "id")[some], rtol=1e-5, atol=1e-5)
        assert set(flagged) == {0.0, 1.0}, "the threshold is the calibration images' median"
        assert ((percentiles >= 0) & (percentiles <= 100)).all()


def test_the_example_runs_as_it_is_printed(write: Callable[[str], Exported]) -> None:
    assert len(EXAMPLE.splitlines()) <= 12
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", EXAMPLE],
        capture_output=True,
        text=True,
        cwd=write("gsc").program.parent,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "of 100 familiar images" in done.stdout


def test_the_documentation_shows_the_same_example() -> None:
    assert EXAMPLE in (ROOT / "docs" / "deploy.md").read_text()
