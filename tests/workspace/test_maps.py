"""The finer map: asked for once, made by the worker, kept for the run as it is."""

import sys
from pathlib import Path

import numpy as np
import pytest
from small_run import do
from stored_run import write_features, write_run

from gsc_core.errors import GscError
from gsc_core.extras import MissingExtra
from gsc_core.jobs.database import Kind, Lane
from gsc_core.run.features import features
from gsc_core.run.image_map import stored_map
from gsc_core.run.stored import Run
from gsc_core.workspace import maps


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    folder = write_run(tmp_path / "runs" / "a", n=40, m=20)
    write_features(folder)
    return Run.load(folder)


@pytest.mark.slow
def test_it_is_asked_for_once_and_keeps_neighbours_together(run):
    job = maps.ask(run)
    assert (job.kind, job.lane, job.subject) == (Kind.MAP, Lane.EXPLAIN, "a")
    assert maps.ask(run) is None and maps.asked(run).id == job.id
    do(job)
    made = stored_map(run)
    assert len(made.rows) == len(run.members().codes) and maps.asked(run) is None
    assert maps.ask(run) is None
    again = maps.arranged(run)
    np.testing.assert_allclose(again.places, made.places)  # seeded
    values = features(run, made.rows).astype(np.float64)
    near = np.argsort(-(values @ values.T), axis=1)[:, 1:6]
    apart = np.linalg.norm(made.places[:, None] - made.places[None], axis=2)
    of_near = np.take_along_axis(apart, near, axis=1).mean()
    assert of_near < 0.6 * apart.mean()


def test_what_is_missing_is_one_sentence(run, tmp_path, monkeypatch):
    old = Run.load(write_run(tmp_path / "runs" / "old"))
    with pytest.raises(GscError, match="made before features were kept"):
        maps.ask(old)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setattr("gsc_core.extras.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"scikit-learn.*gsc-audit\[app\]"):
        maps.arranged(run)


def test_a_handful_of_images_needs_no_arranging(tmp_path):
    folder = write_run(tmp_path / "b", n=2, m=1, sets={"noise": 3.0}, detectors={"energy": 1.0})
    write_features(folder, dimensions=1)
    run = Run.load(folder)
    assert maps.arranged(run).places.shape == (len(run.members().codes), 2)
    assert Path(run.path).is_dir()
