"""Class names that only the images' labels show: what a page says instead of "class 3"."""

from pathlib import Path

import pytest
from small_audit import model, write_stage
from small_run import spec_of
from torch import nn

from gsc_core.audit.class_names import with_names_of_labels
from gsc_core.audit.run import run_audit
from gsc_core.classifier import Preprocessing
from gsc_core.classifier.load import Classifier, classifier_from_module
from gsc_core.images import ImageFile
from gsc_core.run.gallery import class_name

PLAIN = Preprocessing(resize=12, crop=(12, 12))


def classifier(names: list[str] | None = None) -> Classifier:
    module: nn.Module = model()
    return classifier_from_module(module, PLAIN, names)


def named(of: Classifier, *labels: tuple[str | None, int]) -> tuple[str, ...] | None:
    images = [
        ImageFile(Path("x.png"), "x.png", str(i), label) for i, (label, _) in enumerate(labels)
    ]
    return with_names_of_labels(
        of, images, {str(i): at for i, (_, at) in enumerate(labels)}
    ).class_names


@pytest.mark.slow
def test_labels_name_the_classes_that_they_were_matched_with() -> None:
    classes = classifier().num_classes
    labels = [(f"kind {9 - at}", at) for at in range(classes)]
    wanted = tuple(label for label, _ in labels)
    assert named(classifier(), *labels, *labels[::-1], (None, -1), ("other", -1)) == wanted


@pytest.mark.slow
@pytest.mark.parametrize("case", ["a class without images", "two names of one class", "numbers"])
def test_labels_that_are_no_names_leave_the_numbers(case: str) -> None:
    classes = classifier().num_classes
    labels = [(f"kind {at}", at) for at in range(classes)]
    changed = {
        "a class without images": labels[1:],
        "two names of one class": [*labels, ("another", 0)],
        "numbers": [(str(at + 1), at) for at in range(classes)],
    }[case]
    assert named(classifier(), *changed) is None


@pytest.mark.slow
def test_names_that_the_model_has_stay() -> None:
    own = [f"own {at}" for at in range(classifier().num_classes)]
    labels = [(f"kind {at}", at) for at in range(len(own))]
    assert named(classifier(own), *labels) == tuple(own)


@pytest.mark.slow
def test_an_audit_of_named_folders_shows_their_names(tmp_path: Path) -> None:
    stage = write_stage(tmp_path / "stage")
    for folder in (stage / "id", stage / "calibration"):
        for of_class in sorted(folder.iterdir()):
            of_class.rename(folder / f"kind {of_class.name}")
    run = run_audit(spec_of(stage, names=("energy",)), tmp_path / "run")
    assert class_name(run, 1) == "kind 1"
    assert run.settings.class_names == tuple(
        f"kind {at}" for at in range(run.settings.classes or 0)
    )
