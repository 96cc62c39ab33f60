"""A run's rows as images: their order, their files, and nothing outside their folders."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_run import SETS, write_run

from gsc_core.errors import GscError
from gsc_core.evaluation.thresholds import keep_id
from gsc_core.run.disagreement import MOST, disagreements
from gsc_core.run.gallery import (
    FIRST,
    Wanted,
    class_name,
    image_path,
    in_order,
    ordered,
    run_images,
)
from gsc_core.run.placement import Placement
from gsc_core.run.stored import Run
from pages.parts.images.explanation import told_apart


def frame(run: Run) -> pd.DataFrame:
    return pd.read_parquet(run.path / "scores.parquet")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return Run.load(write_run(tmp_path_factory.mktemp("kept") / "demo"))


@pytest.fixture
def placed(tmp_path) -> Run:
    """A run whose sets came from a folder, a ZIP and a single image."""
    for folder in ("id/stop", "run/unpacked/" + "böse/../x".encode().hex(), "run/unpacked/id"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "id/stop/a.png").write_bytes(b"a")
    (tmp_path / "run/unpacked" / "böse/../x".encode().hex() / "b.png").write_bytes(b"b")
    (tmp_path / "one.png").write_bytes(b"c")
    (tmp_path / "x.zip").write_bytes(b"zip")
    (tmp_path / "secret.png").write_bytes(b"s")
    shutil.rmtree(tmp_path / "run/unpacked/id")
    ood = {"böse/../x": str(tmp_path / "x.zip"), "single": str(tmp_path / "one.png")}
    roots = {"id": str(tmp_path / "id"), "calibration": 0.5, "ood": ood}
    sets = {"böse/../x": 1.0, "single": 2.0}
    write_run(tmp_path / "stored", sets=sets, n=20, m=20, settings=roots)
    for file in (tmp_path / "stored").iterdir():
        file.rename(tmp_path / "run" / file.name)
    return Run.load(tmp_path / "run")


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    chosen=st.none() | st.lists(st.sampled_from(["id", "calibration", *SETS]), unique=True),
    predicted=st.none() | st.integers(0, 12),
    threshold=st.none() | st.floats(-3, 6),
    side=st.none() | st.sampled_from(["inside", "outside"]),
    descending=st.booleans(),
)
def test_the_order_is_that_of_a_plain_sort(run, chosen, predicted, threshold, side, descending):
    wanted = Wanted(
        sets=None if chosen is None else tuple(chosen),
        predicted=predicted,
        threshold=threshold,
        side=side,
        descending=descending,
    )
    rows = ordered(run, "energy", wanted)
    lazily = in_order(run, "energy", wanted)
    assert lazily.whole is rows and len(lazily) == len(rows)
    for part in (slice(0, 5), slice(FIRST - 4, FIRST + 4), slice(FIRST + 4, None)):
        assert lazily[part].tolist() == rows[part].tolist()
    table = frame(run)
    want = (
        table[table["role"] != "calibration"]
        if chosen is None
        else table[table["set"].isin(chosen)]
    )
    if predicted is not None:
        want = want[want["predicted"] == predicted]
    if threshold is not None and side is not None:
        inside = want["energy"].astype(float) <= threshold
        want = want[inside if side == "inside" else ~inside]
    want = want.sort_values("energy", ascending=not descending, kind="stable")
    assert list(rows) == list(want.index)


def test_a_threshold_between_two_float32_numbers_is_not_rounded(run):
    score = float(run.column("energy")[60])
    below = np.nextafter(score, -np.inf)
    assert 60 in ordered(run, "energy", Wanted(("id",), threshold=score, side="inside"))
    assert 60 in ordered(run, "energy", Wanted(("id",), threshold=below, side="outside"))


def test_a_picture_is_its_row(run):
    table = frame(run)
    rows = [0, 55, 300, 55]
    for picture, row in zip(run_images(run, rows), rows, strict=True):
        stored = table.iloc[row]
        assert (picture.row, picture.set, picture.file) == (row, stored["set"], stored["file"])
        assert picture.role == stored["role"]
        assert picture.label == (None if stored["label"] < 0 else stored["label"])
        assert picture.predicted == stored["predicted"]
        assert picture.confidence == pytest.approx(stored["confidence"])
    assert run_images(run, []) == ()


@pytest.mark.parametrize("row", [-1, 10**9])
def test_a_row_that_is_not_there_is_one_sentence(run, row):
    with pytest.raises(GscError, match="choose one from the gallery"):
        run_images(run, [row])


def test_what_is_not_there_is_one_sentence(run):
    with pytest.raises(GscError, match="no set gone"):
        ordered(run, "energy", Wanted(("gone",)))
    with pytest.raises(GscError, match="damaged"):
        ordered(run, "set")
    with pytest.raises(GscError, match="damaged"):
        ordered(run, "never-ran")


def test_calibration_scores_are_those_of_the_calibration_images(run):
    table = frame(run)
    want = table.loc[table["role"] == "calibration", "gsc"]
    assert list(run.calibration_scores("gsc")) == list(want.astype(float))


def test_pictures_lie_where_their_set_was_read(placed, tmp_path):
    assert image_path(placed, "id", "id", "stop/a.png") == tmp_path / "id/stop/a.png"
    assert image_path(placed, "calibration", "calibration", "stop/a.png").is_file()
    assert image_path(placed, "ood", "böse/../x", "b.png").read_bytes() == b"b"
    assert image_path(placed, "ood", "single", "one.png").read_bytes() == b"c"
    with pytest.raises(GscError, match=r"gone\.png is no longer"):
        image_path(placed, "id", "id", "gone.png")
    with pytest.raises(GscError, match="no longer"):
        image_path(placed, "ood", "never", "gone.png")


@pytest.mark.parametrize("file", ["../secret.png", "stop/../../secret.png", "/etc/passwd", "a\0b"])
def test_no_name_leads_out_of_the_folder(placed, file):
    with pytest.raises(GscError, match="outside its folders"):
        image_path(placed, "id", "id", file)


def test_a_linked_folder_is_not_followed_out_and_a_linked_picture_is_a_picture(placed, tmp_path):
    (tmp_path / "else").mkdir()
    (tmp_path / "else/a.png").write_bytes(b"e")
    (tmp_path / "id/out").symlink_to(tmp_path / "else")
    (tmp_path / "id/link.png").symlink_to(tmp_path / "else/a.png")
    with pytest.raises(GscError, match="outside its folders"):
        image_path(placed, "id", "id", "out/a.png")
    assert image_path(placed, "id", "id", "link.png").read_bytes() == b"e"


def test_classes_are_named_where_names_are_known(run, tmp_path):
    assert class_name(run, 3) == "class 3"
    assert class_name(run, None) == class_name(run, -1) == "unknown"
    named = write_run(tmp_path / "n", settings={"class_names": ["stop", "yield"]})
    assert class_name(Run.load(named), 1) == "yield"
    assert class_name(Run.load(named), 2) == "class 2"


@pytest.mark.parametrize(
    "text", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())]
)
def test_text_may_be_stored_in_any_width_and_in_row_groups(run, tmp_path, text):
    """Other writers differ, and each row group has a dictionary of its own."""
    table = pq.read_table(run.path / "scores.parquet")
    for name in ("set", "role"):
        at = table.column_names.index(name)
        table = table.set_column(at, name, table[name].cast(pa.string()).cast(text))
    shutil.copytree(run.path, tmp_path / "other")
    pq.write_table(table, tmp_path / "other/scores.parquet", row_group_size=37)
    again = Run.load(tmp_path / "other")
    for name, scores in run.scores("gsc").items():
        assert np.array_equal(scores, again.scores("gsc")[name])
    assert run_images(again, [300])[0].set == run_images(run, [300])[0].set


def test_a_score_that_is_not_finite_or_a_set_without_name_is_damage(run, tmp_path):
    for column, value in (("gsc", np.nan), ("set", None)):
        table = frame(run)
        table.loc[100, column] = value
        folder = tmp_path / column
        shutil.copytree(run.path, folder)
        table.to_parquet(folder / "scores.parquet", index=False)
        with pytest.raises(GscError, match="damaged"):
            Run.load(folder).scores("gsc")


def test_a_run_without_calibration_scores_says_so(run, tmp_path):
    table = frame(run)
    shutil.copytree(run.path, tmp_path / "r")
    table[table["role"] != "calibration"].to_parquet(tmp_path / "r/scores.parquet", index=False)
    stored = Run.load(tmp_path / "r")
    assert len(stored.scores("gsc")["id"]) == 200
    with pytest.raises(GscError, match="damaged"):
        stored.calibration_scores("gsc")


def test_disagreements_are_counted_as_by_hand(run):
    table = frame(run)
    calibration = table[table["role"] == "calibration"]
    flagged = {
        name: table[name] > keep_id(calibration[name].astype(float), 0.95)
        for name in ("gsc", "energy")
    }
    kinds = {True: table["role"] == "ood", False: table["role"] == "id"}
    found = disagreements(run, "gsc", "energy")
    assert [(g.ood, g.flagged_by) for g in found] == [
        (True, "gsc"),
        (True, "energy"),
        (False, "gsc"),
        (False, "energy"),
    ]
    for group in found:
        only = flagged[group.flagged_by] & ~flagged[group.accepted_by] & kinds[group.ood]
        assert group.count == only.sum()
        assert group.of == kinds[group.ood].sum()
        assert set(group.rows) <= set(np.flatnonzero(only))
        assert len(group.rows) == min(group.count, MOST)
    assert sum(group.count for group in found) > 0


def test_the_most_telling_come_first(run):
    table = frame(run)
    calibration = table[table["role"] == "calibration"]

    def below(name: str, row: int) -> float:
        return float((calibration[name] < table.loc[row, name]).mean())

    for group in disagreements(run, "gsc", "gsc-drop"):
        gaps = [below(group.flagged_by, row) - below(group.accepted_by, row) for row in group.rows]
        assert gaps == sorted(gaps, reverse=True)


def test_too_small_a_calibration_flags_nothing(tmp_path):
    folder = write_run(tmp_path / "r")
    table = pd.read_parquet(folder / "scores.parquet")
    calibration = table[table["role"] == "calibration"].head(10)
    small = pd.concat([calibration, table[table["role"] != "calibration"]])
    small.to_parquet(folder / "scores.parquet", index=False)
    assert not any(group.count for group in disagreements(Run.load(folder), "gsc", "energy"))


def test_the_demo_settings_name_every_role(tmp_path):
    """The shape of `settings` that an audit writes, as the gallery reads it."""
    roots = {"id": str(tmp_path / "i"), "calibration": str(tmp_path / "c"), "ood": {}}
    folder = write_run(tmp_path / "r", settings=json.loads(json.dumps(roots)))
    stored = Run.load(folder)
    assert run_images(stored, [0])[0].path.is_relative_to(tmp_path / "c")
    assert run_images(stored, [60])[0].path.is_relative_to(tmp_path / "i")
    assert isinstance(run_images(stored, [300])[0].path, Path)


@pytest.mark.parametrize(
    ("percentile", "said"),
    [(0, "0 %"), (0.2, "less than 1 %"), (87.6, "88 %"), (99.8, "more than 99 %"), (100, "100 %")],
)
def test_a_place_is_not_rounded_to_all_or_none(percentile, said):
    """One of 480 familiar images scores higher: that is not 100 %."""
    assert (
        Placement(detector="x", score=0, percentile=percentile, threshold=None).share_below == said
    )


@pytest.mark.parametrize(
    ("score", "threshold", "said"),
    [
        (1.5, 1.2, ("1.5", "1.2")),
        (1.22412, 1.22409, ("1.22412", "1.22409")),
        (-0.99996, -0.99991, ("−1", "−0.9999")),
        (2.0, 2.0, ("2", "2")),
    ],
)
def test_a_score_and_its_threshold_are_told_with_digits_that_part_them(score, threshold, said):
    assert told_apart(score, threshold) == said
