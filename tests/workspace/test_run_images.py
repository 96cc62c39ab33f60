"""Images taken along: a ZIP that an audit takes again, and the rest of a marked set as a set."""

import csv
import io
import zipfile

import pytest
from pictured_run import write_pictured_run
from uploads import work

from gsc_core.errors import GscError
from gsc_core.jobs import queue
from gsc_core.jobs.database import Kind, Readiness
from gsc_core.report import scores_csv
from gsc_core.run.image_files import ImageFiles
from gsc_core.run.marks import Doubt
from gsc_core.run.stored import Run
from gsc_core.workspace import imagesets, remainders, run_images, run_marks, set_tables

FAMILIAR, SIGNS = 50, 62


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    return Run.load(write_pictured_run(tmp_path / "runs" / "demo"))


def members(packed: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def labels(text: str) -> dict[str, str]:
    return {row["file"]: row["label"] for row in csv.DictReader(io.StringIO(text))}


def test_a_zip_has_the_images_as_they_were_audited_and_what_they_show(run):
    run_marks.mark(run, [FAMILIAR], label=2)
    rows = [FAMILIAR, FAMILIAR + 1]
    found = members(run_images.images_zip(run, rows))
    names = ["cat", "dog", "owl"]
    of = {f"id/{i:05}.png": run.column("label")[FAMILIAR + i] for i in range(2)}
    expected = {file: names[index] for file, index in of.items()} | {"id/00000.png": "owl"}
    assert labels(found.pop("labels.csv").decode()) == expected
    files = ImageFiles.of(run.path, run.settings)
    assert found == {
        file: files.read("id", "id", file, run.sha256(row))
        for file, row in zip(expected, rows, strict=True)
    }


def test_images_of_several_sets_have_a_folder_for_each(run):
    found = members(run_images.images_zip(run, [FAMILIAR, SIGNS]))
    assert set(found) == {"id/id/00000.png", "signs/signs/00000.png", "labels.csv"}


def test_an_image_that_changed_is_not_packed(run):
    path = run.path.parent / "demo-signs" / "signs" / "00000.png"
    path.write_bytes(b"other")
    with pytest.raises(GscError, match="has changed since it was audited"):
        run_images.images_zip(run, [SIGNS])
    path.unlink()
    with pytest.raises(GscError, match="no longer where"):
        run_images.images_zip(run, [SIGNS])


def test_too_many_are_refused_beforehand(run, monkeypatch):
    monkeypatch.setattr(run_images, "MAX_IMAGES", 2)
    run_images.ensure_few(run, [0, 1])
    with pytest.raises(GscError, match="make an image set"):
        run_images.ensure_few(run, [0, 1, 2])
    monkeypatch.setattr(run_images, "MAX_BYTES", 100)
    with pytest.raises(GscError, match="make an image set"):
        run_images.images_zip(run, [0, 1])


def test_what_is_left_of_a_set_becomes_one(run):
    assert run_images.remainders(run) == ()
    with pytest.raises(GscError, match="No image of signs"):
        remainders.submit_remainder(run, "signs", "rest")
    run_marks.mark(run, [SIGNS, SIGNS + 4], doubt=Doubt.NOT_UNFAMILIAR)
    (part,) = run_images.remainders(run)
    assert (part.set, part.left_out, len(part.rows)) == ("signs", 2, 8)
    stored = remainders.submit_remainder(run, "signs", "signs without two")
    run_marks.unmark(run, [SIGNS])  # what was ordered stays what it was
    (job,) = queue.jobs(kinds=(Kind.REMAINDER,))
    assert [done.id for done in work()] == [job.id]
    made = imagesets.image_set(stored.id)
    assert (made.readiness, made.images, made.role) == (Readiness.READY, 8, "ood")
    assert made.origin == "signs of run demo, 2 left out"
    left = {run.sha256(row) for row in part.rows}
    assert {image.sha256 for image in set_tables.images_of(made).images} == left


def test_labels_go_along_as_corrected(run):
    run_marks.mark(run, [FAMILIAR], doubt=Doubt.UNUSABLE)
    run_marks.mark(run, [FAMILIAR + 1], label=0)
    stored = remainders.submit_remainder(run, "id", "familiar, one less")
    work()
    made = imagesets.image_set(stored.id)
    assert (made.readiness, made.images) == (Readiness.READY, 11)
    images = {image.name: image.label for image in set_tables.images_of(made).images}
    names = ["cat", "dog", "owl"]
    expected = {f"id/{i:05}.png": names[run.column("label")[FAMILIAR + i]] for i in range(2, 12)}
    assert images == expected | {"id/00001.png": "cat"}


def test_an_image_that_is_gone_refuses_the_set_in_a_sentence(run):
    run_marks.mark(run, [SIGNS], doubt=Doubt.UNUSABLE)
    stored = remainders.submit_remainder(run, "signs", "rest")
    (run.path.parent / "demo-signs" / "signs" / "00005.png").unlink()
    work()
    made = imagesets.image_set(stored.id)
    assert made.readiness is Readiness.REFUSED
    assert "no longer where" in (made.sentence or "")


def test_a_list_says_what_is_marked_and_runs_nothing(run):
    before = list(csv.DictReader(io.StringIO(scores_csv(run).decode("utf-8-sig"))))
    assert "mark" not in before[0]
    run_marks.mark(run, [SIGNS], doubt=Doubt.UNUSABLE)
    run_marks.mark(run, [FAMILIAR], label=2)
    text = scores_csv(run, rows=[SIGNS, FAMILIAR, FAMILIAR + 1]).decode("utf-8-sig")
    first, second, third = csv.DictReader(io.StringIO(text))
    assert (first["file"], first["mark"], first["role"]) == ("signs/00000.png", "unusable", "ood")
    assert (second["mark"], second["corrected label"]) == ("", "owl")
    assert (third["mark"], third["corrected label"]) == ("", "")
    assert float(first["gsc"]) == run.column("gsc")[SIGNS]
