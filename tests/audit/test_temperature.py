"""The temperature of a whole audit, against scipy on the original module."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from small_audit import model, read_with_pillow, write_stage
from small_run import spec_of

from gsc_core.audit.run import run_audit
from gsc_core.evaluation.calibration import confidence_calibration
from gsc_core.run.confidence import trust_of


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some images lie in a wrong folder: were all right, no temperature would fit best."""
    folder = write_stage(tmp_path_factory.mktemp("stage"))
    for name in ("id", "calibration"):
        files = sorted((folder / name / "0").iterdir())
        for file in files[: max(2, len(files) // 5)]:
            file.rename(folder / name / "1" / f"mislaid-{file.name}")
    return folder


def logits_of(stage: Path, rows: pd.DataFrame, name: str) -> np.ndarray:
    pixels = [read_with_pillow(stage / name / file) for file in rows["file"]]
    with torch.no_grad():
        return model()(torch.cat(pixels)).double().numpy()


@pytest.mark.slow
def test_it_is_fitted_on_calibration_images_and_judged_on_test_images(stage, tmp_path):
    run = run_audit(spec_of(stage, names=("energy",)), tmp_path / "run")
    table = pd.read_parquet(tmp_path / "run" / "scores.parquet")
    of = {role: table[table["role"] == role] for role in ("calibration", "id", "ood")}
    z, y = logits_of(stage, of["calibration"], "calibration"), of["calibration"]["label"].to_numpy()

    def loss(temperature: float) -> float:
        return -log_softmax(z / temperature, axis=1)[np.arange(len(y)), y].mean()

    best = minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-6})
    found = run.document.temperature
    assert found.value == pytest.approx(best.x, rel=1e-3)
    assert (found.fitted_on, found.tested) == (len(y), len(of["id"]))

    z, y = logits_of(stage, of["id"], "id"), of["id"]["label"].to_numpy()
    at = np.arange(len(y)), y
    before, after = (-log_softmax(z / t, axis=1)[at] for t in (1.0, found.value))
    assert found.log_loss_before == pytest.approx(before.mean(), rel=1e-3)
    assert found.log_loss_after == pytest.approx(after.mean(), rel=1e-3)
    assert found.gain.value == pytest.approx((before - after).mean(), rel=1e-2, abs=1e-4)
    assert found.gain.low < found.gain.value < found.gain.high
    sure = softmax(z / found.value, axis=1).max(axis=1)
    assert of["id"]["tempered_confidence"].to_numpy() == pytest.approx(sure, abs=1e-4)
    assert of["ood"]["tempered_confidence"].isna().all()
    correct = z.argmax(axis=1) == y
    wanted = confidence_calibration(correct, sure).error
    assert found.error_after.value == pytest.approx(wanted.value, abs=1e-3)
    assert trust_of(run).temperature == found
    stored = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert stored["temperature"]["value"] == found.value


@pytest.mark.slow
def test_without_labels_there_is_none(stage, tmp_path):
    flat = tmp_path / "flat"
    for name in ("id", "calibration"):
        (flat / name).mkdir(parents=True)
        for file in (stage / name).rglob("*.png"):
            (flat / name / f"{file.parent.name}-{file.name}").write_bytes(file.read_bytes())
    spec = spec_of(stage, names=("energy",)).model_copy(
        update={"id": flat / "id", "calibration": flat / "calibration"}
    )
    run = run_audit(spec, tmp_path / "run")
    assert run.document.temperature is None
    assert trust_of(run) is None
    assert "log_loss" not in pd.read_parquet(tmp_path / "run" / "scores.parquet")
