"""Which cuts are offered, and which is the default."""

import pytest
import torch
from hooked import export, feature_of, tail
from networks import ALL, Permute, case, close, cut, every_module, offered
from torch import Tensor, nn

from gsc_core.classifier.network import Network
from gsc_core.classifier.split import choose, default_split, splits
from gsc_core.errors import SpecError
from gsc_core.scoring.onepass import represent


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
