"""Many images tried at once: judged as the audit judged its own, read back, taken along as CSV."""

import csv
import io
import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from small_run import RUN, copy, do, make

from gsc_core.errors import GscError
from gsc_core.evaluation.thresholds import Typed
from gsc_core.jobs import queue
from gsc_core.jobs.database import Kind, State
from gsc_core.run import decisions
from gsc_core.run.stored import Run
from gsc_core.workspace import explanations, tried_images


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stage and a finished run."""
    return make(tmp_path_factory.mktemp("made"))


@pytest.fixture
def run(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run.load(copy(made, tmp_path, monkeypatch))


def tried(files: list[tuple[str, io.BytesIO]]) -> tuple[str, tried_images.TriedImages | None]:
    """Ask as the page does, and do what a worker does."""
    try_id = tried_images.ask_many(RUN, files)
    do(next(iter(queue.jobs(kinds=(Kind.TRY_MANY,), states=(State.QUEUED,)))))
    return try_id, tried_images.tried_images(RUN, try_id)


def zipped(files: dict[str, bytes]) -> io.BytesIO:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    content.seek(0)
    return content


@pytest.mark.slow
def test_a_zip_is_judged_as_the_audit_judged_the_same_images(run: Run, made: Path) -> None:
    table = pd.read_parquet(run.path / "scores.parquet")
    rows = table[table["set"].isin(["id", "noise"])].groupby("set").head(3)
    folder = {"id": "id", "noise": "noise"}
    content = {
        f"{row.set}/{row.file}": (made / "stage" / folder[row.set] / row.file).read_bytes()
        for row in rows.itertuples()
    }
    first = next(iter(content.values()))
    more = {"=evil.png": b"no image", "copy.png": first, "../../out.png": first}
    with pytest.raises(GscError):
        tried([("bad.zip", zipped(content | more))])  # a way out of the folder
    shutil.rmtree(run.path / "tried")
    more.pop("../../out.png")
    for job in queue.jobs(states=(State.RUNNING,)):
        queue.end(job.id, State.FAILED)
    try_id, found = tried([("some.zip", zipped(content | more))])
    assert found is not None
    assert found.duplicates == 1
    assert [each.name for each in found.unread] == ["=evil.png"]
    truth = {f"{row.set}/{row.file}": row for row in rows.itertuples()}
    judged = {each.name: each for each in found.images}
    names = set(judged) - {"copy.png"}
    assert len(judged) == 6
    for name in names & set(truth):
        assert judged[name].predicted == truth[name].predicted
        assert judged[name].scores["energy"] == pytest.approx(truth[name].energy, abs=1e-4)
        assert tried_images.image_file(run, try_id, name).read_bytes() == content[name]

    seen = tried_images.verdicts(run, found)
    scores = [one.place.score for one in seen if one.place is not None]
    assert scores == sorted(scores, reverse=True)
    threshold = decisions.current(run).value
    assert [one.word for one in seen] == [
        "flagged" if score > threshold else "accepted" for score in scores
    ]
    decisions.store(run, decisions.decide(run, "energy", Typed(value=-1e9)))
    assert {one.word for one in tried_images.verdicts(run, found)} == {"flagged"}
    first = tried_images.verdicts(run, found)[0].image
    without = found.model_copy(
        update={
            "images": tuple(
                one.model_copy(update={"scores": {}}) if one == first else one
                for one in found.images
            )
        }
    )
    assert tried_images.verdicts(run, without)[-1].word == "undecided"

    header, *lines = csv.reader(io.StringIO(tried_images.as_csv(run, found).decode("utf-8-sig")))
    assert header[:2] == ["file", "decision"]
    assert {line[0] for line in lines} == set(judged)
    assert header[-len(run.detectors) :] == list(run.detectors)


@pytest.mark.slow
def test_several_images_lie_beside_the_run_and_what_is_no_id_of_them_is_refused(run: Run, made):
    paths = sorted((made / "stage" / "noise").rglob("*.png"))[:2]
    files = [("=a.png", io.BytesIO(paths[0].read_bytes())), ("b.png", paths[1].open("rb"))]
    try_id, found = tried(files)
    assert found is not None
    assert {each.name for each in found.images} == {"=a.png", "b.png"}
    text = tried_images.as_csv(run, found).decode("utf-8-sig")
    assert "'=a.png" in text, "no spreadsheet computes it"
    assert explanations.tried(RUN, try_id) is None
    assert tried_images.tried_images(RUN, "0" * 12) is None
    for bad in ("../x", ""):
        with pytest.raises(GscError):
            tried_images.tried_images(RUN, bad)
    with pytest.raises(GscError):
        tried_images.image_file(run, try_id, "../../../metrics.json")


def test_what_is_neither_a_zip_nor_images_is_refused_before_it_is_kept(run: Run) -> None:
    for names in (("a.exe",), ("a.zip", "b.zip"), ("a.zip", "b.png")):
        with pytest.raises(GscError):
            tried_images.ask_many(RUN, [(name, io.BytesIO(b"x")) for name in names])
    assert not list((run.path / "tried").glob("*"))
    assert not queue.jobs()


@pytest.mark.slow
def test_too_many_at_once_are_told_where_to_go(run: Run, made: Path, monkeypatch) -> None:
    monkeypatch.setattr(tried_images, "MAX_IMAGES", 1)
    paths = sorted((made / "stage" / "noise").rglob("*.png"))[:2]
    with pytest.raises(GscError, match="make an image set"):
        tried([(path.name, path.open("rb")) for path in paths])
    assert not list((run.path / "tried").glob("*"))
