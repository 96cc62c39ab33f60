"""A network for grey images from the audit to the watch."""

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from exportable import exported_here
from PIL import Image
from small_audit import known, strange
from torch import Tensor, nn

from gsc_core.audit.reopen import reopen
from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.deploy.loading import load_detector
from gsc_core.deploy.watch import look
from gsc_core.explanation.heat_image import crop_jpeg
from gsc_core.explanation.one_image import explain
from gsc_core.images.decode import decode
from gsc_core.workspace.model_check import examine

pytestmark = pytest.mark.slow

DETECTORS = ("gsc", "gsc-auto", "energy", "knn", "odin", "gradnorm", "gsc+knn")


class Corners(nn.Module):
    """Which of four corners of a grey image is brightest."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.block = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(6))
        self.mix = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU())
        self.fc = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.mix(self.block(x)).flatten(1))


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grey")
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(
        Corners().eval(), (torch.zeros(2, 1, 12, 12),), dynamic_shapes=shapes
    )
    torch.export.save(program, folder / "grey.pt2")
    known(folder / "id", 80, seed=1)
    strange(folder / "noise", 30, seed=2)
    spec = AuditSpec(
        model=model(folder),
        id=folder / "id",
        ood={"noise": folder / "noise"},
        detectors=tuple(DetectorSpec(name=name) for name in DETECTORS),
        device="cpu",
        repeats=20,
    )
    run_audit(spec, folder / "run")
    return folder


def model(folder: Path) -> ModelSpec:
    preprocessing = Preprocessing.parse("resize=12,crop=12,mean=0.3,std=0.2")
    return ModelSpec(checkpoint=folder / "grey.pt2", preprocessing=preprocessing)


def test_the_audit_reads_images_as_pillow_makes_them_grey(here: Path) -> None:
    opened = reopen(here / "run")
    assert opened.classifier.preprocessing.mean == (0.3,)
    assert not opened.scorer.excused
    file = next((here / "id" / "2").iterdir())
    levels = np.asarray(Image.open(file).convert("L"), dtype=np.float32) / 255
    expected = Corners().eval()(torch.from_numpy((levels - 0.3) / 0.2)[None, None])
    torch.testing.assert_close(opened.look(file).batch.logits, expected, rtol=1e-4, atol=1e-4)


def test_one_image_is_explained_and_shown(here: Path) -> None:
    opened = reopen(here / "run")
    seen = opened.look(next((here / "id" / "2").iterdir()))
    explained = explain(seen.batch, opened.detectors["gsc"])
    assert explained.channel_count == 8
    shown = Image.open(io.BytesIO(crop_jpeg(seen.pixels)))
    assert (shown.mode, shown.size) == ("RGB", (12, 12))


@pytest.mark.parametrize("detector", ["gsc", "odin", "gsc+knn"])
def test_the_export_and_its_watch_take_colour_files(
    here: Path, detector: str, tmp_path: Path
) -> None:
    table = pq.read_table(here / "run" / "scores.parquet").to_pandas()
    middle = float(table.loc[table["set"] == "calibration", detector].quantile(0.9))
    out = tmp_path / "detector.pt2"
    exported = exported_here(
        here / "run", detector, middle, f"typed:{middle!r}", out, onnx=detector == "gsc"
    )
    detect, card = load_detector(exported.program)
    opened = reopen(here / "run")
    for file in list((here / "noise").iterdir())[:5]:
        score = opened.score(file)[detector]
        assert float(detect(decode(file)[None])[1]) == pytest.approx(score, abs=1e-4)
    assert card.agreement.decided_otherwise == 0
    assert look(detect, card, here / "noise", tmp_path / "watch.json").seen == 30


def test_the_app_measures_and_names(here: Path) -> None:
    facts = examine(model(here), [next((here / "id" / "1").iterdir())])
    assert (facts.num_classes, len(facts.predictions)) == (4, 1)
    assert facts.preprocessing.shape == (1, 12, 12)
