"""Hugging Face folders: the same logits as the library that wrote them, its names, its pixels.

transformers is an extra of its own and not installed with the tests: its part runs where it is.
"""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from timm.models import save_for_hf
from torch import nn

from gsc_core import extras
from gsc_core.classifier import ModelSpec
from gsc_core.classifier.huggingface.configuration import Processor
from gsc_core.classifier.huggingface.shards import open_weights
from gsc_core.classifier.load import Classifier, load_classifier
from gsc_core.errors import CheckpointError, GscError, SpecError

NAMES = ["ant", "bee", "cat", "dog", "eel"]


def assert_same_logits(classifier: Classifier, module: nn.Module) -> None:
    images = torch.randn(2, 3, *classifier.preprocessing.crop)
    with torch.no_grad():
        torch.testing.assert_close(
            classifier.program.module()(images), module.eval()(images), rtol=1e-4, atol=1e-4
        )


@pytest.fixture
def timm_folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    module = timm.create_model("test_vit", num_classes=5, img_size=96, global_pool="avg")
    save_for_hf(
        module,
        str(tmp_path / "mine"),
        model_config={"label_names": NAMES},
        model_args={"img_size": 96, "global_pool": "avg"},
        safe_serialization="both",
    )
    return tmp_path / "mine"


def module_of(folder: Path) -> nn.Module:
    module = timm.create_model("test_vit", num_classes=5, img_size=96, global_pool="avg")
    module.load_state_dict(safetensors.torch.load_file(folder / "model.safetensors"))
    return module


@pytest.mark.slow
def test_a_folder_of_timm(timm_folder: Path) -> None:
    classifier = load_classifier(ModelSpec(checkpoint=timm_folder))
    assert classifier.architecture == "timm/test_vit"
    assert classifier.class_names == tuple(NAMES)
    assert (classifier.source, classifier.preprocessing.source) == ("mine", "file")
    cfg = timm.create_model("test_vit").pretrained_cfg
    assert classifier.preprocessing.mean == tuple(cfg["mean"])


@pytest.mark.slow
def test_a_folder_whose_images_have_another_size(timm_folder: Path) -> None:
    config = json.loads((timm_folder / "config.json").read_text())
    config["pretrained_cfg"]["input_size"] = [3, 96, 96]
    (timm_folder / "config.json").write_text(json.dumps(config))
    classifier = load_classifier(ModelSpec(checkpoint=timm_folder))
    assert classifier.preprocessing.crop == (96, 96)
    assert_same_logits(classifier, module_of(timm_folder))


def in_parts(folder: Path, parts: int = 3) -> list[Path]:
    """The weights in several files with an index, as the library writes large ones."""
    whole = folder / "model.safetensors"
    weights = safetensors.torch.load_file(whole)
    names = [f"model-{at + 1:05}-of-{parts:05}.safetensors" for at in range(parts)]
    place = {key: names[at % parts] for at, key in enumerate(weights)}
    for name in names:
        own = {key: value for key, value in weights.items() if place[key] == name}
        safetensors.torch.save_file(own, folder / name)
    index = {"metadata": {"total_size": 1}, "weight_map": place}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    whole.unlink()
    (folder / "pytorch_model.bin").unlink()
    return [folder / name for name in names]


@pytest.mark.slow
def test_weights_in_several_files(timm_folder: Path, tmp_path: Path) -> None:
    whole = load_classifier(ModelSpec(checkpoint=timm_folder))
    in_parts(timm_folder)
    classifier = load_classifier(ModelSpec(checkpoint=timm_folder))
    crop = classifier.preprocessing.crop
    images = torch.randn(2, 3, *crop)
    with torch.no_grad():
        assert torch.equal(classifier.program.module()(images), whole.program.module()(images))
    assert classifier.sha256 != whole.sha256
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        for path in timm_folder.iterdir():
            archive.write(path, f"mine/{path.name}")
    packed = load_classifier(ModelSpec(checkpoint=tmp_path / "mine.zip"))
    assert packed.sha256 == classifier.sha256
    assert packed.class_names == classifier.class_names


def test_a_part_that_is_missing_is_named(timm_folder: Path) -> None:
    parts = in_parts(timm_folder)
    parts[1].unlink()
    with pytest.raises(CheckpointError, match=f"in 3 files, of which {parts[1].name} is missing"):
        load_classifier(ModelSpec(checkpoint=timm_folder))


def test_a_part_that_lacks_what_the_index_names_is_incomplete(timm_folder: Path) -> None:
    parts = in_parts(timm_folder)
    weights = safetensors.torch.load_file(parts[1])
    gone = min(weights)
    del weights[gone]
    safetensors.torch.save_file(weights, parts[1])
    with pytest.raises(
        CheckpointError, match=f"its index names {gone}, which none of its 3 weight files"
    ):
        load_classifier(ModelSpec(checkpoint=timm_folder))


@pytest.mark.parametrize("form", ["above", "absolute", "below"])
def test_an_index_reaches_for_no_file_outside_its_folder(timm_folder: Path, form: str) -> None:
    """Though it is there and fits: an uploaded folder is not to read another's weights."""
    part = in_parts(timm_folder)[1]
    place = timm_folder / "deeper" if form == "below" else timm_folder.parent
    place.mkdir(exist_ok=True)
    outside = part.rename(place / part.name)
    named = {"above": f"../{part.name}", "absolute": str(outside), "below": f"deeper/{part.name}"}
    index = timm_folder / "model.safetensors.index.json"
    index.write_text(index.read_text().replace(part.name, named[form]))
    with pytest.raises(CheckpointError, match="is missing: copy all of them into the folder"):
        load_classifier(ModelSpec(checkpoint=timm_folder))


@pytest.mark.parametrize("at", [0, 1, 2])
def test_the_digest_is_of_every_part(timm_folder: Path, at: int) -> None:
    parts = in_parts(timm_folder)
    before = open_weights(timm_folder).sha256
    assert open_weights(timm_folder).sha256 == before
    weights = safetensors.torch.load_file(parts[at])
    weights[min(weights)] += 1
    safetensors.torch.save_file(weights, parts[at])
    assert open_weights(timm_folder).sha256 != before


@pytest.mark.parametrize(
    "index",
    [b"{", b'{"weight_map": {"a": 3}}', b"[]", b'{"weight_map": {"a": "../../x.safetensors"}}'],
)
def test_an_index_of_another_kind_is_refused(timm_folder: Path, index: bytes) -> None:
    in_parts(timm_folder)
    (timm_folder / "model.safetensors.index.json").write_bytes(index)
    with pytest.raises(CheckpointError, match=r"is damaged|is missing"):
        load_classifier(ModelSpec(checkpoint=timm_folder))


def test_several_files_without_an_index_are_refused(timm_folder: Path) -> None:
    in_parts(timm_folder)
    (timm_folder / "model.safetensors.index.json").unlink()
    with pytest.raises(CheckpointError, match="3 weight files but no index"):
        load_classifier(ModelSpec(checkpoint=timm_folder))


@pytest.mark.slow
@pytest.mark.parametrize("top", ["", "model/"])
def test_the_same_folder_as_a_zip(top: str, timm_folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "mine.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in timm_folder.iterdir():
            archive.write(path, top + path.name)
    classifier = load_classifier(ModelSpec(checkpoint=tmp_path / "mine.zip"))
    assert classifier.class_names == tuple(NAMES)
    assert classifier.source == "mine.zip"


def test_a_zip_that_would_become_large_is_refused(timm_folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(timm_folder / "config.json", "config.json")
        archive.writestr("model.safetensors", bytes(20_000_000))
    with pytest.raises(CheckpointError, match="would unpack to 19 MB"):
        load_classifier(ModelSpec(checkpoint=tmp_path / "bomb.zip"))


def test_options_of_a_person_come_before_the_folders(timm_folder: Path) -> None:
    with pytest.raises(SpecError, match="leave out the architecture"):
        load_classifier(ModelSpec(checkpoint=timm_folder, architecture="timm/test_vit"))
    with pytest.raises(GscError, match="wings"):
        load_classifier(ModelSpec(checkpoint=timm_folder, options={"wings": 2}))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (None, "no config.json that can be read"),
        ("{", "damaged or not what its name says"),
        ('{"architecture": "../../etc"}', "damaged or not what its name says"),
        ('{"architecture": "resnet18", "model_args": {"pretrained": true}}', "'pretrained'"),
        ('{"architecture": "resnet18", "model_args": {"a": {"b": 1}}}', "damaged"),
        ('{"architecture": "hf_hub:evil/model"}', "damaged"),
    ],
)
def test_folders_that_are_none_or_hostile(config: str | None, said: str, timm_folder: Path) -> None:
    (timm_folder / "config.json").unlink()
    if config is not None:
        (timm_folder / "config.json").write_text(config)
    with pytest.raises(GscError, match=said) as refusal:
        load_classifier(ModelSpec(checkpoint=timm_folder))
    assert "\n" not in str(refusal.value)


def test_without_transformers_the_extra_is_named(
    timm_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: name != "transformers" or None)
    (timm_folder / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(GscError, match=r"needs transformers.*gsc-audit\[hf\]"):
        load_classifier(ModelSpec(checkpoint=timm_folder))


# What transformers' own processors do, written down by hand from their code


@pytest.mark.parametrize(
    ("config", "resize", "crop"),
    [
        (
            {"image_processor_type": "ViTImageProcessor", "size": {"height": 224, "width": 200}},
            (224, 200),
            (224, 200),
        ),
        ({"feature_extractor_type": "ViTFeatureExtractor", "size": 224}, (224, 224), (224, 224)),
        (
            {
                "image_processor_type": "BitImageProcessor",
                "size": {"shortest_edge": 256},
                "do_center_crop": True,
                "crop_size": {"height": 224, "width": 224},
            },
            256,
            (224, 224),
        ),
        (
            {
                "feature_extractor_type": "DeiTFeatureExtractor",
                "size": 256,
                "do_center_crop": True,
                "crop_size": 224,
            },
            (256, 256),
            (224, 224),
        ),
        (
            {
                "image_processor_type": "ConvNextImageProcessor",
                "size": {"shortest_edge": 224},
                "crop_pct": 0.875,
            },
            256,
            (224, 224),
        ),
        (
            {"image_processor_type": "ConvNextFeatureExtractor", "size": 384},
            (384, 384),
            (384, 384),
        ),
    ],
)
def test_sizes_of_processors(config: dict[str, Any], resize: Any, crop: tuple[int, int]) -> None:
    found = Processor.model_validate(config).preprocessing("mine")
    assert (found.resize, found.crop) == (resize, crop)
    assert found.source == "file"


@pytest.mark.parametrize(
    "change",
    [
        {"rescale_factor": 1 / 127.5},
        {"do_rescale": False},
        {"do_pad": True},
        {"resample": 1},
        {"do_resize": False},
        {"size": {"longest_edge": 224}},
    ],
)
def test_processors_that_do_something_else_are_refused(change: dict[str, Any]) -> None:
    config = {"size": {"height": 224, "width": 224}} | change
    with pytest.raises(
        CheckpointError, match=r"is not supported here.*set it yourself \(preprocessing\)"
    ):
        Processor.model_validate(config).preprocessing("mine")


def test_pixels_that_are_not_normalised() -> None:
    config = {"size": {"height": 64, "width": 64}, "do_normalize": False, "resample": 3}
    found = Processor.model_validate(config).preprocessing("mine")
    assert (found.mean, found.std) == ((0.0,) * 3, (1.0,) * 3)
    assert found.interpolation == "bicubic"


# transformers


class Images(nn.Module):
    """A network of transformers that is called with images alone."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.module(pixel_values=images).logits


def transformers_folder(folder: Path, kind: str) -> nn.Module:
    import transformers  # noqa: PLC0415 - an extra of its own

    torch.manual_seed(0)
    common = {"num_labels": 5, "id2label": dict(enumerate(NAMES))}
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config: Any
    if kind == "vit":
        sizes |= {"intermediate_size": 64}
        config = transformers.ViTConfig(image_size=64, patch_size=16, **sizes, **common)
        model = transformers.ViTForImageClassification(config)
    elif kind == "dinov2":
        config = transformers.Dinov2Config(image_size=56, patch_size=14, **sizes, **common)
        model = transformers.Dinov2ForImageClassification(config)
    elif kind == "convnext":
        config = transformers.ConvNextConfig(
            hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], **common
        )
        model = transformers.ConvNextForImageClassification(config)
    else:
        config = transformers.ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", **common
        )
        model = transformers.ResNetForImageClassification(config)
    model.eval().save_pretrained(folder)
    processor = {"size": {"height": 56, "width": 56}, "image_mean": [0.5] * 3}
    if kind == "vit":
        processor["size"] = {"height": 64, "width": 64}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return model


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vit", "dinov2", "convnext", "resnet"])
def test_a_folder_of_transformers(kind: str, tmp_path: Path) -> None:
    module = transformers_folder(tmp_path / "mine", kind)
    classifier = load_classifier(ModelSpec(checkpoint=tmp_path / "mine"))
    assert classifier.class_names == tuple(NAMES)
    assert classifier.preprocessing.mean == (0.5,) * 3
    images = torch.randn(3, 3, *classifier.preprocessing.crop)
    with torch.no_grad():
        expected = module(pixel_values=images).logits
    torch.testing.assert_close(classifier.program.module()(images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_configuration_reaches_for_no_code_elsewhere(tmp_path: Path) -> None:
    """An attention called `owner/name` would be a kernel, fetched from a hub and run."""
    folder = tmp_path / "mine"
    module = transformers_folder(folder, "vit")
    config = json.loads((folder / "config.json").read_text())
    evil = {"attn_implementation": "nobody/evil", "_attn_implementation": "nobody/evil"}
    (folder / "config.json").write_text(json.dumps(config | evil))
    classifier = load_classifier(ModelSpec(checkpoint=folder))
    assert_same_logits(classifier, Images(module))


def test_folders_of_transformers_that_cannot_be_used(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    transformers_folder(folder, "resnet")
    config = json.loads((folder / "config.json").read_text())
    for change, said in (
        ({"model_type": "mine", "auto_map": {"AutoModel": "x.py"}}, "its own code"),
        ({"architectures": ["ResNetModel"]}, "not an image classifier"),
        ({"hidden_sizes": [8, 32]}, "do not fit|cannot build"),
    ):
        (folder / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(CheckpointError, match=said):
            load_classifier(ModelSpec(checkpoint=folder))
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    safetensors.torch.save_file(
        {k: v for k, v in weights.items() if not k.startswith("classifier")},
        folder / "model.safetensors",
    )
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="missing: classifier"):
        load_classifier(ModelSpec(checkpoint=folder))
