"""The image sets page in every state, and the grid of images it shows."""

import io
import re
import zipfile
from pathlib import Path

import pytest
from opened_page import opened, words
from streamlit.testing.v1 import AppTest
from uploads import MIXED, packed, png, work

from gsc_core.jobs import queue
from gsc_core.jobs.database import Readiness, State, session
from gsc_core.workspace import imagesets, set_tables, trash

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GSC_IMAGE_ROOT", raising=False)
    return tmp_path / "home"


def added(files=MIXED, name="photos", role="id", *, read=True):
    stored = imagesets.add_upload([("x.zip", packed(files))], name=name, role=role)
    if read:
        work()
    return imagesets.image_set(stored.id)


def zipped(files=MIXED) -> tuple[str, bytes, str]:
    return ("night shift.zip", packed(files).getvalue(), "application/zip")


def alts(app: AppTest) -> list[str]:
    return [image.alt for group in app.get("image") for image in group.proto.imgs]


def labels(app: AppTest) -> str:
    """Names of links and foldable parts, without the escapes of Markdown."""
    parts = [link.proto.label for link in app.get("page_link")]
    parts += [part.label for part in app.expander]
    return re.sub(r"[\\⁠]", "", "\n".join(parts))


def test_empty_it_says_what_to_do():
    app = opened("image_sets")
    assert not app.exception
    assert "No images yet: start with a ZIP" in words(app)
    assert "GSC_IMAGE_ROOT" in words(app)
    assert app.radio(key="set_role").options == [
        "Familiar images",
        "Unfamiliar images",
        "Calibration",
    ]


def test_a_zip_is_added_read_and_shown():
    app = opened("image_sets")
    app.get("file_uploader")[0].set_value([zipped()])
    app.radio(key="set_role").set_value("ood")
    app.button(key="set_add").click().run()
    assert not app.exception
    (stored,) = imagesets.list_sets()
    assert (stored.name, stored.role) == ("night shift", "ood")
    assert app.query_params["set"] == stored.id
    assert "Starts in a moment" in words(app)
    assert not app.get("file_uploader")
    work()
    app.run()
    assert not app.exception
    assert "night shift" in words(app)
    assert "3 images" in words(app)
    app.button(key="set_all").click().run()
    assert app.get("file_uploader")[0].value in ([], None)
    assert "night shift" in labels(app)
    assert "3 images, 2 classes, 2 left out" in words(app)
    assert "Still missing: familiar images" in words(app)


def test_one_set_with_labels_what_was_left_out_and_its_pictures():
    stored = added()
    app = opened("image_sets", set=stored.id)
    assert not app.exception
    shown = labels(app)
    assert "3 images, 2 classes, 2 left out" in words(app)
    assert "24–40 pixels wide, 16–90 high" in words(app)
    assert "2 classes with 1 to 2 images each" in shown
    assert "Left out: 1 broken file and 1 copy" in shown
    tables = [table.value for table in app.dataframe]
    assert dict(zip(tables[0]["Class"], tables[0]["Images"], strict=True)) == {"cat": 2, "dog": 1}
    assert list(tables[1]["File"]) == ["all/dog/broken.jpg", "all/dog/copy.png"]
    assert alts(app)[1] == "all/cat/2.png, 40 × 90 pixels"
    assert len(alts(app)) == 3
    app.selectbox(key="set_label").select("dog").run()
    assert alts(app) == ["all/dog/1.png, 24 × 16 pixels"]


def test_the_page_of_the_first_set_leads_on_to_the_second():
    stored = added()
    app = opened("image_sets", set=stored.id)
    missing = "ood" if stored.role == "id" else "id"
    app.button(key="set_next").click().run()
    assert not app.exception
    assert "set" not in app.query_params
    assert app.radio(key="set_role").value == missing
    assert app.get("file_uploader")


def test_many_pictures_are_paged():
    stored = added({f"{i:03}.png": png(i) for i in range(100)})
    app = opened("image_sets", set=stored.id)
    assert len(alts(app)) == 48
    (pages,) = app.get("pagination")
    assert pages.proto.num_pages == 3
    assert "No labels found" in words(app)
    app.session_state["set_page"] = 3
    app.run()
    assert [alt[:3] for alt in alts(app)] == ["096", "097", "098", "099"]


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (("x.zip", b"junk", "application/zip"), "x.zip is not a ZIP archive"),
        (("x.zip", packed({"a.txt": b"x"}).getvalue(), "application/zip"), "There is no image"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(file, sentence):
    app = opened("image_sets")
    app.get("file_uploader")[0].set_value([file])
    app.button(key="set_add").click().run()
    work()
    app.run()
    assert not app.exception
    assert len(app.error) == 1
    assert sentence in words(app)
    app.button(key="set_all").click().run()
    assert sentence in words(app)
    app = opened("image_sets", set=imagesets.list_sets()[0].id)
    app.button(key="set_delete_yes").click().run()
    assert not app.exception
    assert not imagesets.list_sets()
    assert "set" not in app.query_params


def test_nothing_chosen_or_a_name_taken_is_said_and_nothing_is_lost():
    added(name="night shift")
    app = opened("image_sets")
    app.button(key="set_add").click().run()
    assert "There are no images yet" in words(app)
    app.get("file_uploader")[0].set_value([zipped()])
    app.button(key="set_add").click().run()
    assert "choose another name" in words(app)
    app.text_input(key="set_name").set_value("other")
    app.button(key="set_add").click().run()
    assert not app.error
    assert {each.name for each in imagesets.list_sets()} == {"night shift", "other"}


def test_rename_role_and_delete():
    stored = added(role="ood")
    app = opened("image_sets", set=stored.id)
    app.text_input(key=f"set_new_name_{stored.id}").set_value("new name")
    app.button(key="set_rename_save").click().run()
    app.radio(key=f"set_new_role_{stored.id}").set_value("calibration")
    app.button(key="set_role_save").click().run()
    assert not app.exception
    now = imagesets.image_set(stored.id)
    assert (now.name, now.role) == ("new name", "calibration")
    app.text_input(key=f"set_new_name_{stored.id}").set_value("mean")
    app.button(key="set_rename_save").click().run()
    assert "needs a name" in words(app)
    job = queue.submit(queue.Kind.AUDIT, "my audit", "r", {"spec": {"id": now.folder}})
    app.button(key="set_delete_yes").click().run()
    assert 'used by "my audit"' in words(app)
    queue.cancel(job.id)
    app.button(key="set_delete_yes").click().run()
    assert not imagesets.list_sets()


def test_deleting_says_which_runs_lose_their_pictures(home):
    stored = added()
    spec = home / "runs/june/spec.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(f'{{"id": "{stored.folder}"}}')
    assert "june" not in words(opened("image_sets", set=added(name="other").id))
    app = opened("image_sets", set=stored.id)
    assert "Used by june" in words(app)
    assert "their images are lost" in words(app)


def test_stand_ins_with_one_click():
    stored = added()
    app = opened("image_sets", set=stored.id)
    app.button(key="set_surrogates").click().run()
    assert not app.exception
    names = {each.name for each in imagesets.list_sets("ood")}
    assert names == {
        f"photos: {kind}" for kind in ("zoom", "jigsaw", "phase", "mix", "tile", "crop")
    }
    work()
    app.run()
    assert "Next: start an audit" in labels(app)
    assert {each.readiness for each in imagesets.list_sets()} == {Readiness.READY}


def test_a_server_folder_where_the_operator_allows_it(tmp_path, monkeypatch):
    (tmp_path / "root/night").mkdir(parents=True)
    (tmp_path / "root/night/1.png").write_bytes(png(1))
    monkeypatch.setenv("GSC_IMAGE_ROOT", str(tmp_path / "root"))
    app = opened("image_sets")
    assert "GSC_IMAGE_ROOT" not in words(app)
    app.session_state["set_source"] = "Folder on the server"
    app.run()
    assert app.button(key="set_add").disabled
    app.selectbox(key="set_folder").select("night").run()
    app.button(key="set_add").click().run()
    work()
    app.run()
    assert not app.exception
    (stored,) = imagesets.list_sets()
    assert (stored.name, stored.owned, stored.images) == ("night", False, 1)
    app.button(key="set_read_again").click().run()
    assert "Starts in a moment" in words(app)


def test_hostile_names_stay_text():
    evil = "<img src=x onerror=alert(1)> **b** [x](http://e.example) $x$"
    stored = added({f"{evil.replace('/', '')}/1.png": png(1), "dog/2.png": png(2)}, name=evil)
    for app in (opened("image_sets"), opened("image_sets", set=stored.id)):
        assert not app.exception
        for part in [*app.markdown, *app.caption]:
            assert not part.proto.allow_html
        texts = [part.value for part in [*app.title, *app.caption]]
        texts += [link.proto.label for link in app.get("page_link")]
        for text in texts:
            assert not re.search(r"[<>\[\]$]", re.sub(r"\\[^\w\s]", "", text)), text
    assert evil in words(app)


def test_an_unknown_set_and_a_lost_table(home):
    app = opened("image_sets", set="../x")
    assert "no longer exists" in words(app)
    assert not app.exception
    stored = added()
    (home / "imagesets" / stored.id / "members.parquet").unlink()
    app = opened("image_sets", set=stored.id)
    assert not app.exception
    assert "read again" in words(app)
    app.button(key="set_read_again").click().run()
    work()
    assert "3 images" in words(opened("image_sets", set=stored.id))


def test_a_cancelled_and_a_lost_job_can_be_taken_up_again():
    stored = added(read=False)
    job = queue.latest(stored.id)
    assert job is not None
    queue.cancel(job.id)
    app = opened("image_sets", set=stored.id)
    assert "Cancelled" in words(app)
    with session() as db:
        db.delete(db.get(type(job), job.id))
    app = opened("image_sets", set=stored.id)
    assert "job was lost" in words(app)
    app.button(key="set_read_again").click().run()
    assert [each.state for each in queue.jobs()] == [State.QUEUED]


def test_a_lost_picture_is_a_sentence_in_its_place():
    stored = added()
    for file in Path(stored.folder).rglob("2.png"):
        file.unlink()
    app = opened("image_sets", set=stored.id)
    assert not app.exception
    assert len(alts(app)) == 2
    assert "2.png does not exist" in words(app)


def test_many_sets_are_paged():
    for i in range(21):
        added({"1.png": png(i)}, name=f"set {i}", role="ood", read=i == 20)
    app = opened("image_sets")
    assert len([link for link in app.get("page_link") if "set" in link.proto.label]) == 20
    assert app.get("pagination")[0].proto.num_pages == 2


def test_the_table_to_download_holds_no_formula():
    stored = added({"=cmd|x.png": b"broken", "1.png": png(1)})
    from gsc_core.workspace.set_tables import left_out_csv  # noqa: PLC0415

    text = left_out_csv(stored).decode("utf-8-sig")
    assert "\n'=cmd|x.png," in text.replace("\r", "")
    assert zipfile.is_zipfile(io.BytesIO(zipped()[1]))


CONTRADICTING = {
    **{
        f"{label}/{label}{at}.png": png(10 * at + len(label))
        for label in ("a", "bb")
        for at in range(4)
    },
    "labels.csv": b"file,label\na0.png,bb\na1.png,a\na2.png,a\na3.png,a\nbb0.png,a\nbb1.png,bb\n",
}


@pytest.mark.parametrize(
    ("answer", "labels_of"), [("Labels from the folders", 4), ("Labels from labels.csv", 2)]
)
def test_labels_that_contradict_each_other_are_asked_about(answer, labels_of):
    stored = added(CONTRADICTING)
    assert "labels from the folders" not in words(opened("image_sets")).lower()  # no room for it
    app = opened("image_sets", set=stored.id)
    assert "Needs an answer" in words(app)
    assert "press “Labels from labels.csv” or “Labels from the folders”" in words(app)
    assert not app.error
    buttons = {re.sub("[\\\\\u2060]", "", button.label): button for button in app.button}
    buttons[answer].click().run()
    assert not app.exception
    work()
    app.run()
    read = imagesets.image_set(stored.id)
    assert (read.readiness, read.question) == (Readiness.READY, None)
    assert set_tables.label_counts(read)["bb"] == labels_of
    assert "Needs an answer" not in words(app)


def test_a_part_of_a_data_set_is_taken_by_a_button():
    files = {
        f"set/{part}/{label}/{part}{label}.png": png(3 * n + m)
        for n, part in enumerate(("train", "test"))
        for m, label in enumerate(("x", "y"))
    }
    stored = added(files)
    app = opened("image_sets", set=stored.id)
    assert "“Only the folder set/test” or “Only the folder set/train”" in words(app)
    app.button(key="set_answer_0").click().run()
    work()
    read = imagesets.image_set(stored.id)
    assert (read.readiness, read.images) == (Readiness.READY, 2)
    assert set_tables.label_counts(read) == {"x": 1, "y": 1}
    folder = Path(read.folder)
    assert folder.is_dir()
    imagesets.delete_set(read.id)
    trash.remove(trash.entries()[0].id)
    assert not folder.exists()


@pytest.mark.slow
def test_an_address_is_asked_for_where_the_operator_allowed_some(monkeypatch):
    monkeypatch.setenv("GSC_IMAGE_ADDRESSES", "s3://bucket/photos")
    app = opened("image_sets")
    app.session_state["set_source"] = "Address"
    app.run()
    assert app.button(key="set_add").disabled
    app.text_input(key="set_address").set_value("s3://other/night").run()
    app.button(key="set_add").click().run()
    assert "not below any address" in words(app)
    app.text_input(key="set_address").set_value("s3://bucket/photos/night").run()
    app.button(key="set_add").click().run()
    assert not app.exception
    (stored,) = imagesets.list_sets()
    assert (stored.name, stored.folder) == ("night", "s3://bucket/photos/night")
