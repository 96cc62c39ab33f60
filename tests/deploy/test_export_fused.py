"""The exported `auto-ensemble` of a trained network, eleven detectors deep, against its audit."""

from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch

from gsc_core.audit.reopen import reopen
from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec
from gsc_core.demo import CLASS_NAMES, DEMO_WEIGHTS, render_demo
from gsc_core.demo.render import Sizes
from gsc_core.deploy.export import Exported, export_detector
from gsc_core.deploy.loading import load_detector
from gsc_core.images.decode import decode

pytestmark = pytest.mark.slow

FUSED = "auto-ensemble"
K = len(CLASS_NAMES)


@pytest.fixture(scope="module")
def signs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An audit of the demo's network on rendered signs, in `run`."""
    folder = tmp_path_factory.mktemp("signs")
    images = render_demo(folder / "demo", sizes=Sizes(calibration=5 * K, id=K, ood=8))
    spec = AuditSpec(
        model=ModelSpec(checkpoint=DEMO_WEIGHTS),
        id=images["id"],
        calibration=images["calibration"],
        ood={"textures": images["textures"], "night-fog": images["night-fog"]},
        detectors=(DetectorSpec(name=FUSED),),
        device="cpu",
        repeats=10,
    )
    run_audit(spec, folder / "run")
    return folder


@pytest.fixture(scope="module")
def exported(signs: Path) -> Exported:
    return export_detector(
        signs / "run", FUSED, 1.0, "typed:1", signs / "out" / "fused.pt2", onnx=True
    )


@pytest.fixture(scope="module")
def rows(signs: Path) -> pd.DataFrame:
    return pd.read_parquet(signs / "run" / "scores.parquet")


def of_test_images(signs: Path, rows: pd.DataFrame) -> tuple[list[Path], np.ndarray]:
    """Every test image with its stored score."""
    of_test = rows[rows["role"] != "calibration"]
    spec = AuditSpec.of_run(signs / "run")
    folders = {"id": spec.id, **spec.ood}
    paths = [folders[row["set"]] / row["file"] for _, row in of_test.iterrows()]
    return paths, of_test[FUSED].to_numpy(dtype=np.float64)


def assert_equal(scores: np.ndarray, stored: np.ndarray, rows: pd.DataFrame) -> None:
    """Equal to 1e-5 of how far the calibration images' scores spread."""
    calibration = rows.loc[rows["role"] == "calibration", FUSED].to_numpy(dtype=np.float64)
    low, high = np.quantile(calibration, [0.05, 0.95])
    assert np.abs(scores - stored).max() <= 1e-5 * (high - low)


def test_parts_of_every_family_count(signs: Path) -> None:
    """Else the two below would compare less than they seem to."""
    weighed = reopen(signs / "run").detectors[FUSED]
    assert len(weighed.parts_) >= 6
    assert {"gen", "layers"} <= {part.name for part in weighed.parts_}


def test_the_program_gives_the_scores_of_the_audit(
    signs: Path, exported: Exported, rows: pd.DataFrame
) -> None:
    detect, _ = load_detector(exported.program)
    paths, stored = of_test_images(signs, rows)
    scores = np.array([float(detect(decode(path)[None])[1]) for path in paths])
    assert_equal(scores, stored, rows)


def test_the_onnx_form_gives_the_scores_of_the_audit(
    signs: Path, exported: Exported, rows: pd.DataFrame
) -> None:
    prepared = reopen(signs / "run").classifier.preprocessing.resize_crop
    paths, stored = of_test_images(signs, rows)
    pixels = torch.stack([prepared(decode(path)) for path in paths]).numpy()
    session = onnxruntime.InferenceSession(exported.onnx, providers=["CPUExecutionProvider"])
    (scores,) = session.run(["score"], {"pixels": pixels})
    assert_equal(scores.astype(np.float64), stored, rows)
