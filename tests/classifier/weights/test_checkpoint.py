"""Model files of every kind through the one function that opens them, good to hostile."""

import argparse
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models import squeezenet1_1

from gsc_core.classifier.programs.program import check_weights
from gsc_core.classifier.weights.checkpoint import open_checkpoint
from gsc_core.classifier.weights.state_dict import fit
from gsc_core.classifier.weights.weight_names import flattened
from gsc_core.errors import CheckpointError, SpecError

ARCHITECTURE = "torchvision/squeezenet1_1"


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(0)
    return squeezenet1_1(num_classes=5).eval()


@pytest.fixture(scope="module")
def weights(module: nn.Module) -> dict[str, Tensor]:
    return dict(module.state_dict())


def save_zip(weights: dict[str, Tensor], path: Path) -> None:
    torch.save(weights, path)


def save_legacy(weights: dict[str, Tensor], path: Path) -> None:
    torch.save(weights, path, _use_new_zipfile_serialization=False)


def save_safetensors(weights: dict[str, Tensor], path: Path) -> None:
    safetensors.torch.save_file(weights, path)


FORMATS = [save_zip, save_legacy, save_safetensors]


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("save", FORMATS)
@pytest.mark.parametrize("name", ["a.pt", "a.safetensors", "a.bin", "a"])
def test_formats_are_known_by_their_content(
    save: Callable[[dict[str, Tensor], Path], None],
    name: str,
    weights: dict[str, Tensor],
    tmp_path: Path,
) -> None:
    save(weights, tmp_path / name)
    assert_same(open_checkpoint(tmp_path / name).weights, weights)


@pytest.mark.parametrize("save", FORMATS)
@pytest.mark.parametrize("share", [0.0, 1e-6, 0.001, 0.3, 0.9, 0.9999])
def test_truncated_files_are_one_sentence(
    save: Callable[[dict[str, Tensor], Path], None],
    share: float,
    weights: dict[str, Tensor],
    tmp_path: Path,
) -> None:
    path = tmp_path / "model.pt"
    save(weights, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match=r"damaged|empty|not a model file") as refusal:
        open_checkpoint(path)
    assert "\n" not in str(refusal.value)


@given(nests=st.lists(st.sampled_from(["state_dict", "model", "net", "model_ema"]), max_size=4))
@settings(max_examples=20, deadline=None)
def test_nested_tables_are_found(nests: list[str]) -> None:
    tensors = {"fc.weight": torch.ones(2, 3), "fc.bias": torch.zeros(2)}
    content: dict[str, Any] = dict(tensors)
    for nest in nests:
        content = {nest: content, "epoch": 3, "lr": 0.1}
    at = "".join(f"{nest}." for nest in reversed(nests))
    expected = {at + key: value for key, value in tensors.items()}
    assert_same(flattened(content, "x"), expected)


def test_weights_reach_the_network(module: nn.Module, weights: dict[str, Tensor]) -> None:
    wrapped = {f"_orig_mod.module.{key}": value for key, value in weights.items()}
    loaded = fit(wrapped, ARCHITECTURE, {}, "x").module.eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded(images), module(images))


def test_half_precision_weights_are_widened(weights: dict[str, Tensor]) -> None:
    half = {key: value.half() for key, value in weights.items()}
    loaded = fit(half, ARCHITECTURE, {}, "x").module.state_dict()
    assert_same(loaded, {key: value.float() for key, value in half.items()})


def test_missing_unexpected_and_misshapen_tensors_are_named(weights: dict[str, Tensor]) -> None:
    changed = dict(weights)
    del changed["features.0.weight"]
    changed["features.0.extra"] = torch.zeros(1)
    changed["features.3.squeeze.bias"] = torch.zeros(17)
    with pytest.raises(CheckpointError) as refusal:
        fit(changed, ARCHITECTURE, {}, "mine.pt")
    for said in (
        "mine.pt",
        ARCHITECTURE,
        "1 missing: features.0.weight",
        "1 not in the architecture: features.0.extra",
        "features.3.squeeze.bias (17 instead of 16)",
    ):
        assert said in str(refusal.value)


def test_many_problems_are_counted_not_listed(weights: dict[str, Tensor]) -> None:
    # ResNet-18 has 62 parameters and 20 batch norms with a mean and a variance each.
    with pytest.raises(CheckpointError, match=r"102 missing: .*, …") as refusal:
        fit(weights, "torchvision/resnet18", {}, "mine.pt")
    assert len(str(refusal.value)) < 600


def test_class_count_that_contradicts_the_options(weights: dict[str, Tensor]) -> None:
    with pytest.raises(SpecError, match="has 5 classes, but the options say 9"):
        fit(weights, ARCHITECTURE, {"num_classes": 9}, "mine.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(weights: dict[str, Tensor], value: float) -> None:
    broken = {key: tensor.clone() for key, tensor in weights.items()}
    broken["features.3.expand1x1.weight"][0, 0] = value
    with pytest.raises(CheckpointError, match=r"features\.3\.expand1x1\.weight hold NaN"):
        fit(broken, ARCHITECTURE, {}, "mine.pt")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: torch.zeros(2, device="meta"), "no values"),
        (lambda: torch.zeros(2, 2).to_sparse(), "sparse"),
        (lambda: torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8), "quantised"),
        (lambda: torch.zeros(2, dtype=torch.bfloat16), "bfloat16"),
        (lambda: torch.zeros(2, dtype=torch.float16), r"float16.*model\.float\(\)"),
    ],
)
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_tensors_without_plain_values_are_refused(make: Callable[[], Tensor], said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        check_weights({"w": make()}, "mine.pt")


class Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.marker), "w"))


@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_with_code_do_not_run(zipped: bool, tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "model.pt"
    content = {"w": torch.zeros(1), "x": Payload(marker)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"torch\.save\(model\.state_dict\(\)"):
        open_checkpoint(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists(), "the payload does nothing: this test would prove nothing"


def test_the_arguments_of_a_training_script_are_no_code(
    weights: dict[str, Tensor], tmp_path: Path
) -> None:
    """As the reference scripts of torchvision and timm save them."""
    args = argparse.Namespace(lr=0.1, model="squeezenet1_1", sizes=[1, 2])
    torch.save({"state_dict": weights, "args": args, "epoch": 3}, tmp_path / "a.pth")
    expected = {f"state_dict.{key}": value for key, value in weights.items()}
    assert_same(open_checkpoint(tmp_path / "a.pth").weights, expected)
    torch.save({"state_dict": weights, "args": Payload(tmp_path / "marker")}, tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match="Python objects"):
        open_checkpoint(tmp_path / "b.pth")


def test_plain_pickles_do_not_run(tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(Payload(marker)))
    with pytest.raises(CheckpointError, match=r"torch\.save\(model\.state_dict\(\)"):
        open_checkpoint(path)
    assert not marker.exists()
    pickle.loads(path.read_bytes())
    assert marker.exists()


def test_whole_modules_are_refused_with_the_way_out(module: nn.Module, tmp_path: Path) -> None:
    torch.save(module, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"torch\.save\(model\.state_dict\(\)"):
        open_checkpoint(tmp_path / "model.pt")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_torchscript_is_refused_with_the_way_out(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"TorchScript.*state_dict.*torch\.export"):
        open_checkpoint(tmp_path / "model.pt")


def test_a_small_zip_that_would_become_large_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(4_000_000)}, tmp_path / "plain.pt")
    bomb = tmp_path / "bomb.pt"
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    assert bomb.stat().st_size < 100_000
    with pytest.raises(CheckpointError, match="would unpack to 15 MB"):
        open_checkpoint(bomb)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.pt", b"", "empty"),
        ("notes.pt", b"these are my notes, and no model", "not a model file"),
        ("notes.safetensors", b"these are my notes, and no model", "damaged"),
        ("huge.safetensors", struct.pack("<Q", 2**62) + b"{}", "damaged"),
        ("list.pt", pickle.dumps([1, 2]), "Python objects"),
        ("photo.jpg", b"\xff\xd8\xff\xe0" + bytes(100), "not a model file"),
        ("half.pt2", b"PK\x03\x04" + bytes(100), "damaged"),
    ],
)
def test_other_files_are_one_sentence(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=said) as refusal:
        open_checkpoint(tmp_path / name)
    assert name in str(refusal.value)


def test_missing_files_folders_and_foreign_zips(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no file"):
        open_checkpoint(tmp_path / "nothing.pt")
    with pytest.raises(CheckpointError, match="not a file"):
        open_checkpoint(tmp_path)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("a/b.jpg", b"")
    with pytest.raises(CheckpointError, match="no PyTorch weights"):
        open_checkpoint(tmp_path / "photos.zip")


def test_a_table_without_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "lr": 0.1}, tmp_path / "log.pt")
    with pytest.raises(CheckpointError, match="no table of weights"):
        open_checkpoint(tmp_path / "log.pt")


def test_safetensors_metadata_is_handed_on(weights: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    metadata = {"architecture": "resnet18", "class_names": json.dumps(["a"])}
    safetensors.torch.save_file(weights, path, metadata=metadata)
    assert open_checkpoint(path).metadata == metadata
