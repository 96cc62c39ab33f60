"""The sample that is drawn on the map, and where it lies."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.decomposition import PCA
from stored_run import write_features, write_run

from gsc_core.errors import GscError
from gsc_core.run.features import features, has_features
from gsc_core.run.image_map import (
    ImageMap,
    principal_map,
    sampled,
    shares,
    stored_map,
    write_map,
)
from gsc_core.run.revised import revised
from gsc_core.run.stored import Revision, Run


@pytest.fixture
def run(tmp_path) -> Run:
    folder = write_run(tmp_path / "a")
    write_features(folder)
    return Run.load(folder)


def test_every_set_gives_as_many_and_small_ones_all():
    sizes = {"id": 100_000, "calibration": 300, "a": 90_000, "b": 1_000}
    assert shares(sizes, 5000) == {"calibration": 300, "b": 1000, "id": 1850, "a": 1850}
    assert shares({"id": 5, "a": 7}, 5000) == {"id": 5, "a": 7}
    assert sum(shares({"id": 10, "a": 10, "b": 10}, 7).values()) == 7


def test_the_same_images_are_drawn_each_time_and_they_are_of_all_sets(run):
    rows = sampled(run, 100)
    assert np.array_equal(rows, sampled(Run.load(run.path), 100)) and len(rows) == 100
    of = {name: np.isin(rows, some).sum() for name, some in run.members().by_name.items()}
    assert set(of.values()) == {20}
    assert len(sampled(run)) == len(run.members().codes)


def test_the_first_map_is_the_principal_components(run):
    found = principal_map(run)
    values = features(run, found.rows).astype(np.float64)
    truth = PCA(2).fit_transform(values)
    np.testing.assert_allclose(np.abs(found.places), np.abs(truth), atol=1e-4)


def test_the_finer_map_is_of_this_run_alone(run, tmp_path):
    assert stored_map(run) is None
    made = ImageMap(np.arange(30), np.random.default_rng(0).normal(0, 1, (30, 2)))
    write_map(run, made)
    stored = stored_map(run)
    assert np.array_equal(stored.rows, made.rows)
    np.testing.assert_allclose(stored.places, made.places, rtol=1e-6)
    (run.path / "metrics.json").write_text((run.path / "metrics.json").read_text() + " ")
    assert stored_map(Run.load(run.path)) is None
    (run.path / "map.parquet").write_bytes(b"torn")
    assert stored_map(run) is None


def test_images_that_are_left_out_are_on_no_map(run):
    write_map(run, ImageMap(np.arange(260), np.zeros((260, 2))))
    fewer = revised(run, Revision(without=frozenset({3, 300})))
    assert 3 not in stored_map(fewer).rows and len(stored_map(fewer).rows) == 259
    assert not np.isin([3, 300], principal_map(fewer).rows).any()


def test_a_run_of_before_and_a_damaged_one_are_one_sentence_each(tmp_path):
    folder = write_run(tmp_path / "old")
    run = Run.load(folder)
    assert not has_features(run)
    with pytest.raises(GscError, match="made before features were kept"):
        features(run, np.arange(3))
    for content in (b"", b"PAR1 torn"):
        (folder / "features.parquet").write_bytes(content)
        with pytest.raises(GscError, match="damaged"):
            features(run, np.arange(3))
    pq.write_table(pa.table({"feature": [[1.0]] * 3}), folder / "features.parquet")
    with pytest.raises(GscError, match="damaged"):
        features(run, np.arange(3))
