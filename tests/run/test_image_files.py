"""The one finder of a run's images: hostile names, vanished files, changed bytes."""

import hashlib
import os
from pathlib import Path

import pytest

from gsc_core.errors import GscError
from gsc_core.run.document import Settings
from gsc_core.run.image_files import ImageFiles
from gsc_core.run.layout import unpacked_folder


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.fixture
def files(tmp_path) -> ImageFiles:
    """ID from a folder, OOD from a folder, a ZIP and one image; `secret` beside them."""
    write(tmp_path / "secret", b"secret")
    write(tmp_path / "id/stop/a.png", b"a")
    write(tmp_path / "ood/b.png", b"b")
    write(tmp_path / "one.png", b"one")
    write(tmp_path / "set.zip", b"PK")
    run = tmp_path / "run"
    write(unpacked_folder(run, "zipped") / "in/c.png", b"c")
    ood = {"ood": tmp_path / "ood", "zipped": tmp_path / "set.zip", "one": tmp_path / "one.png"}
    return ImageFiles(run, tmp_path / "id", ood)


FOUND = [
    ("id", "id", "stop/a.png", b"a"),
    ("calibration", "calibration", "stop/a.png", b"a"),
    ("ood", "ood", "b.png", b"b"),
    ("ood", "zipped", "in/c.png", b"c"),
    ("ood", "one", "one.png", b"one"),
]


@pytest.mark.parametrize(("role", "name", "file", "data"), FOUND)
def test_it_reads_what_was_audited(files, role, name, file, data):
    assert files.read(role, name, file, sha256(data)) == data
    assert files.find(role, name, file).read_bytes() == data


def test_calibration_images_of_a_folder_of_their_own(files, tmp_path):
    write(tmp_path / "more/a.png", b"other")
    own = ImageFiles(files.folder, files.id, files.ood, tmp_path / "more")
    assert own.read("calibration", "calibration", "a.png", sha256(b"other")) == b"other"
    assert own.read("id", "id", "stop/a.png", sha256(b"a")) == b"a"


@pytest.mark.parametrize("role", ["id", "ood"])
@pytest.mark.parametrize(
    "file", ["../secret", "stop/../../secret", "../id/../secret", "..", "a\0b", "{}/secret", "."]
)
def test_no_name_leads_out_even_with_the_right_bytes(files, tmp_path, role, file):
    name = file.format(tmp_path)
    for ask in (files.path, files.find):
        with pytest.raises(GscError, match="outside its folders"):
            ask(role, role, name)
    with pytest.raises(GscError, match="outside its folders"):
        files.read(role, role, name, sha256(b"secret"))


def test_a_linked_folder_is_not_followed_out_and_a_linked_image_is_an_image(files, tmp_path):
    write(tmp_path / "else/a.png", b"e")
    (tmp_path / "id/out").symlink_to(tmp_path / "else")
    (tmp_path / "id/link.png").symlink_to(tmp_path / "else/a.png")
    with pytest.raises(GscError, match="outside its folders"):
        files.read("id", "id", "out/a.png", sha256(b"e"))
    assert files.read("id", "id", "link.png", sha256(b"e")) == b"e"
    (tmp_path / "id/circle").symlink_to(tmp_path / "id/circle")
    for file in ("circle", "circle/a.png"):
        with pytest.raises(GscError):
            files.read("id", "id", file, sha256(b"e"))


@pytest.mark.parametrize("file", ["gone.png", "stop", "x" * 300, "stop/a.png/b", "\udcff.png"])
def test_what_is_gone_or_no_file_is_one_sentence(files, file):
    with pytest.raises(GscError, match="no longer where it was audited"):
        files.read("id", "id", file, sha256(b"a"))
    with pytest.raises(GscError, match="no longer where it was audited"):
        files.read("ood", "never heard of", file, sha256(b"a"))


def test_a_pipe_is_not_waited_for(files, tmp_path):
    os.mkfifo(tmp_path / "id/pipe.png")
    with pytest.raises(GscError, match="no longer"):
        files.read("id", "id", "pipe.png", sha256(b"a"))


@pytest.mark.parametrize("data", [b"", b"b", b"a" * 1000, b"a\n"])
def test_changed_bytes_are_not_taken_for_what_was_audited(files, tmp_path, data):
    write(tmp_path / "id/stop/a.png", data)
    with pytest.raises(GscError, match="has changed since it was audited"):
        files.read("id", "id", "stop/a.png", sha256(b"a"))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"id": None, "calibration": 0.5},
        {"id": "", "ood": {"": ""}},
        {"id": "a\0b", "ood": {"ood": "a\0b"}},
    ],
)
def test_settings_that_a_person_edited_find_nothing(tmp_path, settings):
    files = ImageFiles.of(tmp_path / "run", Settings.model_validate(settings))
    for role in ("id", "ood", "calibration"):
        with pytest.raises(GscError):
            files.read(role, role, "no such.png", sha256(b"a"))


def test_settings_of_a_run_say_where(files, tmp_path):
    settings = {
        "id": str(files.id),
        "ood": {name: str(path) for name, path in files.ood.items()},
        "calibration": 0.5,
    }
    assert ImageFiles.of(files.folder, Settings.model_validate(settings)) == files
