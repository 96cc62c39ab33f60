"""Scores chunk by chunk: stopped and killed runs end in the same table; a disk that fills up."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chunk_rows import rows
from places import IMPORTABLE
from scored import (
    DETECTORS,
    MANY,
    Counting,
    Moody,
    StopError,
    broken_among,
    child,
    finish,
    fitted,
    normal,
    pace,
    parts_below,
    stop_at,
)
from small_classifier import CLASSES, World

from gsc_core.errors import SpecError
from gsc_core.files import written_aside
from gsc_core.images import ImageSet
from gsc_core.run.layout import PREDICTED_AFTER
from gsc_core.scoring.chunks import CHUNK_IMAGES, ChunkStore, join
from gsc_core.scoring.local import score_set


@pytest.fixture(scope="module")
def uninterrupted(
    small: World, many: ImageSet, tmp_path_factory: pytest.TempPathFactory
) -> pa.Table:
    return finish(fitted(small), many, tmp_path_factory.mktemp("whole"), None)


@pytest.mark.slow
def test_a_finished_table_has_one_right_row_an_image(
    small: World, many: ImageSet, uninterrupted: pa.Table
) -> None:
    assert uninterrupted["file"].to_pylist() == [image.name for image in many.images]
    assert uninterrupted["sha256"].to_pylist() == [image.sha256 for image in many.images]
    assert set(uninterrupted["set"].to_pylist()) == set(uninterrupted["role"].to_pylist()) == {"id"}
    assert uninterrupted["label"].to_pylist() == [i % CLASSES for i in range(MANY)]
    truth = small.model(normal(many.images)).detach()
    assert uninterrupted["predicted"].to_pylist() == truth.argmax(1).tolist()
    energy = -truth.double().logsumexp(1).numpy()
    np.testing.assert_allclose(uninterrupted["energy"].to_numpy(), energy, atol=1e-4)
    columns = [c for c in uninterrupted.column_names if c.startswith(PREDICTED_AFTER)]
    assert columns == [PREDICTED_AFTER + "gsc", PREDICTED_AFTER + "gsc-drop"]


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 5, 100, 512, 4096])
def test_any_batch_size_fills_chunks_whole(
    small: World, many: ImageSet, tmp_path: Path, size: int
) -> None:
    """Chunks always end at the same images, and no progress step goes back or beyond."""
    images = ImageSet("faraway", many.images[: CHUNK_IMAGES + 9])
    store = ChunkStore(tmp_path / "chunks", "key")
    steps: list[tuple[str, int, int]] = []
    score_set(
        fitted(small, "energy"),
        images,
        {},
        store,
        pace(size, step=lambda *step: steps.append(step)),
    )
    lengths = [table.num_rows for table, _ in store.tables("faraway")]
    assert lengths == [CHUNK_IMAGES, 9]
    counts = [done for _, done, _ in steps]
    assert counts == sorted(counts) and counts[0] == 0 and counts[-1] == len(images)
    assert {(phase, total) for phase, _, total in steps} == {("scoring faraway", len(images))}
    table = next(store.tables("faraway"))[0]
    assert set(table["role"].to_pylist()) == {"ood"} and set(table["label"].to_pylist()) == {-1}


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, 40, CHUNK_IMAGES, CHUNK_IMAGES + 200, MANY])
def test_a_stopped_run_goes_on_and_ends_in_the_same_table(
    small: World, many: ImageSet, tmp_path: Path, uninterrupted: pa.Table, at: int
) -> None:
    with pytest.raises(StopError):
        finish(fitted(small), many, tmp_path, stop_at(at))
    # a chunk is written after its last step was told
    kept = max(0, at - 1) // CHUNK_IMAGES
    assert not parts_below(tmp_path)
    assert len(list((tmp_path / "chunks").glob("*.parquet"))) == kept
    assert not (tmp_path / "scores.parquet").exists()

    scorer = fitted(small)
    table = finish(scorer, many, tmp_path, None)
    assert isinstance(scorer.preprocessing, Counting)
    assert scorer.preprocessing.made == MANY - kept * CHUNK_IMAGES
    assert table.equals(uninterrupted)
    assert pq.read_table(tmp_path / "scores.parquet").equals(uninterrupted)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.parquet"]


# The child tells each step and waits to be let on, so that it can be killed at a known place.
SCORE_IN_STEPS = """
import sys
from pathlib import Path
from scored import finish, fitted
from small_classifier import world
from gsc_core.images import read_folder
folder, images = Path(sys.argv[1]), read_folder(Path(sys.argv[2]), "id")
def step(phase, done, total):
    print(done, flush=True)
    if not sys.stdin.readline():
        raise SystemExit
finish(fitted(world()), images, folder, step)
"""


@pytest.mark.slow
def test_a_process_killed_in_the_middle_is_continued(
    small: World, many: ImageSet, tmp_path: Path, uninterrupted: pa.Table
) -> None:
    with child(SCORE_IN_STEPS, tmp_path, many.images[0].path.parent, stdin=subprocess.PIPE) as run:
        assert run.stdout is not None and run.stdin is not None
        for line in run.stdout:
            if int(line) >= CHUNK_IMAGES + 100:
                break
            run.stdin.write("on\n")
            run.stdin.flush()
        run.send_signal(signal.SIGKILL)
    assert run.returncode == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "chunks").glob("*.parquet")]
    assert not (tmp_path / "scores.parquet").exists()

    scorer = fitted(small)
    table = finish(scorer, many, tmp_path, None)
    assert isinstance(scorer.preprocessing, Counting)
    assert scorer.preprocessing.made == MANY - CHUNK_IMAGES
    assert table.equals(uninterrupted)
    assert pq.read_table(tmp_path / "scores.parquet").equals(uninterrupted)
    assert not parts_below(tmp_path)


def test_chunks_of_another_key_are_thrown_away(tmp_path: Path) -> None:
    folder = tmp_path / "chunks"
    ChunkStore(folder, "one").write("id", 0, rows(3).table(()))
    assert ChunkStore(folder, "one").missing("id", 2) == [1]
    assert ChunkStore(folder, "two").missing("id", 2) == [0, 1]
    assert ChunkStore(folder, "one").missing("id", 2) == [0, 1]
    (folder / "key").unlink()
    ChunkStore(folder, "one").write("id", 0, rows(3).table(()))
    (folder / "key").unlink()  # nobody knows what these belong to
    assert ChunkStore(folder, "one").missing("id", 2) == [0, 1]


def test_each_chunk_that_is_there_counts_and_sets_are_apart(tmp_path: Path) -> None:
    store = ChunkStore(tmp_path / "chunks", "key")
    names = ["id", "id-000000", "../x", "ä/ö", "a" * 60]
    for name in names:
        for index in (0, 1, 3):  # 2 is missing
            store.write(name, index, rows(2, name).table(()))
    for name in names:
        assert store.missing(name, 5) == [2, 4]
        assert [set(table["set"].to_pylist()) for table, _ in store.tables(name)] == [{name}] * 3
    assert store.missing("nothing", 2) == [0, 1]
    assert {path.parent for path in tmp_path.rglob("*.parquet")} == {tmp_path / "chunks"}


def test_broken_pictures_are_kept_with_their_chunk(
    small: World, many: ImageSet, tmp_path: Path
) -> None:
    files = broken_among(many.images[:12], tmp_path / "cut", [2, 11])
    images = ImageSet("id", tuple(files))
    store = ChunkStore(tmp_path / "chunks", "key")
    score_set(fitted(small), images, {}, store, pace())
    ((table, broken),) = store.tables("id")
    assert table.num_rows == 10
    assert [one.name for one in broken] == ["cut-2.bmp", "cut-11.bmp"]
    assert not table.schema.metadata

    only_broken = ImageSet("all", tuple(broken_among(many.images[:3], tmp_path / "b", range(3))))
    score_set(fitted(small), only_broken, {}, store, pace())
    ((table, broken),) = store.tables("all")
    assert table.num_rows == 0 and len(broken) == 3


def test_joining_leaves_out_a_detector_excused_on_the_way(tmp_path: Path) -> None:
    early = rows(3, columns=("energy", "gsc", "react")).table(())
    late = rows(4, columns=("energy", "react")).table(())
    nothing = rows(0, columns=()).table(())
    joined = join([early, nothing, late], tmp_path / "scores.parquet")
    assert "gsc" not in joined.column_names and PREDICTED_AFTER + "gsc" not in joined.column_names
    assert joined["energy"].to_pylist() == joined["react"].to_pylist() == [0, 1, 2, 0, 1, 2, 3]
    assert pq.read_table(tmp_path / "scores.parquet").equals(joined)


def test_joining_fills_what_only_id_pictures_have(tmp_path: Path) -> None:
    known = rows(2, columns=("energy", "gsc")).table(())
    strange = (
        rows(2, "far", columns=("energy", "gsc")).table(()).drop_columns(PREDICTED_AFTER + "gsc")
    )
    joined = join([known, strange], tmp_path / "scores.parquet")
    assert joined[PREDICTED_AFTER + "gsc"].to_pylist() == [0, 1, None, None]


@pytest.mark.slow
def test_a_detector_excused_midway_does_not_stop_the_set(
    small: World, many: ImageSet, tmp_path: Path
) -> None:
    logits = small.model(normal(many.images)).detach()[:, 0]
    files = list(many.images)
    files.insert(CHUNK_IMAGES + 10, files.pop(int(logits.argmax())))  # late in the second chunk
    images = ImageSet("id", tuple(files))
    scorer = fitted(small, DETECTORS, Moody(limit=float(logits.sort().values[-2])))
    table = finish(scorer, images, tmp_path / "moody", None)
    assert list(scorer.excused) == ["moody"]
    truth = finish(fitted(small), images, tmp_path / "plain", None)
    assert table.num_rows == MANY and table.equals(truth)


@pytest.mark.slow
def test_a_detector_excused_before_a_stop_stays_excused_after_it(
    small: World, many: ImageSet, tmp_path: Path
) -> None:
    logits = small.model(normal(many.images)).detach()[:, 0]
    files = list(many.images)
    files.insert(0, files.pop(int(logits.argmax())))  # what fails is in the finished chunk
    images, limit = ImageSet("id", tuple(files)), float(logits.sort().values[-2])
    with pytest.raises(StopError):
        finish(fitted(small, "energy", Moody(limit)), images, tmp_path, stop_at(CHUNK_IMAGES + 1))
    scorer = fitted(small, "energy", Moody(limit))
    table = finish(scorer, images, tmp_path, None)
    assert list(scorer.excused) == ["moody"] and [d.name for d in scorer.detectors] == ["energy"]
    assert "moody" not in table.column_names and table.num_rows == MANY


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.json"
    with written_aside(path) as part:
        part.write_text("first")
        assert not path.exists()
    with pytest.raises(StopError), written_aside(path) as part:
        part.write_text("half")
        raise StopError
    assert path.read_text() == "first"
    assert [each.name for each in path.parent.iterdir()] == ["x.json"]


@pytest.mark.parametrize("where", ["file/chunks", "file"])
def test_where_no_folder_can_be_is_said_in_one_sentence(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SpecError, match="cannot be written") as caught:
        ChunkStore(tmp_path / where, "key")
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "mine"


FILL_A_REAL_DISK = """
set -e
mount -t tmpfs -o size=400k none "$1"
exec "$2" - "$1" <<'PYTHON'
import sys
from pathlib import Path
from chunk_rows import rows
from gsc_core.errors import SpecError
from gsc_core.scoring.chunks import ChunkStore, join
store = ChunkStore(Path(sys.argv[1]) / "chunks", "key")
store.write("id", 0, rows(512).table(()))
try:
    for index in range(1, 100):
        store.write("id", index, rows(512, columns=[f"d{i}" for i in range(10)]).table(()))
except SpecError as error:
    print(error)
try:
    join([rows(20_000, columns=[f"d{i}" for i in range(20)]).table(())], Path(sys.argv[1]) / "s")
except SpecError as error:
    print(error)
print(store.missing("id", 100)[0] == index, len(list(store.tables("id"))) == index, index > 1)
print([path.name for path in Path(sys.argv[1]).rglob("*") if path.suffix not in (".parquet", "")])
PYTHON
"""


@pytest.mark.slow
def test_a_disk_that_fills_up_leaves_no_half_written_file(tmp_path: Path) -> None:
    """On a real file system of 400 kB, in a mount namespace of its own."""
    mount = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", tmp_path]
    if (
        not shutil.which("unshare")
        or subprocess.run(mount, capture_output=True, check=False).returncode
    ):
        pytest.skip("no small disk to fill: mounting in a namespace is not allowed here")
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", FILL_A_REAL_DISK, "sh", tmp_path, sys.executable],
        env={**os.environ, "PYTHONPATH": IMPORTABLE},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    full, full_again, whole, left = done.stdout.splitlines()
    assert full.startswith("The disk is full") and full.endswith(".")
    assert full_again.startswith("The disk is full")
    assert whole == "True True True"
    assert left == "[]"
