"""Labels from folders, tables and names, and the rules that find their class indices."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from places import DATA

from gsc_core.errors import ImageError, SpecError
from gsc_core.images import class_indices, read_folder

PHOTOS = DATA / "imagenet-sample"


def labels(root, names, table=None):
    for at, name in enumerate(names):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8), (at, 0, 0)).save(buffer, "PNG")
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(buffer.getvalue())
    return {image.name: image.label for image in read_folder(root, "mine", table).images}


def test_class_folders(tmp_path):
    found = labels(tmp_path, ["cat/1.png", "cat/deep/2.png", "dog/1.png"])
    assert found == {"cat/1.png": "cat", "cat/deep/2.png": "cat", "dog/1.png": "dog"}


def test_one_class_folder_is_a_label_and_a_common_folder_is_none(tmp_path):
    assert labels(tmp_path / "a", ["cat/1.png", "cat/2.png"]) == dict.fromkeys(
        ["cat/1.png", "cat/2.png"], "cat"
    )
    found = labels(tmp_path / "b", ["set/cat/1.png", "set/dog/2.png"])
    assert list(found.values()) == ["cat", "dog"]


def test_one_picture_outside_folders_leaves_all_without_labels(tmp_path):
    assert set(labels(tmp_path, ["cat/1.png", "dog/2.png", "3.png"]).values()) == {None}


def test_wordnet_ids_in_every_name_of_a_flat_folder(tmp_path):
    found = labels(tmp_path / "a", ["n02165456_ladybug.png", "n01440764.png"])
    assert found == {"n02165456_ladybug.png": "n02165456", "n01440764.png": "n01440764"}
    mixed = labels(tmp_path / "b", ["n02165456_ladybug.png", "ladybug.png", "n021654567.png"])
    assert set(mixed.values()) == {None}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_a_table_in_the_folder(tmp_path, delimiter, bom):
    rows = [
        ["Filename", "note", "Class"],
        ["a/1.png", "by path", "cat"],
        ["3.png", "by bare name", "dog"],
        ["1.png", "this bare name is there twice", "wrong"],
        [".\\b\\1.png", "a path from Windows", "=cmd|' /C calc'!A0"],
        ["b/4.png", "", ""],
        ["absent.png", "", "nothing"],
        ["too short"],
        [],
    ]
    text = "\r\n".join(delimiter.join(row) for row in rows)
    (tmp_path / "labels.csv").write_bytes(bom + text.encode())
    (tmp_path / "._labels.csv").write_bytes(b"\x00\x05\x16\x07")  # what macOS leaves behind
    found = labels(tmp_path, ["a/1.png", "b/1.png", "b/3.png", "b/4.png", "c/1.png"])
    assert found == {
        "a/1.png": "cat",
        "b/1.png": "=cmd|' /C calc'!A0",
        "b/3.png": "dog",
        "b/4.png": None,
        "c/1.png": None,
    }


def test_a_table_inside_the_one_folder_of_an_archive(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "y.csv").write_text("image,y\nimages/1.png,7\n")
    assert labels(tmp_path, ["set/images/1.png"]) == {"set/images/1.png": "7"}


def test_tables_that_are_not_about_these_pictures_are_passed_over(tmp_path):
    for folder, text in {
        "a": "time,value\n1,2\n",
        "b": "file,label\nother.png,x\n",
        "c": "",
    }.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.csv").write_text(text)
        assert list(labels(tmp_path / folder, ["k/1.png"]).values()) == ["k"]


def test_two_tables_decide_nothing_but_one_can_be_named(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text(f"file,label\n1.png,{name}\n")
    assert labels(tmp_path, ["1.png"]) == {"1.png": None}
    assert labels(tmp_path, ["1.png"], tmp_path / "b.csv") == {"1.png": "b"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a,b\n1,2\n", "no columns"),
        (b"", "no columns"),
        (b"file,label\nother.png,x\n", "names none"),
        (b"file,label\n1.png,x\n1.png,y\n", "two labels"),
        (b"file,label\n1.png,caf\xe9\n", "UTF-8"),
        (b"file,label\n1.png," + b"x" * 200_000 + b"\n", "not a CSV"),
    ],
)
def test_a_named_table_that_cannot_be_used(tmp_path, content, reason):
    table = tmp_path / "t.csv"
    table.write_bytes(content)
    with pytest.raises(ImageError, match=rf"^t\.csv .*{reason}"):
        labels(tmp_path / "images", ["1.png"], table)
    with pytest.raises(ImageError, match="cannot be opened"):
        labels(tmp_path / "images", ["1.png"], tmp_path / "nowhere.csv")


NAMES = ["Stop sign", "give-way", "No_Entry", "crane", "crane"]


@pytest.mark.parametrize(
    ("given_labels", "names", "classes", "expected", "how"),
    [
        (["give-way", "Stop sign"], NAMES, 5, (1, 0), "class names."),
        (["stop_sign", "GIVE WAY", "no-entry"], NAMES, 5, (0, 1, 2), "class names."),
        (["Stop sign", "zebra", None], NAMES, 5, (0, -1, -1), "names; 2 of 3 images"),
        (["crane", "Stop sign"], NAMES, 5, (-1, 0), "1 of 2"),
        (["a b", "a-b", "ab", "A B"], ["a-b", "a b"], 2, (1, 0, -1, -1), "2 of 4"),
        (["1", "0"], ["1", "0"], 2, (0, 1), "class names"),
        (["3", "0", "4"], NAMES, 5, (3, 0, 4), "class numbers"),
        (["3.0", "04", None], None, 5, (3, 4, -1), "class numbers; 1 of 3"),
        (["dog", "cat", "dog"], None, 2, (1, 0, 1), "alphabetical"),
        (["dog", "cat", "dog"], ["x", "y"], 2, (1, 0, 1), "alphabetical"),
        (["1", "5"], None, 5, (0, 4), "begin with 1"),
        (["1", "6"], None, 5, (-1, -1), "None of the 2 labels"),
        (["-1", "2"], None, 5, (-1, -1), "None of the 2 labels"),
        (["n01440764", "n01443537"], None, 5, (-1, -1), "None of the 2 labels"),
        (["dog"], None, 2, (-1,), "rename the folders"),
        ([None, None, ""], None, 2, (-1, -1, -1), "carry no labels"),
        ([], None, 2, (), "carry no labels"),
        (["9" * 5000], None, 5, (-1,), "None of the 1 labels"),
        (["²", "٣"], None, 5, (-1, -1), "None of the 2 labels"),
    ],
)
def test_the_rules_in_their_order(given_labels, names, classes, expected, how):
    match = class_indices(given_labels, names, classes)
    assert match.indices == expected
    assert how in match.how
    assert match.how.endswith(".")
    assert len(match.how) < 300


def test_wordnet_ids_of_imagenet():
    """Known by heart from ILSVRC: tench is 0, ladybug 301, toilet tissue 999."""
    given_labels = ["n01440764_tench", "n02165456", "n15075141", "n99999999", "toad"]
    match = class_indices(given_labels, None, 1000)
    assert match.indices == (0, 301, 999, -1, -1)
    assert "WordNet" in match.how


def test_the_imagenet_sample_gets_its_sorted_order():
    if not PHOTOS.is_dir():
        pytest.skip(f"the real photos are not here: {PHOTOS}")
    images = read_folder(PHOTOS, "ImageNet")
    match = class_indices([image.label for image in images.images], None, 1000)
    assert match.indices == tuple(range(1000))


@given(st.data())
def test_indices_are_in_range_and_say_the_same_for_the_same_label(data):
    some = data.draw(st.lists(st.one_of(st.none(), st.text(max_size=4)), max_size=20))
    names = data.draw(st.lists(st.text(max_size=4), min_size=1, max_size=6))
    match = class_indices(some, names, len(names))
    assert len(match.indices) == len(some)
    assert all(-1 <= index < len(names) for index in match.indices)
    assert len(set(zip(some, match.indices, strict=True))) == len(set(some))


def test_as_many_names_as_classes():
    with pytest.raises(SpecError, match="2 class names for 3 classes"):
        class_indices(["a"], ["a", "b"], 3)
