"""Reading folders and files as sets, what is left out and why, and dividing a set."""

import hashlib
import io
import os
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gsc_core.errors import ImageError, SpecError
from gsc_core.images import (
    Duplicate,
    ImageFile,
    ImageSet,
    read_files,
    read_folder,
    read_images,
    shared,
)


def png(value):
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (value, 10, 20)).save(buffer, "PNG")
    return buffer.getvalue()


def write(root, files):
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def test_a_folder_in_the_order_of_names_with_digests(tmp_path):
    files = {"b/2.png": png(2), "a/10.png": png(10), "a/9.PNG": png(9)}
    images = read_folder(write(tmp_path, files), "mine")
    assert [image.name for image in images.images] == ["a/10.png", "a/9.PNG", "b/2.png"]
    assert [image.label for image in images.images] == ["a", "a", "b"]
    for image in images.images:
        assert image.path.read_bytes() == files[image.name]
        assert image.sha256 == hashlib.sha256(files[image.name]).hexdigest()
    assert len(images) == 3
    assert images.broken == images.duplicates == ()


def test_what_is_passed_over_and_what_is_broken(tmp_path):
    files = {
        "fine.png": png(1),
        "text.jpg": b"I am text",
        "empty.png": b"",
        "drawing.svg": b"<svg/>",
        "notes.txt": b"x",
        "data.json": b"{}",
        "Thumbs.db": b"x",
        ".DS_Store": b"x",
        ".hidden.png": png(2),
        "__MACOSX/._fine.png": b"x",
        ".cache/x.png": png(3),
    }
    images = read_folder(write(tmp_path, files), "mine")
    assert [image.name for image in images.images] == ["fine.png"]
    reasons = {broken.name: broken.reason for broken in images.broken}
    assert set(reasons) == {"text.jpg", "empty.png", "drawing.svg"}
    assert reasons["text.jpg"].startswith("is not an image")
    assert reasons["empty.png"].startswith("is empty")


def test_pipes_and_folders_called_like_pictures(tmp_path):
    write(tmp_path, {"fine.png": png(1), "folder.png/inside.png": png(2)})
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "loop").symlink_to(tmp_path)
    images = read_folder(tmp_path, "mine")
    assert [image.name for image in images.images] == ["fine.png", "folder.png/inside.png"]
    assert [broken.name for broken in images.broken] == ["gone.png", "pipe.png"]


def test_names_that_are_no_text(tmp_path):
    write(tmp_path, {"fine.png": png(1)})
    (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(png(2))
    (tmp_path / "naïve 😀\n<b>.png").write_bytes(png(3))
    images = read_folder(tmp_path, "mine")
    assert len(images) == 3
    for image in images.images:
        image.name.encode("utf-8")
        assert image.path.exists()


def test_a_folder_without_pictures_says_what_it_holds(tmp_path):
    with pytest.raises(ImageError, match="only an empty folder"):
        read_folder(tmp_path, "mine")
    write(tmp_path, {"a.txt": b"", "b.txt": b"", "c.mp4": b"", "d": b""})
    with pytest.raises(ImageError, match=r"2 × \.txt, 1 × \.mp4, 1 × without an ending"):
        read_folder(tmp_path, "mine")
    write(tmp_path, {"e.png": b"broken"})
    with pytest.raises(
        ImageError, match=r"The one image in mine cannot be read: e\.png is not an image"
    ):
        read_folder(tmp_path, "mine")
    with pytest.raises(ImageError, match="not a folder"):
        read_folder(tmp_path / "nowhere", "mine")


def test_each_content_is_kept_once(tmp_path):
    files = {"a/1.png": png(1), "a/2.png": png(2), "b/1.png": png(1), "b/3.png": png(1)}
    images = read_folder(write(tmp_path, files), "mine")
    assert [image.name for image in images.images] == ["a/1.png", "a/2.png"]
    assert images.duplicates == (Duplicate("b/1.png", "a/1.png"), Duplicate("b/3.png", "a/1.png"))


def test_the_digest_of_a_set_is_that_of_its_contents(tmp_path):
    one = read_folder(write(tmp_path / "one", {"a.png": png(1), "b.png": png(2)}), "one")
    renamed = read_folder(write(tmp_path / "two", {"y.png": png(1), "x.png": png(2)}), "two")
    other = read_folder(write(tmp_path / "three", {"a.png": png(1), "b.png": png(3)}), "one")
    assert one.sha256 == renamed.sha256
    assert one.sha256 != other.sha256
    members = sorted(hashlib.sha256(png(value)).hexdigest() for value in (1, 2))
    assert one.sha256 == hashlib.sha256("\n".join(members).encode()).hexdigest()


def test_shared_pictures_can_be_parted(tmp_path):
    a = read_folder(write(tmp_path / "a", {"1.png": png(1), "2.png": png(2)}), "a")
    b = read_folder(write(tmp_path / "b", {"x/two.png": png(2), "x/3.png": png(3)}), "b")
    assert shared(a, b) == (Duplicate("2.png", "x/two.png"),)
    parted = a.without(each.name for each in shared(a, b))
    assert [image.name for image in parted.images] == ["1.png"]
    assert shared(parted, b) == ()


def test_files_from_several_folders_keep_different_names(tmp_path):
    write(tmp_path, {"x/1.png": png(1), "y/1.png": png(2), "z.csv": b"file,label\n1.png,wrong\n"})
    images = read_files([tmp_path / "y/1.png", tmp_path / "x/1.png"], "mine")
    assert [image.name for image in images.images] == ["x/1.png", "y/1.png"]
    assert [image.label for image in images.images] == ["x", "y"]
    single = read_files([tmp_path / "y/1.png"], "mine").images[0]
    assert (single.name, single.label) == ("1.png", None)
    with pytest.raises(ImageError, match="no image"):
        read_files([], "mine")


def test_folder_zip_and_file_give_the_same_contents(tmp_path):
    folder = write(tmp_path / "folder", {"cat/1.png": png(1), "dog/2.png": png(2)})
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        for path in folder.rglob("*.png"):
            archive.write(path, "wrapper" / path.relative_to(folder))
    by_folder = read_images(folder, "mine", tmp_path / "unused")
    by_zip = read_images(tmp_path / "packed.zip", "mine", tmp_path / "into")
    assert by_zip.sha256 == by_folder.sha256
    assert [image.label for image in by_zip.images] == ["cat", "dog"]
    assert not (tmp_path / "unused").exists()
    assert len(read_images(folder / "cat/1.png", "mine", tmp_path / "unused")) == 1
    for wrong in ("nowhere", "folder/../text.txt"):
        (tmp_path / "text.txt").write_text("hello")
        with pytest.raises(ImageError, match=r"does not exist|not a ZIP"):
            read_images(tmp_path / wrong, "mine", tmp_path / "unused")


LABELS = st.lists(st.sampled_from(["a", "b", "c", "d", None]), min_size=2, max_size=60)


def labelled(labels):
    return ImageSet(
        "mine",
        tuple(
            ImageFile(Path(f"{at:03}.png"), f"{at:03}.png", f"{at:064x}", label)
            for at, label in enumerate(labels)
        ),
    )


@pytest.mark.slow
@given(LABELS, st.floats(0.01, 0.99), st.integers(0, 2**32 - 1))
def test_a_split_is_a_seeded_stratified_partition(labels, share, seed):
    whole = labelled(labels)
    first, second = whole.split(share, seed)
    assert sorted((*first.images, *second.images), key=lambda image: image.name) == list(
        whole.images
    )
    assert len(first) + len(second) == len(whole)
    assert len(first) > 0
    assert len(second) > 0
    for part in (first, second):
        assert list(part.images) == sorted(part.images, key=lambda image: image.name)
    in_first, in_second = (
        Counter(image.label for image in part.images) for part in (first, second)
    )
    for label, count in Counter(labels).items():
        if count >= 2:
            assert in_first[label] >= 1
            assert in_second[label] >= 1
            exact = min(max(share * count, 1), count - 1)
            assert abs(in_first[label] - exact) <= 1 + 1e-9
    again, _ = labelled(labels).split(share, seed)
    assert again == first


@pytest.mark.slow
@given(st.integers(2, 200), st.floats(0.05, 0.95))
def test_singleton_classes_are_shared_out_in_proportion(count, share):
    first, _ = labelled([f"class {at}" for at in range(count)]).split(share, 7)
    assert abs(len(first) - min(max(count * share, 1), count - 1)) <= 1


def test_seeds_matter_and_wrong_shares_are_refused():
    whole = labelled(["a"] * 20 + ["b"] * 20)
    halves = {tuple(image.name for image in whole.split(0.5, seed)[0].images) for seed in range(5)}
    assert len(halves) == 5
    for share in (0, 1, -0.5, float("nan")):
        with pytest.raises(SpecError, match="between 0 and 1"):
            whole.split(share, 0)
    with pytest.raises(ImageError, match="at least two"):
        labelled(["a"]).split(0.5, 0)


def test_no_label_is_favoured_when_there_are_too_few_places():
    """One of two single images goes to each half; over seeds either may be the one."""
    whole = labelled(["a", "b"])
    assert {whole.split(0.5, seed)[0].images[0].label for seed in range(20)} == {"a", "b"}
