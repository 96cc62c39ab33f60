"""The layer profile of real networks against forward hooks on their modules."""

from dataclasses import dataclass
from itertools import pairwise

import pytest
import timm
import torch
from torch import Tensor, nn

from gsc_core.classifier.network import Network
from gsc_core.classifier.stages import MOST_STAGES, MOST_VALUES
from gsc_core.detectors.base import Need
from gsc_core.scoring.onepass import represent

AUTO = torch.export.Dim.AUTO


@dataclass(frozen=True)
class Expected:
    """Modules whose outputs end the stages, and the axes of positions."""

    name: str
    side: int
    modules: tuple[str, ...]
    positions: tuple[int, ...] = (2, 3)


NETWORKS = (
    Expected("resnet18", 64, ("layer1", "layer2", "layer3", "layer4")),
    Expected("efficientnet_lite0", 64, tuple(f"blocks.{at}" for at in range(7))),
    Expected("vgg11", 64, ("features.2", "features.5", "features.10", "features")),
    Expected("convnext_atto", 64, tuple(f"stages.{at}" for at in range(4))),
    Expected("vit_tiny_patch16_224", 224, tuple(f"blocks.{at}" for at in (2, 5, 8, 11)), (1,)),
    Expected("swin_tiny_patch4_window7_224", 224, tuple(f"layers.{at}" for at in range(4)), (1, 2)),
)


def network_of(module: nn.Module, images: Tensor) -> Network:
    program = torch.export.export(module.eval(), (images,), dynamic_shapes=({0: AUTO},))
    return Network(program)


@pytest.mark.slow
@pytest.mark.parametrize("expected", NETWORKS, ids=lambda e: e.name)
def test_the_means_are_those_that_hooks_see(expected: Expected) -> None:
    torch.manual_seed(0)
    module = timm.create_model(expected.name, num_classes=10).eval()
    images = torch.randn(3, 3, expected.side, expected.side)
    seen: list[Tensor] = []
    for name in expected.modules:
        module.get_submodule(name).register_forward_hook(
            lambda _, __, output: seen.append(output.mean(dim=expected.positions))
        )
    with torch.no_grad():
        logits = module(images)
    network = network_of(timm_without_hooks(module), images)
    one = represent(network, images, Need.LOGITS | Need.LAYERS)
    assert one.layers is not None
    assert [stage.channels for stage in network.stages] == [mean.shape[1] for mean in seen]
    torch.testing.assert_close(one.layers, torch.cat(seen, dim=1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one.logits, logits, rtol=1e-4, atol=1e-5)


def timm_without_hooks(module: nn.Module) -> nn.Module:
    for part in module.modules():
        part._forward_hooks.clear()
    return module


class Chain(nn.Module):
    """Blocks of two convolutions with so many channels each, a pool and a linear map."""

    def __init__(self, *channels: int) -> None:
        super().__init__()
        pairs = zip((3, *channels), channels, strict=False)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 1), nn.ReLU(), nn.Conv2d(b, b, 1), nn.ReLU())
                for a, b in pairs
            )
        )
        self.fc = nn.Linear(channels[-1], 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.blocks(x).mean(dim=(2, 3)))


def chain(*channels: int) -> Network:
    torch.manual_seed(0)
    return network_of(Chain(*channels), torch.randn(2, 3, 4, 4))


@pytest.mark.slow
def test_a_stage_ends_with_the_last_block_of_its_width() -> None:
    stages = chain(4, 4, 6, 6, 6, 8).stages
    assert [(s.name, s.channels) for s in stages] == [
        ("blocks.1", 4),
        ("blocks.4", 6),
        ("blocks", 8),
    ]


@pytest.mark.slow
def test_of_many_stages_eight_are_read_the_last_among_them() -> None:
    stages = chain(*range(4, 24)).stages
    assert len(stages) == MOST_STAGES
    assert stages[-1].channels == 23
    gaps = [b.channels - a.channels for a, b in pairwise(stages)]
    assert max(gaps) - min(gaps) <= 1


def test_the_widest_stages_are_left_out_where_they_are_too_much() -> None:
    stages = chain(8, 16, 2500, 32, 2400).stages
    assert [s.channels for s in stages] == [8, 16, 32, 2400]
    assert sum(s.channels for s in stages) <= MOST_VALUES


def test_a_network_in_which_nothing_can_be_read_has_no_profile() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(48, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x.flatten(1))

    images = torch.randn(2, 3, 4, 4)
    network = network_of(Bare(), images)
    assert network.stages == ()
    assert represent(network, images, Need.LOGITS | Need.LAYERS).layers is None


def test_reading_the_layers_changes_nothing_else() -> None:
    network, images = chain(4, 6, 8), torch.randn(5, 3, 4, 4)
    needs = Need.LOGITS | Need.FEATURES | Need.FEATURE_MAP | Need.GRADIENT
    with_layers, without = (represent(network, images, n) for n in (needs | Need.LAYERS, needs))
    for name in ("logits", "features", "feature_map", "gradient"):
        assert torch.equal(getattr(with_layers, name), getattr(without, name))
    assert with_layers.layers is not None and not with_layers.layers.requires_grad
    assert without.layers is None
    alone = torch.cat([represent(network, one[None], needs | Need.LAYERS).layers for one in images])
    torch.testing.assert_close(alone, with_layers.layers)
