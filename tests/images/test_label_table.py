"""Label tables as people have them, and tables beside class folders."""

import io
import tracemalloc
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gsc_core.errors import ImageError
from gsc_core.images import class_indices, label_table, read_archive, read_folder


def image_bytes(at):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (at, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def write(root, names):
    for at, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(image_bytes(at))
    return root


def labels(images):
    return {image.name: image.label for image in images.images}


def read(root, names, text, table="labels.csv", **more):
    write(root, names)
    (root / table).write_text(text, encoding="utf-8")
    return read_folder(root, "mine", **more)


NAMES = ["cats/img_1.png", "dogs/img_2.png"]


@pytest.mark.parametrize(
    "text",
    [
        "id,label\nimg_1,cat\nimg_2,dog\n",
        "image_id,dx\nimg_1,cat\nimg_2,dog\n",
        "ImageId;Class\nimg_1;cat\nimg_2;dog\n",
        "File Name\tCategory\nimg_1.png\tcat\nimg_2.png\tdog\n",
        "file_name,diagnosis\ncats/img_1.png,cat\ndogs/img_2.png,dog\n",
        "path,target\n/home/ann/data/cats/img_1.png,cat\n/home/ann/data/dogs/img_2.png,dog\n",
        "path,target\nC:\\data\\cats\\img_1.png,cat\nC:\\data\\dogs\\img_2.png,dog\n",
        "path,label\ntrain/img_1.jpg,cat\ntrain/img_2.jpg,dog\n",
        ",filename,width,class\n0,img_1.png,8,cat\n1,img_2.png,8,dog\n",
        "Unnamed: 0,photo,what\n0,img_1.png,cat\n1,img_2.png,dog\n",
        "img_1.png,cat\nimg_2.png,dog\n",
        "image,cat,dog,bird\nimg_1,1.0,0.0,0.0\nimg_2,0.0,1.0,0.0\n",
        "dog,image_name,cat,age\n0,img_1.png,1,33\n1,img_2.png,0,47\n",
    ],
)
def test_tables_of_many_forms(tmp_path, text):
    write(tmp_path / "images", NAMES)
    table = tmp_path / "table.csv"
    table.write_text(text, encoding="utf-8")
    images = read_folder(tmp_path / "images", "mine", table)
    assert labels(images) == {"cats/img_1.png": "cat", "dogs/img_2.png": "dog"}
    assert images.label_source.startswith("They come from table.csv (")


def test_a_table_without_commas(tmp_path):
    write(tmp_path / "images", NAMES)
    (tmp_path / "list.txt").write_text("cats/img_1.png 0\ndogs/img_2.png 1\n")
    images = read_folder(tmp_path / "images", "mine", tmp_path / "list.txt")
    assert set(labels(images).values()) == {"0", "1"}


def test_names_that_fit_two_images_or_two_rows_decide_nothing(tmp_path):
    names = ["a/1.png", "b/1.png", "c/2.png"]
    found = read(tmp_path, names, "file,label\n1,x\nd/2.png,y\ne/2.png,z\n")
    assert list(labels(found).values()) == ["a", "b", "c"]  # as the folders say
    assert "labels.csv is not used: it has no label for any" in found.label_source


def test_rows_of_a_one_hot_table_with_none_or_two_ones_have_no_label(tmp_path):
    text = "image,cat,dog\n1,1,0\n2,0,1\n3,1,0\n4,0,0\n5,1,1\n"
    images = read(tmp_path, [f"{at}.png" for at in range(1, 6)], text)
    assert list(labels(images).values()) == ["cat", "dog", "cat", None, None]
    assert "each of 2 classes" in images.label_source


def test_a_table_that_agrees_with_the_folders(tmp_path):
    images = read(tmp_path, ["cat/1.png", "dog/2.png"], "file,label\n1.png,cat\n")
    assert labels(images) == {"cat/1.png": "cat", "dog/2.png": "dog"}
    assert images.label_source == "They come from the folders, with which labels.csv agrees."
    assert not images.label_question


def test_a_table_that_numbers_the_folders(tmp_path):
    names = ["cat/1.png", "dog/2.png", "dog/3.png"]
    images = read(tmp_path, names, "file,label\n1.png,7\n2.png,3\n")
    assert list(labels(images).values()) == ["7", "3", "3"]
    assert "labels.csv" in images.label_source
    assert not images.label_question


@pytest.mark.parametrize(
    "given",
    [
        {"1": "dog", "2": "cat", "3": "dog", "4": "dog"},
        {"1": "cat", "2": "dog", "3": "dog", "4": "dog"},
        {"1": "0", "2": "0", "3": "0", "4": "1", "5": "1", "6": "0"},
    ],
)
def test_a_table_that_disagrees_with_the_folders_is_asked_about(tmp_path, given):
    names = ["cat/1.png", "cat/2.png", "cat/3.png", "dog/4.png", "dog/5.png", "dog/6.png"]
    rows = "".join(f"{file},{label}\n" for file, label in given.items())
    images = read(tmp_path, names, f"id,label\n{rows}")
    assert images.label_question is not None
    assert "labels labels.csv or labels folders" in str(images.label_question)
    with pytest.raises(ImageError, match=r"^mine has labels in labels\.csv and in its folders"):
        images.with_sure_labels()
    by_folder = read_folder(tmp_path, "mine", "folders").with_sure_labels()
    assert set(labels(by_folder).values()) == {"cat", "dog"}
    by_table = read_folder(tmp_path, "mine", tmp_path / "labels.csv").with_sure_labels()
    assert labels(by_table)["cat/1.png"] == given["1"]


def test_folders_that_are_no_classes_are_not_asked_about(tmp_path):
    names = [f"day-{at % 2}/{at}.png" for at in range(8)]
    rows = "".join(f"{at},{'cat' if at < 4 else 'dog'}\n" for at in range(8))
    images = read(tmp_path, names, f"id,label\n{rows}")
    assert list(labels(images).values()).count("cat") == 4
    assert not images.label_question
    assert images.label_source.endswith("The folders are not used.")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("file,label\nother.png,x\n", "names none"),
        ("time,value\n1,2\n", "no columns"),
        ("file,score\n1.png,0.3\n2.png,0.7\n", "none of its columns is named like labels"),
        ("file,label\n1.png,caf\x00\udce9\n", "not a CSV table"),
        ("file,label\n1.png,\n", "no label for any"),
    ],
)
def test_a_table_that_is_not_used_is_said(tmp_path, text, why):
    write(tmp_path, ["cat/1.png", "dog/2.png"])
    (tmp_path / "notes.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    images = read_folder(tmp_path, "mine")
    assert set(labels(images).values()) == {"cat", "dog"}
    assert "notes.csv is not used:" in images.label_source
    assert why in images.label_source


def test_of_several_tables_that_which_names_the_images_is_taken(tmp_path):
    write(tmp_path, ["1.png", "2.png"])
    (tmp_path / "train.csv").write_text("id,label\n1,cat\n2,dog\n")
    (tmp_path / "sample_submission.csv").write_text("id,label\n8,cat\n9,cat\n")
    images = read_folder(tmp_path, "mine")
    assert list(labels(images).values()) == ["cat", "dog"]
    assert "sample_submission.csv is not used" in images.label_source


def test_which_of_two_tables_that_differ_is_asked(tmp_path):
    write(tmp_path, ["1.png"])
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text(f"file,label\n1.png,{name}\n")
    images = read_folder(tmp_path, "mine")
    assert labels(images) == {"1.png": None}
    assert not images.label_source
    with pytest.raises(ImageError, match=r"^mine has labels in a\.csv and b\.csv, and they differ"):
        images.with_sure_labels()
    chosen = read_folder(tmp_path, "mine", Path("b.csv")).with_sure_labels()
    assert labels(chosen) == {"1.png": "b"}


def test_a_tab_separated_table_in_an_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("set/1.png", image_bytes(1))
        archive.writestr("set/labels.tsv", "file\tlabel\n1.png\tcat\n")
    images = read_archive(tmp_path / "set.zip", "mine", tmp_path / "into")
    assert labels(images) == {"set/1.png": "cat"}


def test_parts_of_a_data_set_are_asked_about_unless_a_table_is_named(tmp_path):
    images = read(tmp_path, ["train/1.png", "test/2.png"], "file,label\n1.png,x\n2.png,y\n")
    either = "choose its folder test alone or its folder train alone or labels labels.csv"
    with pytest.raises(ImageError, match=f"data set, test and train, .*: {either}"):
        images.with_sure_labels()
    named = read_folder(tmp_path, "mine", Path("labels.csv")).with_sure_labels()
    assert set(labels(named).values()) == {"x", "y"}


COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Zebrastreifen-Ä é") for form in ("NFC", "NFD"))


@pytest.mark.parametrize("stored", [COMPOSED, DECOMPOSED])
@pytest.mark.parametrize("meant", [COMPOSED, DECOMPOSED])
def test_unicode_in_another_form_is_the_same_name(tmp_path, stored, meant):
    write(tmp_path / "folders", [f"{stored}/1.png", "b/2.png"])
    found = read_folder(tmp_path / "folders", "mine")
    match = class_indices([image.label for image in found.images], [meant, "b"], 2)
    assert sorted(match.indices) == [0, 1]
    assert match.order == "names"
    text = f"file,label\n{meant}.png,{stored}\n"
    listed = read(tmp_path / "table", [f"{stored}.png"], text)
    assert list(labels(listed).values()) == [COMPOSED]


def named_by(cell: str, names: list[str]) -> list[str]:
    """By hand: the images that a cell means, by the longest end of its path that any has."""
    parts = cell.split("/")
    for cut in (lambda path: path, lambda path: path.removesuffix(".png")):
        for at in range(len(parts)):
            end = [*parts[at:-1], cut(parts[-1])]
            found = [n for n in names if cut(n).split("/")[-len(end) :] == end]
            if len(found) == 1 or (found and at == 0 and len(parts) > 1):
                return found
            if found:
                break
    return []


@pytest.mark.parametrize("seed", range(20))
def test_images_are_those_whose_paths_end_as_a_cell_does(seed):
    random = np.random.default_rng(seed)

    def path(depth):
        folders = [str(random.choice(["a", "b", "c"])) for _ in range(depth)]
        return "/".join([*folders, f"{random.integers(6)}.png"])

    names = sorted({path(random.integers(0, 4)) for _ in range(40)})
    finder = label_table._Finder(names)
    for cell in [*(path(random.integers(0, 5)) for _ in range(100)), *names, "x/y/1.png", "9", ""]:
        for typed in (cell, cell.removesuffix(".png")):
            assert finder.images_of(typed) == named_by(typed, names), typed


@pytest.mark.slow
def test_a_million_images_would_take_little_memory():
    """In proportion: measured on fewer, as a bound on what is kept of each."""
    names = [f"train/class {at % 100}/image {at:06}.jpg" for at in range(20_000)]
    tracemalloc.start()
    finder = label_table._Finder(names)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert finder.images_of("image 000042.jpg") == [names[42]]
    assert kept < 100 * len(names)
