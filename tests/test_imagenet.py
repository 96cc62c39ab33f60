"""ImageNet's class names: the libraries' own lists, and when they are used."""

from pathlib import Path

import pytest
import torch
from timm.data.imagenet_info import ImageNetInfo
from torch import nn
from torchvision.models import ResNet18_Weights

from gsc_core import imagenet
from gsc_core.audit.class_names import with_imagenet_names
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.classifier.load import classifier_from_module, load_classifier
from gsc_core.cli.options import model_spec
from gsc_core.images import ImageFile


def test_they_are_the_libraries_own() -> None:
    info = ImageNetInfo("imagenet-1k")
    assert imagenet.wordnet_ids() == tuple(map(info.index_to_label_name, range(1000)))
    assert imagenet.class_names() == tuple(ResNet18_Weights.DEFAULT.meta["categories"])
    assert imagenet.class_names()[815] == "spider web"
    assert len(set(imagenet.class_names())) == 1000


@pytest.mark.parametrize(
    ("labels", "classes", "meant"),
    [
        (["n04275548"], 1000, True),
        ([None, "n04275548_barn_spider"], 1000, True),
        (["photos/ILSVRC2012_val_00000001_n01440764.JPEG"], 1000, True),
        (["n04275548"], 999, False),
        (["spider web", "815", None], 1000, False),
        (["n99999999", "n042755489", "pn04275548"], 1000, False),
        ([], 1000, False),
    ],
)
def test_when_a_model_is_imagenets(labels: list[str | None], classes: int, meant: bool) -> None:
    assert imagenet.is_meant_by(labels, classes) is meant


def test_wordnet_ids_as_names_are_made_readable_in_their_order_alone() -> None:
    ids = imagenet.wordnet_ids()
    assert imagenet.readable(ids) == imagenet.class_names()
    assert imagenet.readable(ids[::-1]) == ids[::-1]
    assert imagenet.readable(None) is None


class Thousand(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 1000)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(images.mean((2, 3)))


def test_labels_give_a_model_of_a_thousand_classes_its_names() -> None:
    classifier = classifier_from_module(Thousand(), Preprocessing(resize=8, crop=(8, 8)))
    labelled, other = (
        [ImageFile(Path("x.png"), "x.png", "0" * 64, label)] for label in ("n04275548", "web")
    )
    assert with_imagenet_names(classifier, other).class_names is None
    named = with_imagenet_names(classifier, labelled)
    assert named.class_names == imagenet.class_names()
    mine = classifier_from_module(
        Thousand(), Preprocessing(resize=8, crop=(8, 8)), [f"c{i}" for i in range(1000)]
    )
    assert with_imagenet_names(mine, labelled) is mine


def test_a_person_may_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.export.save(
        torch.export.export(
            Thousand().eval(),
            (torch.randn(2, 3, 8, 8),),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        ),
        tmp_path / "m.pt2",
    )
    spec = ModelSpec(checkpoint=tmp_path / "m.pt2", class_names="imagenet")
    assert ModelSpec.model_validate_json(spec.model_dump_json()) == spec
    assert load_classifier(spec).class_names == imagenet.class_names()
    monkeypatch.chdir(tmp_path)
    assert model_spec(None, None, False, None, Path("imagenet")).class_names == "imagenet"
    (tmp_path / "imagenet").write_text("a\nb\n")
    assert model_spec(None, None, False, None, Path("imagenet")).class_names == Path("imagenet")
