"""Programs as people export them: regions, free sizes, other precisions, older archives."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile_programs import MODEL, edit, read, write
from torch import Tensor, nn
from torch.export import Dim

from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.classifier.load import load_classifier
from gsc_core.classifier.network import Network
from gsc_core.classifier.programs.program import conform
from gsc_core.classifier.pt2.reader import open_program
from gsc_core.classifier.split import splits
from gsc_core.detectors.base import Need
from gsc_core.errors import CheckpointError
from gsc_core.scoring.onepass import represent

SIZE = 24
PREPROCESSING = Preprocessing(resize=SIZE, crop=(SIZE, SIZE))
BATCH: Any = ({0: Dim("batch")},)
FREE: Any = (dict.fromkeys(range(4), Dim.AUTO),)


class Blocks(nn.Module):
    """Two blocks and a linear map; `run` may compute it in any region."""

    def __init__(self, run: Callable[["Blocks", Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.ReLU())
        self.fc = nn.Linear(8, 5)
        self.run = run

    def body(self, x: Tensor) -> Tensor:
        return self.second(self.first(x)).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x) if self.run else self.fc(self.body(x))


def saved(module: nn.Module, path: Path, shapes: Any = BATCH, n: int = 2) -> Path:
    images = torch.randn(n, 3, SIZE, SIZE)
    torch.export.save(torch.export.export(module.eval(), (images,), dynamic_shapes=shapes), path)
    return path


def no_gradient(module: Blocks, x: Tensor) -> Tensor:
    with torch.no_grad():
        feature = module.body(x)
    return module.fc(feature)


def all_without_gradient(module: Blocks, x: Tensor) -> Tensor:
    with torch.no_grad():
        return module.fc(module.body(x))


def detached(module: Blocks, x: Tensor) -> Tensor:
    return module.fc(module.body(x).detach())


def autocast(module: Blocks, x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        feature = module.body(x)
    return module.fc(feature.float())


def autocast_without_gradient(module: Blocks, x: Tensor) -> Tensor:
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        return module.fc(module.body(x))


def autocast_turned_off(module: Blocks, x: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return module.fc(module.body(x))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "said"),
    [
        (no_gradient, ["no_grad"]),
        (all_without_gradient, ["no_grad"]),
        (detached, []),
        (autocast, ["autocast"]),
        (autocast_without_gradient, ["autocast", "no_grad"]),
        (autocast_turned_off, []),
    ],
)
@pytest.mark.parametrize("shapes", [BATCH, FREE], ids=["batch", "free sizes"])
def test_regions_are_undone_and_gradients_flow(
    run: Callable[[Blocks, Tensor], Tensor], said: list[str], shapes: Any, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    module = Blocks(run)
    path = saved(module, tmp_path / "model.pt2", shapes)
    classifier = load_classifier(ModelSpec(checkpoint=path, preprocessing=PREPROCESSING))
    network = Network(classifier.program)
    images = torch.randn(3, 3, SIZE, SIZE)
    torch.testing.assert_close(network(images), module.fc(module.body(images)))
    assert network.split is not None and network.split.name == "first"
    gradient = represent(network, images, Need.LOGITS | Need.GRADIENT).gradient
    assert gradient is not None and gradient.abs().sum() > 0
    assert len(classifier.notes) == len(said)
    assert all(word in change for word, change in zip(said, classifier.notes, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("size", [SIZE, 40])
def test_free_sizes_are_fixed_to_the_preprocessings(size: int, tmp_path: Path) -> None:
    module = Blocks()
    path = saved(module, tmp_path / "model.pt2", FREE)
    preprocessing = Preprocessing(resize=size, crop=(size, size))
    classifier = load_classifier(ModelSpec(checkpoint=path, preprocessing=preprocessing))
    layers = splits(classifier.program)
    assert {"first", "second"} <= {layer.name for layer in layers}
    side = (size - 3) // 2 + 1 - 2
    assert next(s for s in layers if s.name == "first").shape == (8, side, side)
    images = torch.randn(3, 3, size, size)
    torch.testing.assert_close(Network(classifier.program)(images), module(images))


@pytest.mark.slow
def test_decomposed_programs_have_their_last_linear_map(tmp_path: Path) -> None:
    module = Blocks().eval()
    images = torch.randn(3, 3, SIZE, SIZE)
    program = torch.export.export(module, (images,), dynamic_shapes=BATCH).run_decompositions()
    torch.export.save(program, tmp_path / "model.pt2")
    path = tmp_path / "model.pt2"
    network = Network(load_classifier(ModelSpec(checkpoint=path)).program)
    assert network.linear is not None
    torch.testing.assert_close(network.linear.weight, module.fc.weight)
    torch.testing.assert_close(network(images), module(images))


class ByName(Blocks):
    def forward(self, pixel_values: Tensor) -> Tensor:
        return super().forward(pixel_values)


@pytest.mark.slow
def test_images_given_by_name_are_given_by_position(tmp_path: Path) -> None:
    module, images = ByName().eval(), torch.randn(2, 3, SIZE, SIZE)
    shapes = {"pixel_values": {0: Dim("batch")}}
    program = torch.export.export(module, (), {"pixel_values": images}, dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "model.pt2")
    network = Network(load_classifier(ModelSpec(checkpoint=tmp_path / "model.pt2")).program)
    torch.testing.assert_close(network(images), module(images))


def test_a_region_may_call_no_more_than_the_rest(tmp_path: Path) -> None:
    members = read(saved(Blocks(no_gradient), tmp_path / "model.pt2"))

    def change(content: Any) -> None:
        nodes = content["graph_module"]["graph"]["nodes"]
        region = next(n for n in nodes if "higher_order" in n["target"])
        (graph,) = (a["arg"]["as_graph"] for a in region["inputs"] if "as_graph" in a["arg"])
        graph["graph"]["nodes"][0]["target"] = "torch.ops.aten.from_file.default"

    edit(members, MODEL, change)
    with pytest.raises(CheckpointError, match=r"aten\.from_file.*was not opened"):
        open_program(write(tmp_path / "evil.pt2", members))


def test_only_regions_are_given_a_graph(tmp_path: Path) -> None:
    members = read(saved(Blocks(no_gradient), tmp_path / "model.pt2"))
    old, new = b"torch.ops.higher_order.wrap_with_set_grad_enabled", b"torch.ops.aten.relu.default"
    assert old in members[MODEL]
    members[MODEL] = members[MODEL].replace(old, new)
    with pytest.raises(CheckpointError, match="with something it does not take"):
        open_program(write(tmp_path / "evil.pt2", members))


def test_an_archive_of_older_torch_is_called_that(tmp_path: Path) -> None:
    path = tmp_path / "old.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("version", "serialized_exported_program.json", "serialized_state_dict.pt"):
            archive.writestr(name, b"5.1")
    with pytest.raises(CheckpointError, match=r"before 2\.8.*torch\.export\.load\('old.pt2'\)"):
        open_program(path)


@pytest.mark.slow
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_half_precision_is_asked_for_in_float32(precision: torch.dtype, tmp_path: Path) -> None:
    module, images = Blocks().to(precision).eval(), torch.randn(2, 3, SIZE, SIZE).to(precision)
    path = tmp_path / "half.pt2"
    torch.export.save(torch.export.export(module, (images,), dynamic_shapes=BATCH), path)
    with pytest.raises(CheckpointError, match=r"export it again after model\.float\(\)"):
        conform(open_program(path), path.name)


def test_a_batch_of_one_alone_is_answered_with_the_recipe(tmp_path: Path) -> None:
    path = saved(Blocks(), tmp_path / "one.pt2", None, n=1)
    with pytest.raises(CheckpointError, match=r"batches of 1 only.*torch\.export\.Dim"):
        load_classifier(ModelSpec(checkpoint=path, preprocessing=PREPROCESSING))
