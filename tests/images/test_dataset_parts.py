"""A data set's root is recognised by its folders' names; classes of such names stay classes."""

import pytest

from gsc_core.images.dataset_parts import parts_of, repeated_folders


def names(*folders, each=2):
    return [f"{folder}/{at}.png" for folder in folders for at in range(each)]


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (("train/cat", "train/dog", "test/cat", "test/dog"), ("test", "train")),
        (("train", "test"), ("test", "train")),
        (("Train/a", "Valid/a"), ("Valid", "Train")),
        (("TRAINING/a", "Validation/a", "Testing/a"), ("Testing", "Validation", "TRAINING")),
        (("train/images/a", "dev/images/a"), ("dev", "train")),
        (("images/train/a", "images/val/a"), ("images/val", "images/train")),
        (("set/deep/train/a", "set/deep/val/a"), ("set/deep/val", "set/deep/train")),
        (("seg_train/seg_train/a", "seg_test/seg_test/a"), ("seg_test", "seg_train")),
        (("train2017", "val2017"), ("val2017", "train2017")),
        (("TrainImages/a", "TestImages/a"), ("TestImages", "TrainImages")),
        (("test_set/test_set/a", "training_set/training_set/a"), ("test_set", "training_set")),
    ],
)
def test_roots(folders, expected):
    found = parts_of(names(*folders))
    assert found is not None
    assert found.folders == expected


@pytest.mark.parametrize(
    "folders",
    [
        ("train", "bus", "bicycle"),  # a class that is a railway's
        ("train station", "test tube", "beaker"),
        ("train/cat", "train/dog"),
        ("cat/train", "cat/test", "dog/train", "dog/test"),  # below each class
        ("test/cat", "testing/dog"),
        ("latest", "trainers", "values"),
    ],
)
def test_classes_of_such_names(folders):
    assert parts_of(names(*folders)) is None


def test_a_corner_of_a_set_does_not_make_it_a_root():
    assert parts_of([*names("cat", "dog", each=9), *names("old/train", "old/test", each=1)]) is None


def test_folders_that_hold_the_same_folders():
    assert repeated_folders(names("clean/cat", "clean/dog", "noisy/cat", "noisy/dog")) == (
        ("clean", "noisy"),
        ("cat", "dog"),
    )
    assert repeated_folders(names("x/a/cat", "x/a/dog", "x/b/cat", "x/b/dog")) is not None
    assert repeated_folders(names("cat/images", "dog/images")) is None
    assert repeated_folders(names("cat/1", "cat/2", "dog/3", "dog/4")) is None
    assert repeated_folders(names("cat", "dog")) is None
