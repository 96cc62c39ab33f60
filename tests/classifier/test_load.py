"""From a specification, or one's own module, to a Classifier."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.export import Dim
from torchvision.models import squeezenet1_1

from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.classifier.installation import check_installation
from gsc_core.classifier.load import Classifier, classifier_from_module, load_classifier
from gsc_core.classifier.metadata import read_class_names
from gsc_core.classifier.weights import architectures
from gsc_core.errors import CheckpointError, GscError, SpecError

NAMES = ("ant", "bee", "cat", "dog", "eel")
SMALL = Preprocessing(resize=64, crop=(64, 64))


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(0)
    return squeezenet1_1(num_classes=5).eval()


@pytest.fixture(scope="module")
def weights(module: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "weights.pt"
    torch.save({"state_dict": module.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def program(module: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "model.pt2"
    shapes = ({0: Dim("batch")},)
    images = torch.randn(2, 3, 64, 64)
    torch.export.save(torch.export.export(module, (images,), dynamic_shapes=shapes), path)
    return path


def assert_gives(classifier: Classifier, module: nn.Module) -> None:
    for batch in (1, 2, 5):
        images = torch.randn(batch, 3, *classifier.preprocessing.crop)
        with torch.no_grad():
            expected = module(images)
        torch.testing.assert_close(classifier.program.module()(images), expected)
    assert not any(parameter.requires_grad for parameter in classifier.program.parameters())
    assert classifier.parameters == sum(p.numel() for p in module.parameters())
    assert classifier.num_classes == 5


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["squeezenet1_1", "torchvision/squeezenet1_1"])
def test_weights_with_a_named_architecture(
    architecture: str, weights: Path, module: nn.Module
) -> None:
    spec = ModelSpec(checkpoint=weights, architecture=architecture, preprocessing=SMALL)
    classifier = load_classifier(spec)
    assert_gives(classifier, module)
    assert classifier.architecture == "torchvision/squeezenet1_1"
    assert classifier.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert classifier.source == "weights.pt"


@pytest.mark.slow
def test_a_program_needs_no_architecture(program: Path, module: nn.Module) -> None:
    classifier = load_classifier(ModelSpec(checkpoint=program))
    assert_gives(classifier, module)
    assert classifier.preprocessing.source == "assumed"
    assert classifier.preprocessing.crop == (64, 64)
    assert classifier.architecture is None


@pytest.mark.slow
def test_one_s_own_module(module: nn.Module) -> None:
    trained = squeezenet1_1(num_classes=5).train()
    trained.load_state_dict(module.state_dict())
    classifier = classifier_from_module(trained, SMALL, NAMES, source="mine")
    assert_gives(classifier, module)
    assert (classifier.class_names, classifier.source) == (NAMES, "mine")
    assert trained.training, "the user's module must stay as it was"
    assert all(parameter.requires_grad for parameter in trained.parameters())
    again = classifier_from_module(module, SMALL)
    assert again.sha256 == classifier.sha256
    with torch.no_grad():
        next(trained.parameters()).view(-1)[0] += 1
    assert classifier_from_module(trained, SMALL).sha256 != classifier.sha256


@pytest.mark.slow
def test_safetensors_metadata_fills_what_was_left_open(module: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    metadata = {
        "architecture": "squeezenet1_1",
        "options": json.dumps({"dropout": 0.1}),
        "class_names": json.dumps(NAMES),
        "preprocessing": SMALL.model_dump_json(),
    }
    safetensors.torch.save_file(module.state_dict(), path, metadata=metadata)
    classifier = load_classifier(ModelSpec(checkpoint=path))
    assert_gives(classifier, module)
    assert classifier.class_names == NAMES
    assert classifier.preprocessing == SMALL.model_copy(update={"source": "file"})
    given = Preprocessing(resize=96, crop=(96, 96))
    assert load_classifier(ModelSpec(checkpoint=path, preprocessing=given)).preprocessing == given


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"architecture": "local-dir:/etc"}, "architecture"),
        ({"architecture": "hf_hub/evil"}, "no architecture"),
        ({"architecture": "squeezenet1_1", "options": '{"weights": "DEFAULT"}'}, "weights"),
        (
            {"architecture": "timm/resnet18", "options": '{"checkpoint_path": "x"}'},
            "checkpoint_path",
        ),
        ({"architecture": "squeezenet1_1", "options": '{"dropout": {"a": 1}}'}, "options"),
        ({"options": "not json"}, "options"),
        ({"class_names": '{"0": "a"}'}, "class_names"),
        ({"class_names": "[1, 2]"}, "class_names"),
        ({"preprocessing": '{"crop": -1}'}, "preprocessing"),
        ({"preprocessing": '{"crop": 64, "run": "x"}'}, "preprocessing"),
    ],
)
def test_hostile_metadata_is_refused(
    metadata: dict[str, str], said: str, module: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(module.state_dict(), path, metadata=metadata)
    with pytest.raises(GscError, match=said):
        load_classifier(ModelSpec(checkpoint=path))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "name the architecture"),
        ({"architecture": "squeezenet1_0"}, "do not fit torchvision/squeezenet1_0"),
        ({"architecture": "sqeezenet1_1"}, "did you mean squeezenet1_1"),
        ({"architecture": "squeezenet1_1", "options": {"wings": 2}}, "wings"),
        ({"architecture": "squeezenet1_1", "options": {"num_classes": 6}}, "5 classes.*say 6"),
    ],
)
def test_wrong_specifications_for_weights(
    arguments: dict[str, Any], said: str, weights: Path
) -> None:
    with pytest.raises(GscError, match=said) as refusal:
        load_classifier(ModelSpec(checkpoint=weights, **arguments))
    assert "\n" not in str(refusal.value)


def test_images_of_a_size_that_cannot_be() -> None:
    for size in (10**6, [96], "large"):
        with pytest.raises(SpecError, match="cannot be made"):
            architectures.assumed_preprocessing("timm/test_vit", {"img_size": size})
    wide = architectures.assumed_preprocessing("timm/test_vit", {"img_size": [64, 96]})
    assert wide.crop == (64, 96)


@pytest.mark.slow
def test_wrong_specifications_for_programs(program: Path) -> None:
    with pytest.raises(SpecError, match="whole program"):
        load_classifier(ModelSpec(checkpoint=program, architecture="squeezenet1_1"))
    with pytest.raises(SpecError, match=r"64×64 pixels.*crops to 224×224"):
        load_classifier(ModelSpec(checkpoint=program, preprocessing=Preprocessing()))
    with pytest.raises(SpecError, match="No model was named"):
        load_classifier(ModelSpec())


@pytest.mark.slow
def test_class_names_must_be_as_many_as_the_classes(program: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join(NAMES) + "\n")
    assert load_classifier(ModelSpec(checkpoint=program, class_names=names)).class_names == NAMES
    names.write_text("ant\nbee\n")
    with pytest.raises(CheckpointError, match="has 5 classes, but there are 2 names"):
        load_classifier(ModelSpec(checkpoint=program, class_names=names))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("n.txt", "ant\nbee\r\ncat"),
        ("n.txt", "\ufeffant\nbee\ncat\n\n"),
        ("n.json", '["ant", "bee", "cat"]'),
        ("n.json", '{"2": "cat", "0": "ant", "1": "bee"}'),
    ],
)
def test_class_name_files(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    assert read_class_names(tmp_path / name) == ("ant", "bee", "cat")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("n.txt", b"", "one name per class"),
        ("n.txt", b"ant\n\nbee", "without gaps"),
        ("n.txt", b"\xff\xfe\x00", "UTF-8"),
        ("n.json", b"[1, 2]", "one name per class"),
        ("n.json", b'{"0": "a", "2": "b"}', "from 0 without gaps"),
        ("n.json", b"{", "not valid JSON"),
        ("n.json", b"[" * 100_000, "not valid JSON"),
        ("n.json", b'"ant"', "a list of names"),
    ],
)
def test_broken_class_name_files(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SpecError, match=said):
        read_class_names(tmp_path / name)


def test_missing_class_name_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        read_class_names(tmp_path / "none.txt")


class Two(nn.Module):
    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return images.mean((1, 2)).sum(), images


class PerImage(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.stack([image.mean((1, 2)) for image in images])


class Fails(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raise KeyError("out of paper")


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (Two(), "one tensor of logits"),
        (nn.Conv2d(3, 2, 1), "one tensor of logits"),
        (PerImage(), "cannot be run and exported|batches of 2 only"),
        (Fails(), "out of paper"),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 2)).bfloat16(), "bfloat16"),
        (
            nn.Sequential(
                nn.BatchNorm2d(3, track_running_stats=False), nn.Flatten(), nn.Linear(192, 2)
            ),
            "training mode",
        ),
    ],
)
def test_modules_that_are_no_classifiers(module: nn.Module, said: str) -> None:
    with pytest.raises(CheckpointError, match=said) as refusal:
        classifier_from_module(module, Preprocessing(resize=8, crop=(8, 8)))
    assert "\n" not in str(refusal.value)


def test_bare_names_prefer_torchvision() -> None:
    assert architectures.resolve("resnet18") == "torchvision/resnet18"
    assert architectures.resolve("timm/resnet18") == "timm/resnet18"
    assert architectures.resolve("vit_tiny_patch16_224") == "timm/vit_tiny_patch16_224"
    assert architectures.usual_size("inception_v3") == (299, 299)
    assert architectures.usual_size("resnet18") == (224, 224)
    found = architectures.names()
    assert not [name for name in found if "deeplab" in name or "raft" in name]
    assert len(found) > 1000


def test_weights_that_cannot_be_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real loader, stopped at its cache folder, which is a file here: no network is asked."""
    (tmp_path / "checkpoints").write_text("a file where a folder should be")
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    with pytest.raises(CheckpointError, match="could not be downloaded: pass a checkpoint"):
        load_classifier(ModelSpec(architecture="squeezenet1_1", pretrained=True))


def test_pretrained_is_an_architecture_alone(weights: Path) -> None:
    with pytest.raises(SpecError, match="only with an architecture"):
        load_classifier(ModelSpec(pretrained=True))
    with pytest.raises(SpecError, match="only with an architecture"):
        load_classifier(ModelSpec(checkpoint=weights, architecture="resnet18", pretrained=True))


def test_this_installation_is_complete() -> None:
    check_installation()


def test_torchvision_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.extension", None)
    with pytest.raises(GscError, match=r"cannot be imported together: install both together"):
        check_installation()


def test_torch_of_another_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Package metadata as an older torch would leave it, found first on the path."""
    info = tmp_path / "torch-2.13.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(GscError, match=r"torch 2\.13\.0 and torchvision .* do not fit together"):
        check_installation()
