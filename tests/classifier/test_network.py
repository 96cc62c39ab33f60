"""A network cut in two against the original module with a hook at the same layer."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
import timm
import torch
import torchvision
from hooked import along, export, feature_of, gradient_of, lively, tail
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from gsc_core.classifier.folding import fold_batch_norms
from gsc_core.classifier.network import Network
from gsc_core.classifier.programs.graph import operator_name
from gsc_core.classifier.split import Split, choose, default_split, splits
from gsc_core.detectors.base import Need
from gsc_core.errors import SpecError
from gsc_core.scoring.onepass import represent

ALL = Need.LOGITS | Need.FEATURES | Need.FEATURE_MAP | Need.GRADIENT | Need.IMAGES


class InPlace(nn.Module):
    """In-place ReLUs right after layers one may cut at, also on a view of their output."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 8, 3)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu_(self.norm(self.conv(x)))
        x = self.second(x)
        functional.relu_(x[:, :4])  # x itself changes
        return self.fc(x.mean((2, 3)))


class SharedRelu(nn.Module):
    """One ReLU module for several places: its name says nothing about where to cut."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True)
        self.block = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.GELU())
        self.fc = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv(x))
        x = self.block(self.block(x))
        return self.fc(self.relu(x).mean((2, 3)))


class Shuffle(nn.Module):
    """Channel shuffle and flattening by `view`, which insists on the usual memory order."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU())
        self.grouped = nn.Sequential(nn.Conv2d(8, 8, 3, groups=2), nn.BatchNorm2d(8), nn.Tanh())
        self.fc = nn.Linear(8 * 25, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)
        x = self.grouped(x)
        return self.fc(x.view(x.shape[0], -1))


class Dense(nn.Module):
    """DenseNet's habit: each block's input is kept beside its output."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.one = nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3, padding=1))
        self.two = nn.Sequential(nn.BatchNorm2d(10), nn.ReLU(), nn.Conv2d(10, 4, 3, padding=1))
        self.last = nn.Sequential(nn.BatchNorm2d(14), nn.ReLU())
        self.fc = nn.Linear(14, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.cat([x, self.one(x)], dim=1)
        x = torch.cat([x, self.two(x)], dim=1)
        return self.fc(self.last(x).mean((2, 3)))


class Turned(nn.Module):
    """Feature maps turned to channels-last and back, then flattened by `view`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, stride=2), nn.LayerNorm(8)
        self.to_last = Permute(0, 2, 3, 1)
        self.fc = nn.Linear(8 * 49, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.to_last(self.conv(x))
        return self.fc(x.permute(0, 3, 1, 2).view(x.shape[0], -1))


class Permute(nn.Module):
    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(*self.order)


def vit() -> nn.Module:
    return timm.models.VisionTransformer(
        img_size=16, patch_size=4, embed_dim=16, depth=2, num_heads=2, num_classes=5
    )


def swin() -> nn.Module:
    """Stages of `[B,H,W,C]` with windows that fold positions into the batch."""
    return timm.models.SwinTransformer(
        img_size=16,
        patch_size=2,
        window_size=4,
        embed_dim=12,
        depths=(1, 2),
        num_heads=(2, 2),
        num_classes=5,
    )


@dataclass(frozen=True)
class Case:
    module: nn.Module
    program: ExportedProgram
    images: Tensor


MODULES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=10), 48),
    "squeezenet": (lambda: torchvision.models.squeezenet1_1(num_classes=10), 64),
    "vit": (vit, 16),
    "swin": (swin, 16),
    "in-place": (InPlace, 16),
    "shared-relu": (SharedRelu, 16),
    "shuffle": (Shuffle, 16),
    "dense": (Dense, 16),
    "turned": (Turned, 16),
}
every_module = pytest.mark.parametrize("name", MODULES)


@cache
def case(name: str) -> Case:
    make, size = MODULES[name]
    torch.manual_seed(0)
    module = lively(make())
    module.requires_grad_(False)
    images = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1))
    return Case(module, export(module, size), images)


@cache
def offered(name: str) -> list[Split]:
    return splits(case(name).program)


@cache
def cut(name: str, split: str | None = None) -> Network:
    return Network(case(name).program, split)


def some_splits(name: str) -> list[str]:
    """All cuts of a small network, the first, one in the middle and the last of a large one."""
    names = [split.name for split in offered(name)]
    return names if len(names) <= 12 else [names[0], names[len(names) // 2], names[-1]]


def close(ours: Tensor, truth: Tensor, within: float = 2e-5) -> None:
    """Equal up to float32 rounding, relative to the largest value there is."""
    assert ours.shape == truth.shape
    assert float((ours - truth).detach().abs().max()) <= within * float(truth.detach().abs().max())


# --- the cut ----------------------------------------------------------------------------------


@pytest.mark.slow
@every_module
def test_the_whole_network_gives_the_modules_logits_in_any_batch_size(name: str) -> None:
    one, network = case(name), cut(name)
    truth = one.module(one.images)
    close(network(one.images), truth)
    close(network.head(network.body(one.images)), truth)
    for size in (1, 2):
        parts = one.images.split(size)
        close(torch.cat([network.head(network.body(part)) for part in parts]), truth)
    channels_last = one.images.to(memory_format=torch.channels_last)
    close(network.head(network.body(channels_last)), truth)


@pytest.mark.slow
@every_module
def test_every_cut_gives_the_layers_output_and_the_modules_tail(name: str) -> None:
    one = case(name)
    assert offered(name)
    for split in some_splits(name):
        network = cut(name, split)
        assert network.split is not None and network.split.name == split
        feature = feature_of(one.module, split, one.images)
        assert tuple(feature.shape[1:]) == network.split.shape
        close(network.body(one.images), feature)
        moved = feature + torch.randn(feature.shape, generator=torch.Generator().manual_seed(2))
        truth = tail(one.module, split, one.images)(moved)
        close(network.head(moved), truth)
        logits, features = network.head_and_features(moved)
        close(logits, truth)
        if features is not None:
            assert network.linear is not None
            close(network.linear(features), truth)


@pytest.mark.slow
@every_module
def test_aliases_end_in_the_same_tensor(name: str) -> None:
    one = case(name)
    for split in offered(name):
        for alias in split.aliases[:2]:
            truth = feature_of(one.module, split.name, one.images[:1])
            assert torch.equal(feature_of(one.module, alias, one.images[:1]), truth)
            assert choose(offered(name), alias) is split


@pytest.mark.slow
@every_module
def test_the_head_leaves_the_feature_unharmed(name: str) -> None:
    one = case(name)
    for split in some_splits(name):
        network = cut(name, split)
        feature = network.body(one.images)
        before = feature.clone()
        network.head(feature)
        network.first_order(feature, torch.ones_like(feature))
        represented = represent(network, one.images, ALL)
        assert torch.equal(feature, before)
        assert represented.feature_map is not None
        assert torch.equal(represented.feature_map, before)


@every_module
def test_the_images_stay_unharmed(name: str) -> None:
    images = case(name).images.clone()
    cut(name)(images)
    cut(name).body(images)
    assert torch.equal(images, case(name).images)


@pytest.mark.slow
@every_module
def test_features_may_lie_in_memory_as_they_like(name: str) -> None:
    """Detectors add to features, choose among them and join them: strides are not kept."""
    for split in some_splits(name):
        network = cut(name, split)
        feature = network.body(case(name).images)
        truth = network.head(feature)
        layouts = [feature.contiguous(), feature[torch.arange(len(feature))]]
        layouts.append(torch.cat(list(feature.split(1))))
        layouts.append(feature.transpose(1, -1).contiguous().transpose(1, -1))
        for layout in layouts:
            close(network.head(layout), truth)


# --- which cuts are offered -------------------------------------------------------------------


@pytest.mark.slow
@every_module
def test_a_cut_is_offered_exactly_where_all_that_follows_depends_on_the_layer_alone(
    name: str,
) -> None:
    """The truth by trying: other images, with the feature put in, must give the same logits."""
    one, network_splits = case(name), offered(name)
    others = one.images.flip(0) * 1.7 + 0.3
    names = {n for split in network_splits for n in (split.name, *split.aliases)}
    checked = 0
    for layer, module in one.module.named_modules():
        if not layer or isinstance(module, (nn.ModuleList, nn.Identity)):
            continue
        if checked > 6 and layer not in names and name == "resnet18":
            continue  # more of the same
        calls: list[object] = []
        hook = module.register_forward_hook(lambda _, __, out, calls=calls: calls.append(out))
        one.module(one.images[:1])
        hook.remove()
        if len(calls) != 1 or not isinstance(calls[0], Tensor):
            assert layer not in names  # called twice, never, or not giving one tensor
            continue
        if layer in names:
            feature = feature_of(one.module, layer, one.images)
            close(
                tail(one.module, layer, others)(feature),
                tail(one.module, layer, one.images)(feature),
                within=1e-6,
            )
        elif calls[0].ndim in (3, 4) and sum(side > 1 for side in calls[0].shape[1:]) > 1:
            feature = feature_of(one.module, layer, one.images)
            if feature.shape[0] != len(one.images):
                continue  # windows folded into the batch are not images
            leaks = tail(one.module, layer, others)(feature) - one.module(one.images)
            assert float(leaks.abs().max()) > 1e-4, layer
        checked += 1
    assert checked


def test_inside_a_residual_branch_there_is_no_cut() -> None:
    names = {n for split in offered("resnet18") for n in (split.name, *split.aliases)}
    assert {"layer1", "layer2.0", "layer4.1", "layer4", "conv1", "maxpool"} <= names
    assert not {n for n in names if n.startswith("layer") and n.count(".") >= 2}
    blocks = {n for split in offered("vit") for n in (split.name, *split.aliases)}
    assert {"blocks.0", "blocks.1"} <= blocks
    assert not {"blocks.0.attn", "blocks.0.mlp", "blocks.1.norm1"} & blocks


def test_a_layer_called_twice_is_no_candidate() -> None:
    names = {n for split in offered("shared-relu") for n in (split.name, *split.aliases)}
    assert names == {"conv"}


def test_concatenation_keeps_what_came_before_alive() -> None:
    names = {n for split in offered("dense") for n in (split.name, *split.aliases)}
    assert {"stem", "last"} <= names
    assert not {n for n in names if n.startswith(("one", "two"))}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("resnet18", "layer4.0"), ("vit", "blocks.1"), ("dense", "last.0")],
)
def test_default_cut(name: str, expected: str) -> None:
    chosen = default_split(offered(name))
    assert chosen is not None
    assert expected in (chosen.name, *chosen.aliases)
    assert cut(name).split == chosen


def test_default_cut_of_swin_is_in_its_last_stage_with_channels_last() -> None:
    chosen = default_split(offered("swin"))
    assert chosen is not None
    assert chosen.name == "layers.1.blocks.0"
    assert (chosen.shape, chosen.channel) == ((4, 4, 24), 3)


@pytest.mark.slow
def test_default_cut_of_efficientnet_lite_is_its_last_block() -> None:
    library = pytest.importorskip("efficientnet_lite_pytorch", reason="EfficientNet-Lite is absent")
    module = library.EfficientNet.from_name("efficientnet-lite0")
    chosen = default_split(splits(export(module, 224)))
    assert chosen is not None
    assert chosen.name == "_blocks.15"
    assert chosen.shape == (320, 7, 7)


def test_no_network_without_a_cut_is_refused() -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3 * 64, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x.flatten(1))

    module = Flat().eval()
    network = Network(export(module, 8))
    images = torch.randn(3, 3, 8, 8)
    assert network.split is None
    assert network.body(images) is images
    close(network.head(images), module(images))
    found = represent(network, images, ALL)
    assert found.gradient is None and found.feature_map is None
    assert found.features is not None and torch.equal(found.features, images.flatten(1))


@pytest.mark.parametrize(("asked", "offer"), [("layer4.2", "layer4.1"), ("layr3", "layer3")])
def test_an_unknown_layer_is_answered_with_the_nearest(asked: str, offer: str) -> None:
    with pytest.raises(SpecError, match=rf"{asked!r}.*{offer}"):
        Network(case("resnet18").program, asked)


def test_an_unknown_layer_like_none_is_answered_with_some() -> None:
    with pytest.raises(SpecError, match=r"nearest: .*layer4"):
        choose(offered("resnet18"), "zzzzzz")


class Shaped(nn.Module):
    """Maps that are not square, whose channels are as many as they are high."""

    def __init__(self, last: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.turn = Permute(0, 2, 3, 1) if last else nn.Identity()
        self.norm = nn.LayerNorm(8) if last else nn.BatchNorm2d(8)
        self.act = nn.GELU()
        self.fc = nn.Linear(8, 4)
        self.positions = (1, 2) if last else (2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.turn(self.conv(x))))
        return self.fc(x.mean(self.positions))


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 12), (12, 8), (6, 10)])
@pytest.mark.parametrize("last", [False, True])
def test_the_channel_axis_is_right_whatever_the_shape(height: int, width: int, last: bool) -> None:
    images = torch.randn(2, 3, height, width)
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(Shaped(last).eval(), (images,), dynamic_shapes=shapes)
    axes = {split.name: split.channel for split in splits(program)}
    assert axes["conv"] == 1
    assert axes["norm"] == axes["act"] == (3 if last else 1)


# --- gradient and first order -----------------------------------------------------------------


@pytest.mark.slow
@every_module
def test_the_gradient_is_each_images_own_backward(name: str) -> None:
    one = case(name)
    for split in some_splits(name):
        found = represent(cut(name, split), one.images, ALL)
        assert found.gradient is not None and found.feature_map is not None
        for i, image in enumerate(one.images):
            logits, feature, gradient = gradient_of(one.module, split, image[None])
            close(found.logits[i], logits)
            close(found.feature_map[i], feature)
            close(found.gradient[i], gradient, within=1e-4)


def test_among_equal_logits_the_gradient_is_that_of_the_predicted_class() -> None:
    class Even(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x).mean((2, 3)) @ torch.tensor([[1.0, 1, 0], [0, 1, 1]] * 2)

    module = Even().eval()
    with torch.no_grad():
        module.conv.weight.zero_()
        module.conv.bias.copy_(torch.tensor([1.0, 0, 1, 0]))  # logits 2, 2, 0
    images = torch.randn(2, 3, 8, 8)
    found = represent(Network(export(module, 8), "conv"), images, ALL)
    assert found.gradient is not None
    _, _, gradient = gradient_of(module, "conv", images[:1])
    close(found.gradient[0], gradient)


@pytest.mark.slow
@every_module
def test_first_order_is_autograds_derivative_of_the_modules_tail(name: str) -> None:
    one = case(name)
    for split in some_splits(name):
        network = cut(name, split)
        feature = network.body(one.images)
        change = torch.randn(feature.shape, generator=torch.Generator().manual_seed(3))
        logits, derivative = network.first_order(feature, change)
        run = tail(one.module, split, one.images)
        close(logits, run(feature))
        close(derivative, along(run, feature.clone(), change), within=1e-4)
        assert not derivative.requires_grad


@pytest.mark.slow
def test_first_order_costs_the_head_twice_and_no_products_by_zero() -> None:
    """Convolutions and linear maps once for the logits, once for the derivative."""
    module = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3)),
        nn.Sequential(nn.Conv2d(8, 10, 1), nn.BatchNorm2d(10), nn.ReLU6()),
        nn.Conv2d(10, 10, 3, padding=1, groups=2, bias=False),
        nn.Sigmoid(),
        nn.Flatten(2),
        nn.Linear(144, 7),
        nn.Flatten(),
        nn.Linear(70, 4),
    )
    network = Network(export(lively(module), 16), "0")
    feature = network.body(torch.randn(3, 3, 16, 16))
    with torch.no_grad(), FlopCounterMode(display=False) as once:
        network.head(feature)
    with FlopCounterMode(display=False) as twice:
        network.first_order(feature, torch.ones_like(feature))
    assert once.get_total_flops() > 3 * 2 * (8 * 10 * 144 + 10 * 144 * 7 + 70 * 4)
    assert twice.get_total_flops() == 2 * once.get_total_flops()


@every_module
def test_what_is_called_a_linear_head_is_one(name: str) -> None:
    for split in offered(name):
        if not split.linear:
            continue
        network = cut(name, split.name)
        feature = network.body(case(name).images)
        change = 3 * torch.randn(feature.shape, generator=torch.Generator().manual_seed(4))
        logits, derivative = network.first_order(feature, change)
        close(network.head(feature + change), logits + derivative)


def test_heads_are_told_linear_where_only_pooling_and_the_last_layer_follow() -> None:
    assert {s.name for s in offered("resnet18") if s.linear} >= {"layer4"}
    assert not next(s for s in offered("resnet18") if s.name == "layer3").linear


# --- memory format, the last linear map, folding ----------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", torch.channels_last),
        ("dense", torch.channels_last),
        ("shuffle", torch.contiguous_format),
    ],
)
def test_channels_last_where_the_graph_allows_it(name: str, expected: torch.memory_format) -> None:
    assert cut(name).memory_format is expected


def test_two_networks_of_one_program_do_not_disturb_each_other() -> None:
    one = case("shuffle")
    first = Network(one.program, "conv")
    truth = one.module(one.images)
    close(Network(one.program, "grouped")(one.images), truth)
    close(first.head(first.body(one.images)), truth)


@pytest.mark.parametrize(
    ("name", "layer"), [("resnet18", "fc"), ("vit", "head"), ("swin", "head.fc"), ("dense", "fc")]
)
def test_the_last_linear_map_is_the_modules(name: str, layer: str) -> None:
    fc = case(name).module.get_submodule(layer)
    assert isinstance(fc, nn.Linear)
    linear = cut(name).linear
    assert linear is not None
    assert torch.equal(linear.weight, fc.weight)
    assert torch.equal(linear.bias, fc.bias)


def test_a_last_linear_map_without_a_bias_has_a_bias_of_zeros() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5, bias=False)
    )
    linear = Network(export(module, 8)).linear
    assert linear is not None
    assert torch.equal(linear.weight, module[3].weight)
    assert torch.equal(linear.bias, torch.zeros(5))


def test_squeezenet_ends_in_no_linear_map() -> None:
    network = cut("squeezenet")
    assert network.linear is None
    logits, features = network.head_and_features(network.body(case("squeezenet").images))
    assert features is None
    assert represent(network, case("squeezenet").images, ALL).features is None
    close(logits, case("squeezenet").module(case("squeezenet").images))


class ConvNorm(nn.Module):
    def __init__(self, bias: bool, affine: bool, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(6, 6, 3, bias=bias, groups=groups, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(6, affine=affine, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(torch.cat([x, x.flip(1)], 1))).relu().mean((2, 3))


class TwoReaders(ConvNorm):
    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(torch.cat([x, x], 1))
        return (self.norm(x) + x).mean((2, 3))


class BatchStatistics(ConvNorm):
    def __init__(self) -> None:
        super().__init__(bias=True, affine=True, groups=1)
        self.norm = nn.BatchNorm2d(6, track_running_stats=False)


class InTraining(ConvNorm):
    """Has frozen statistics and does not use them."""

    def forward(self, x: Tensor) -> Tensor:
        norm, x = self.norm, self.conv(torch.cat([x, x], 1))
        given = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        return functional.batch_norm(x, *given, training=True, momentum=0.0).mean((2, 3))


class ComputedBias(ConvNorm):
    def forward(self, x: Tensor) -> Tensor:
        assert self.conv.bias is not None
        x = functional.conv2d(torch.cat([x, x], 1), self.conv.weight, 3 * self.conv.bias)
        return self.norm(x).mean((2, 3))


def folded(module: nn.Module) -> tuple[torch.fx.GraphModule, int]:
    """The exported module after folding, and how many batch norms are left."""
    graph_module = export(lively(module), 9).module(check_guards=False)
    fold_batch_norms(graph_module)
    names = [operator_name(node) for node in graph_module.graph.nodes]
    return graph_module, names.count("aten.batch_norm")


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_folding_keeps_the_numbers(bias: bool, affine: bool, groups: int) -> None:
    module = ConvNorm(bias, affine, groups)
    ours, left = folded(module)
    images = torch.randn(4, 3, 9, 9)
    assert left == 0
    close(ours(images), module(images), within=1e-5)


@pytest.mark.parametrize(
    "module",
    [
        TwoReaders(True, True, 1),
        BatchStatistics(),
        InTraining(True, True, 1),
        ComputedBias(True, True, 1),
    ],
)
def test_what_cannot_be_folded_is_left_alone(module: nn.Module) -> None:
    ours, left = folded(module)
    images = torch.randn(4, 3, 9, 9)
    assert left == 1
    close(ours(images), module(images), within=1e-5)


def test_folding_a_convolution_called_twice_folds_each_call_for_itself() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)
            self.norms = nn.ModuleList([nn.BatchNorm2d(3), nn.BatchNorm2d(3)])

        def forward(self, x: Tensor) -> Tensor:
            for norm in self.norms:
                x = norm(self.conv(x)).relu()
            return x.mean((2, 3))

    module = Twice()
    ours, left = folded(module)
    images = torch.randn(4, 3, 9, 9)
    assert left == 0
    close(ours(images), module(images), within=1e-5)


def test_a_real_network_is_folded_whole() -> None:
    one, network = case("resnet18"), cut("resnet18", "layer3")
    parts = [part for part in (network._body, network._head) if part is not None]
    left = [n for part in parts for n in part.graph.nodes if operator_name(n) == "aten.batch_norm"]
    assert len(parts) == 2 and not left
    close(network(one.images), one.module(one.images), within=1e-5)


def test_a_program_stays_where_it_is_when_a_network_of_it_goes_elsewhere() -> None:
    program = case("resnet18").program
    network = Network(program, device="meta")
    assert {value.device.type for value in network._head.state_dict().values()} == {"meta"}
    assert {value.device.type for value in program.state_dict.values()} == {"cpu"}
    values = [node.meta.get("val") for node in program.graph.nodes]
    assert {value.device.type for value in values if isinstance(value, Tensor)} == {"cpu"}
