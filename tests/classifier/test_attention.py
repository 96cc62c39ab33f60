"""Attention on a shorter way gives the same logits, gradients and derivatives."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule, Interpreter, Node

from gsc_core.classifier.attention import batch_first, read_one_token
from gsc_core.classifier.network import Network
from gsc_core.classifier.programs.graph import operator_name

SIZE, BATCH = 32, 3


class Classifier(nn.Module):
    """Patches, one block of attention as `torch.nn` has it, and logits from some of its tokens."""

    def __init__(self, reads: str = "first") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.reads = reads
        self.patches = nn.Conv2d(3, 24, 8, 8)
        self.norm = nn.LayerNorm(24)
        self.attention = nn.MultiheadAttention(24, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.LayerNorm(24), nn.Linear(24, 48), nn.GELU(), nn.Linear(48, 24))
        self.fc = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = tokens + self._attended(self.norm(tokens))
        tokens = tokens + self.mlp(tokens)
        if self.reads == "overwritten":
            tokens.mul_(torch.arange(24) / 24)
        read = {"mean": lambda: tokens.mean(dim=1), "last": lambda: tokens[:, -1]}
        out: Tensor = self.fc(read.get(self.reads, lambda: tokens[:, 0])())
        return out

    def _attended(self, x: Tensor) -> Tensor:
        mask, others = None, x
        if self.reads == "masked":
            mask = torch.triu(torch.ones(16, 16, dtype=torch.bool), 1)
        if self.reads == "across":
            others = x.flip(1)
        out: Tensor = self.attention(x, others, others, need_weights=False, attn_mask=mask)[0]
        return out


class Shapes(Interpreter):
    """Runs a graph, and keeps the shape of what each linear map takes."""

    def __init__(self, module: GraphModule) -> None:
        super().__init__(module)
        self.taken: list[tuple[int, ...]] = []

    def run_node(self, n: Node) -> Any:
        """Also of linear maps, the shape of the input."""
        if operator_name(n) == "aten.linear":
            (source, *_), _ = self.fetch_args_kwargs_from_env(n)
            self.taken.append(tuple(source.shape))
        return super().run_node(n)


def images(size: int = SIZE) -> Tensor:
    return torch.randn(BATCH, 3, size, size, generator=torch.Generator().manual_seed(1))


def exported(module: nn.Module, size: int = SIZE) -> ExportedProgram:
    batch = ({0: torch.export.Dim("batch")},)
    return torch.export.export(module.eval(), (images(size),), dynamic_shapes=batch, strict=False)


def graph_of(module: nn.Module) -> GraphModule:
    graph_module = exported(module).module(check_guards=False)
    assert isinstance(graph_module, GraphModule)
    return graph_module


def transposes(module: GraphModule) -> int:
    return sum(operator_name(node) == "aten.transpose" for node in module.graph.nodes)


@pytest.mark.slow
@pytest.mark.parametrize("reads", ["first", "last", "mean", "masked", "across", "overwritten"])
def test_logits_stay_whatever_is_read(reads: str) -> None:
    module, before = graph_of(Classifier(reads)), graph_of(Classifier(reads))
    batch_first(module)
    rewritten = transposes(module) < transposes(before)
    assert rewritten == (reads in ("first", "last", "mean"))
    read_one_token(module)
    torch.testing.assert_close(module(images()), before(images()), rtol=1e-5, atol=1e-6)


class Masked(nn.Module):
    """Attention of one's own with a mask, of which the first token is read."""

    def __init__(self, mask: Tensor | None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 24, 8, 8)
        self.qkv, self.out = nn.Linear(24, 72), nn.Linear(24, 5)
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(tokens).reshape(-1, 16, 3, 2, 12).permute(2, 0, 3, 1, 4).unbind()
        attended = nn.functional.scaled_dot_product_attention(q, k, v, self.mask)
        out: Tensor = self.out(attended.transpose(1, 2).reshape(-1, 16, 24))[:, 0]
        return out


@pytest.mark.slow
@pytest.mark.parametrize("masked", [True, False])
def test_one_query_is_asked_only_where_no_mask_is_of_all(masked: bool) -> None:
    mask = torch.randn(16, 16) if masked else None
    module, before = graph_of(Masked(mask)), graph_of(Masked(mask))
    read_one_token(module)
    shapes = Shapes(module)
    torch.testing.assert_close(shapes.run(images()), before(images()), rtol=1e-5, atol=1e-6)
    assert shapes.taken == [(BATCH, 16, 24), (BATCH, 1, 24)]
    queries = [n.args[0] for n in module.graph.nodes if "attention" in operator_name(n)]
    assert ["slice" in operator_name(query) for query in queries] == [not masked]


@pytest.mark.slow
@pytest.mark.parametrize(("reads", "tokens"), [("first", 1), ("last", 1), ("mean", 16)])
def test_only_the_token_that_is_read_goes_through_the_last_layers(reads: str, tokens: int) -> None:
    module = graph_of(Classifier(reads))
    batch_first(module)
    read_one_token(module)
    shapes = Shapes(module)
    shapes.run(images())
    packed, out, up, down, logits = shapes.taken
    assert packed == (BATCH, 16, 24), "keys and values are of all tokens"
    assert [shape[1] for shape in (out, up, down)] == [tokens] * 3
    assert logits == (BATCH, 24)


def networks(module: nn.Module, size: int, monkeypatch: pytest.MonkeyPatch) -> list[Network]:
    """The network as it is built, and as it is without the shorter ways."""
    program = exported(module, size)
    ours = Network(program)
    for name in ("batch_first", "read_one_token"):
        monkeypatch.setattr(f"gsc_core.classifier.network.{name}", lambda _: None)
    return [ours, Network(program)]


MODELS = {
    "torchvision vit": (
        lambda: torchvision.models.VisionTransformer(64, 16, 3, 4, 48, 96, num_classes=7),
        64,
    ),
    "timm vit": (lambda: _small("vit_tiny_patch16_224", img_size=64), 64),
    "timm deit with two tokens": (
        lambda: _small("deit_tiny_distilled_patch16_224", img_size=64),
        64,
    ),
    "timm swin, by the mean": (
        lambda: _small("swin_tiny_patch4_window7_224", img_size=64, window_size=2),
        64,
    ),
}


def _small(name: str, **settings: Any) -> nn.Module:
    depths = {"depths": (1, 1, 1, 1)} if name.startswith("swin") else {"depth": 3}
    made: nn.Module = timm.create_model(name, num_classes=7, **depths, **settings)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_real_transformers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, size = MODELS[name]
    torch.manual_seed(0)
    module = make()
    for layer in module.modules():  # a head of zeros would hide any difference
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.05)
    shorter, longer = networks(module, size, monkeypatch)
    pixels = images(size)
    with torch.no_grad():
        right = module(pixels)
    torch.testing.assert_close(shorter(pixels), right, rtol=1e-4, atol=1e-5)

    feature = longer.body(pixels)
    torch.testing.assert_close(shorter.body(pixels), feature, rtol=1e-4, atol=1e-5)
    change = -feature * (feature > 0)
    along = [network.first_order(feature, change)[1] for network in (shorter, longer)]
    torch.testing.assert_close(*along, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        *[_gradient(network, feature) for network in (shorter, longer)], rtol=1e-3, atol=1e-6
    )
    profiles = [network.profiled_head(feature)[2] for network in (shorter, longer)]
    torch.testing.assert_close(*profiles, rtol=1e-4, atol=1e-5)


def _gradient(network: Network, feature: Tensor) -> Tensor:
    leaf = feature.detach().requires_grad_()
    return network.gradient(network.head(leaf).amax(dim=1), leaf)
