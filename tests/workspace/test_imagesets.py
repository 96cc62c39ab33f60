"""Image sets of the workspace: uploads, server folders, what is read, and what is deleted."""

import io
import json
import resource
import time
from pathlib import Path

import pytest
from object_store import s3_server
from uploads import MIXED, packed, png, work

from gsc_core.errors import Cancelled, GscError
from gsc_core.jobs import queue
from gsc_core.jobs.database import Kind, Readiness
from gsc_core.workspace import imagesets, set_tables, trash
from gsc_core.workspace.imagesets import add_folder, add_upload, image_set
from gsc_core.workspace.set_tables import extent, label_counts, left_out, members
from gsc_core.workspace.tasks import TASKS


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GSC_IMAGE_ROOT", raising=False)
    return tmp_path / "home"


def upload(files: dict[str, bytes], name="photos", role="id"):
    stored = add_upload([(f"{name}.zip", packed(files))], name=name, role=role)
    work()
    return image_set(stored.id)


def test_a_zip_is_read_counted_and_listed(home):
    stored = add_upload([("photos.zip", packed(MIXED))], name="  photos ", role="id")
    assert (stored.name, stored.readiness) == ("photos", Readiness.WAITING)
    (job,) = work()
    assert (job.kind, job.subject) == (Kind.SET, stored.id)
    stored = image_set(stored.id)
    assert stored.readiness is Readiness.READY
    assert (stored.images, stored.broken, stored.duplicates, stored.labels) == (3, 1, 1, 2)
    assert stored.bytes == sum(
        len(MIXED[f"all/{n}"]) for n in ("cat/1.png", "cat/2.png", "dog/1.png")
    )
    found = members(stored, 0, 48)
    assert [each.name for each in found] == ["all/cat/1.png", "all/cat/2.png", "all/dog/1.png"]
    assert [each.label for each in found] == ["cat", "cat", "dog"]
    assert all(each.path.read_bytes() == MIXED[each.name] for each in found)
    assert (found[1].width, found[1].height) == (40, 90)
    assert label_counts(stored) == {"cat": 2, "dog": 1}
    assert extent(stored) == set_tables.Extent((24, 40), (16, 90))
    assert [each.name for each in members(stored, 1, 1)] == ["all/cat/2.png"]
    assert [each.name for each in members(stored, 0, 9, "dog")] == ["all/dog/1.png"]
    reasons = {row["name"]: row["why"] for row in left_out(stored)}
    assert reasons["all/dog/copy.png"] == "is a copy of all/cat/1.png"
    assert "not an image" in reasons["all/dog/broken.jpg"]
    assert not list(home.rglob("*.zip")), "the archive is not kept twice"
    assert set_tables.images_of(stored).sha256 == stored.sha256


def test_single_files_get_harmless_names_and_none_twice(home):
    names = [
        "../../evil.png",
        "C:\\x\\evil.png",
        "EVIL.png",
        "  .png",
        "a\nb\x00.png",
        "x" * 300 + ".png",
    ]
    files = [(name, io.BytesIO(png(seed))) for seed, name in enumerate(names)]
    stored = add_upload(files, name="loose", role="ood")
    work()
    stored = image_set(stored.id)
    found = members(stored, 0, 48)
    assert {each.path.parent for each in found} == {home / "imagesets" / stored.id / "pictures"}
    expected = {"evil.png", "evil-2.png", "EVIL-3.png", "picture.png", "ab.png"}
    assert {each.name for each in found} == expected | {"x" * 100 + ".png"}


def test_pictures_and_a_table_of_labels():
    files = [
        ("1.png", png(1)),
        ("2.png", png(2)),
        ("labels.csv", b"file,label\n1.png,cat\n2.png,dog\n"),
    ]
    stored = add_upload([(n, io.BytesIO(d)) for n, d in files], name="t", role="id")
    work()
    assert label_counts(image_set(stored.id)) == {"cat": 1, "dog": 1}


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "first"),
        ({"a.zip": b"", "b.zip": b""}, "one ZIP at a time"),
        ({"a.zip": b"", "b.png": b""}, "one ZIP at a time"),
        ({"notes.txt": b"x"}, 'ending in ".txt"'),
        ({"program": b"x"}, "is not an image"),
    ],
)
def test_what_is_no_upload_is_said_at_once(files, sentence, home):
    with pytest.raises(GscError, match=sentence):
        add_upload([(n, io.BytesIO(d)) for n, d in files.items()], name="x", role="id")
    assert not imagesets.list_sets()
    assert not queue.jobs()
    assert not (home / "imagesets").exists()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"I am no archive", "not a ZIP"),
        (packed({"a.txt": b"x", "b.csv": b"y"}).getvalue(), "no image"),
        (packed({"a.png": b"broken"}).getvalue(), "cannot be read"),
        (packed({"../a.png": png(1)}).getvalue(), "outside its folder"),
        (packed({f"{i}.png": png(i) for i in range(9)}).getvalue()[:-40], "ZIP"),
        (
            packed({"a.png": png(1), "l.csv": b"file,label\na.png,x\na.png,y\n"}).getvalue(),
            "two labels",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence_and_removed(data, sentence, home):
    stored = add_upload([("photos.zip", io.BytesIO(data))], name="x", role="id")
    work()
    stored = image_set(stored.id)
    assert stored.readiness is Readiness.REFUSED
    assert stored.sentence is not None
    assert sentence in stored.sentence
    assert not list((home / "imagesets").iterdir())
    add_upload([("photos.zip", packed(MIXED))], name="x", role="id")  # the name is free again


@pytest.mark.parametrize("name", ["", "   ", "x" * 61, "ü" * 51, "id", "mean", "a\nb", "a\x00"])
def test_names_that_an_audit_could_not_use(name):
    with pytest.raises(GscError, match="needs a name"):
        add_upload([("a.zip", packed(MIXED))], name=name, role="id")
    stored = upload(MIXED)
    with pytest.raises(GscError, match="needs a name"):
        imagesets.rename_set(stored.id, name)
    assert image_set(stored.id).name == "photos"


def test_a_name_is_unique_in_its_role():
    first, other = upload(MIXED, role="ood"), upload(MIXED, role="id")
    with pytest.raises(GscError, match="already"):
        add_upload([("a.zip", packed(MIXED))], name="photos", role="ood")
    with pytest.raises(GscError, match="already"):
        imagesets.change_role(other.id, "ood")
    imagesets.rename_set(first.id, "photos")  # to its own name
    imagesets.rename_set(first.id, "others")
    imagesets.change_role(other.id, "ood")
    assert {each.name for each in imagesets.list_sets("ood")} == {"photos", "others"}
    with pytest.raises(GscError, match="one of"):
        imagesets.change_role(other.id, "admin")


@pytest.mark.slow
def test_progress_is_told_and_can_stop_it(home):
    stored = add_upload(
        [("a.zip", packed({f"{i}.png": png(i) for i in range(30)}))], name="x", role="id"
    )
    seen = []

    def stop(progress):
        seen.append(progress)
        if progress.done == 10:
            raise Cancelled

    with pytest.raises(Cancelled):
        work(stop)
    assert [p.done for p in seen] == list(range(1, 11))
    assert {(p.phase, p.total) for p in seen} == {("reading the images", 30)}
    assert image_set(stored.id).readiness is Readiness.WAITING
    (home / "imagesets" / stored.id / ".part-left").mkdir()  # as a kill while unpacking leaves it
    work()
    assert image_set(stored.id).images == 30
    assert not list((home / "imagesets" / stored.id).glob(".part-*"))


def test_a_job_done_twice_gives_the_same():
    stored = upload(MIXED)
    again = queue.submit(Kind.SET, "again", stored.id, {})
    TASKS[again.kind](again, lambda _: None)
    assert image_set(stored.id).model_dump() == stored.model_dump()


def test_a_server_folder_is_read_where_it_lies(tmp_path, monkeypatch):
    root = tmp_path / "allowed"
    for name, data in MIXED.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    (root / ".hidden").mkdir()
    (root / "out").symlink_to(tmp_path)
    monkeypatch.setenv("GSC_IMAGE_ROOT", str(root))
    assert imagesets.folders() == [".", "all", "all/cat", "all/dog"]
    stored = add_folder("all", name="server", role="id")
    work()
    stored = image_set(stored.id)
    assert (stored.owned, stored.images, stored.folder) == (False, 3, str(root / "all"))
    (root / "all/cat/3.png").write_bytes(png(9))
    imagesets.look_again(stored.id)
    imagesets.look_again(stored.id)
    assert len(work()) == 1, "asked for twice, read once"
    assert image_set(stored.id).images == 4
    imagesets.delete_set(stored.id)
    assert len(list(root.rglob("*.png"))) == 5
    assert not imagesets.list_sets()


@pytest.mark.parametrize(
    "name", ["..", "../secret", "/etc", "out", "out/secret", "gone", "a\0b", "file"]
)
def test_a_folder_outside_the_allowed_directory_is_refused(name, tmp_path, monkeypatch):
    root = tmp_path / "allowed"
    root.mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/1.png").write_bytes(png(1))
    (root / "out").symlink_to(tmp_path)
    (root / "file").write_bytes(b"")
    monkeypatch.setenv("GSC_IMAGE_ROOT", str(root))
    with pytest.raises(GscError, match="folder"):
        add_folder(name, name="x", role="id")
    assert not imagesets.list_sets()
    monkeypatch.delenv("GSC_IMAGE_ROOT")
    with pytest.raises(GscError, match="GSC_IMAGE_ROOT"):
        add_folder(".", name="x", role="id")
    assert imagesets.folders() == []


@pytest.mark.slow
def test_an_address_is_read_where_it_lies(tmp_path, monkeypatch):
    for name, data in MIXED.items():
        (tmp_path / "served/bucket/photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "served/bucket/photos" / name).write_bytes(data)
    monkeypatch.setenv("GSC_IMAGE_ADDRESSES", "s3://other, s3://bucket/photos")
    with s3_server(tmp_path / "served") as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        stored = imagesets.add_address(" s3://bucket/photos/all ", name="far", role="id")
        work()
    stored = image_set(stored.id)
    assert (stored.readiness, stored.owned) == (Readiness.READY, False)
    assert (stored.images, stored.broken, stored.duplicates, stored.labels) == (3, 1, 1, 2)
    assert [each.name for each in members(stored, 0, 9)] == ["cat/1.png", "cat/2.png", "dog/1.png"]
    with pytest.raises(GscError, match="stored on this server"):
        imagesets.submit_surrogates(stored.id, ["zoom"])


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://secret/photos", "not below any address"),
        ("s3://bucket/photos-of-others", "not below any address"),
        ("/etc", "not the address of a bucket"),
        ("file:///etc", "not the address of a bucket"),
        ("s3://key:secret@bucket/photos", "in the environment"),
    ],
)
def test_an_address_that_was_not_allowed_is_refused(address, said, monkeypatch):
    monkeypatch.setenv("GSC_IMAGE_ADDRESSES", "s3://bucket/photos")
    with pytest.raises(GscError, match=said):
        imagesets.add_address(address, name="x", role="id")
    monkeypatch.delenv("GSC_IMAGE_ADDRESSES")
    with pytest.raises(GscError):
        imagesets.add_address("s3://bucket/photos", name="x", role="id")
    assert not imagesets.list_sets()


def test_the_list_of_server_folders_is_bounded(tmp_path, monkeypatch):
    for i in range(2100):
        (tmp_path / f"root/{i:04}").mkdir(parents=True)
    (tmp_path / "root/0000/1/2/3/4").mkdir(parents=True)
    monkeypatch.setenv("GSC_IMAGE_ROOT", str(tmp_path / "root"))
    found = imagesets.folders()
    assert len(found) == 2001
    assert "0000/1/2/3" in found
    assert "0000/1/2/3/4" not in found


def test_stand_ins_become_sets_of_their_own():
    source = upload(MIXED)
    made = imagesets.submit_surrogates(source.id, ["jigsaw", "zoom"])
    assert [each.name for each in made] == ["photos: jigsaw", "photos: zoom"]
    with pytest.raises(GscError, match="is used by"):
        imagesets.delete_set(source.id)
    seen = []
    work(seen.append)
    for stored in map(image_set, [each.id for each in made]):
        assert (stored.readiness, stored.role, stored.images) == (Readiness.READY, "ood", 3)
        assert source.name in stored.origin
        originals = {each.path.read_bytes() for each in members(source, 0, 9)}
        assert not originals & {each.path.read_bytes() for each in members(stored, 0, 9)}
    assert (seen[-1].done, seen[-1].total) == (3, 3)
    again = imagesets.submit_surrogates(source.id, ["zoom"])
    assert again[0].name == "photos: zoom 2"
    imagesets.delete_set(made[0].id)


def test_stand_ins_of_a_set_whose_name_is_as_long_as_may_be():
    source = upload({"1.png": png(1), "2.png": png(2)}, "猫" * 33)
    made = imagesets.submit_surrogates(source.id, ["jigsaw", "zoom"])
    made += imagesets.submit_surrogates(source.id, ["zoom"])
    assert [each.name.lstrip("猫") for each in made] == [": jigsaw", ": zoom", ": zoom 2"]
    assert all(len(each.name.encode()) <= 100 for each in made)


def test_stand_ins_are_not_made_anew_under_an_audit_and_outlive_their_source():
    source = upload({"1.png": png(1), "2.png": png(2)})
    (made,) = imagesets.submit_surrogates(source.id, ["zoom"])
    work()
    imagesets.delete_set(source.id)
    before = [each.path.stat().st_ino for each in members(made, 0, 9)]
    imagesets.look_again(made.id)
    work()
    assert image_set(made.id).readiness is Readiness.READY
    assert [each.path.stat().st_ino for each in members(made, 0, 9)] == before


def test_stand_ins_that_cannot_be_made():
    source = upload({"1.png": png(1)})
    for kinds in ([], ["magic"]):
        with pytest.raises(GscError, match="Choose which"):
            imagesets.submit_surrogates(source.id, kinds)
    (made,) = imagesets.submit_surrogates(source.id, ["mix"])
    work()
    assert image_set(made.id).readiness is Readiness.REFUSED
    assert "needs two images" in (image_set(made.id).sentence or "")
    waiting = add_upload([("a.zip", packed(MIXED))], name="new", role="id")
    with pytest.raises(GscError, match="has not been read yet"):
        imagesets.submit_surrogates(waiting.id, ["zoom"])


def test_deleting_takes_the_files_and_nothing_else(home):
    stored, other = upload(MIXED, "a"), upload(MIXED, "b")
    imagesets.delete_set(stored.id)
    assert [each.name for each in imagesets.list_sets()] == ["b"]
    trash.empty(time.time() + 8 * 86_400)
    assert [folder.name for folder in (home / "imagesets").iterdir()] == [other.id]
    with pytest.raises(GscError, match="no longer exists"):
        image_set(stored.id)
    with pytest.raises(GscError, match="no longer exists"):
        imagesets.delete_set(stored.id)


def test_a_set_in_use_is_not_deleted_and_runs_that_used_it_are_known(home):
    stored = upload(MIXED)
    spec = {"id": stored.folder, "ood": {"x": "/elsewhere"}}
    job = queue.submit(Kind.AUDIT, "my audit", "run1", {"spec": spec})
    with pytest.raises(GscError, match='used by "my audit"'):
        imagesets.delete_set(stored.id)
    queue.cancel(job.id)
    for run, folder in (("run1", stored.folder), ("run2", f"{stored.folder}-not"), ("run3", "/x")):
        path = home / "runs" / run / "spec.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"id": "/y", "ood": {"x": folder}}, indent=2))
    assert imagesets.runs_with(stored) == ["run1"]
    imagesets.delete_set(stored.id)
    assert not imagesets.list_sets()


@pytest.mark.parametrize("kind", [Kind.ABLATION, Kind.EXPLAIN])
def test_a_set_is_not_deleted_while_an_audit_of_it_is_looked_into(home, kind):
    stored = upload(MIXED)
    spec = home / "runs" / "run1" / "spec.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"id": "/y", "ood": {"x": stored.folder}}))
    job = queue.submit(kind, "a look into it", "run1", {"row": 1})
    with pytest.raises(GscError, match='used by "a look into it"'):
        imagesets.delete_set(stored.id)
    queue.cancel(job.id)
    imagesets.delete_set(stored.id)


@pytest.mark.parametrize("damage", [b"\xff\xfe", b"[]", b'{"model": 1}', None])
def test_a_damaged_specification_of_a_run_hinders_nobody(home, damage):
    stored = upload(MIXED)
    spec = home / "runs" / "run1" / "spec.json"
    spec.parent.mkdir(parents=True)
    spec.mkdir() if damage is None else spec.write_bytes(damage)
    queue.submit(Kind.EXPLAIN, "a look", "run1", {"row": 1})
    assert imagesets.runs_with(stored) == []
    imagesets.delete_set(stored.id)


def test_a_full_disk_costs_no_upload(home):
    """A limit on the size of files is refused as a full disk is."""
    stored = add_upload([("a.zip", packed(MIXED))], name="a", role="id")
    job = queue.latest(stored.id)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(GscError, match="disk is full"):
            TASKS[job.kind](job, lambda _: None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in (home / "imagesets" / stored.id).iterdir()] == ["upload"]
    work()
    assert image_set(stored.id).readiness is Readiness.READY


def test_with_a_set_go_its_jobs(home):
    stored, other = upload(MIXED, "a"), upload(MIXED, "b")
    imagesets.delete_set(stored.id)
    assert [job.subject for job in queue.jobs()] == [other.id]


def test_a_set_is_never_without_a_job_to_read_it(home, monkeypatch):
    """As when the process is killed between the two."""

    def killed(*_, **__):
        raise KeyboardInterrupt

    stored = upload(MIXED, "ready")
    monkeypatch.setattr(queue, "submit", killed)
    monkeypatch.setattr(queue, "retry", killed)
    for ask in (
        lambda: add_upload([("a.zip", packed(MIXED))], name="a", role="id"),
        lambda: imagesets.submit_surrogates(stored.id, ["zoom"]),
        lambda: imagesets.look_again(stored.id),
    ):
        with pytest.raises(KeyboardInterrupt):
            ask()
    assert [(each.name, each.readiness) for each in imagesets.list_sets()] == [
        ("ready", Readiness.READY)
    ]


def test_the_job_of_a_deleted_set_ends_quietly():
    stored = upload(MIXED)
    job = queue.submit(Kind.SET, "late", stored.id, {})
    queue.cancel(job.id)
    imagesets.delete_set(stored.id)
    TASKS[job.kind](job, lambda _: None)
    assert not imagesets.list_sets()


def test_a_lost_table_is_one_sentence(home):
    stored = upload(MIXED)
    table = home / "imagesets" / stored.id / "members.parquet"
    for damage in (lambda: table.write_bytes(b"PAR1 junk"), table.unlink):
        damage()
        with pytest.raises(GscError, match="read again"):
            members(stored, 0, 48)
    assert set_tables.version(stored) == 0


def test_the_root_of_a_data_set_is_refused_as_familiar_and_read_as_unfamiliar_images():
    files = {f"{part}/{of}/1.png": png(at) for at, (part, of) in enumerate(PARTS)}
    for role in ("id", "calibration"):
        stored = upload(files, "root", role)
        assert stored.readiness is Readiness.REFUSED
        assert stored.sentence == (
            "root holds the parts of a data set, test and train, which are not classes: choose its "
            "folder test alone or its folder train alone."
        )
    assert upload(files, "root", "ood").readiness is Readiness.READY


PARTS = [(part, of) for part in ("train", "test") for of in ("cat", "dog")]


def test_where_the_labels_come_from_is_stored_with_the_set():
    files = {"a.png": png(1), "b.png": png(2), "labels.csv": b"id,label\na,cat\nb,dog\n"}
    stored = upload({**files, "other.csv": b"time,value\n1,2\n"})
    source = set_tables.label_source(stored)
    assert source.startswith("They come from labels.csv (columns id and label). other.csv is not")
    assert label_counts(stored) == {"cat": 1, "dog": 1}
    assert set_tables.label_source(upload({"a.png": png(1)}, "bare")) == ""
