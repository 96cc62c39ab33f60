"""What a network does, and not what its operators are called, decides whether it is audited."""

import pytest
import timm
import torch
from torch import Tensor, nn

from gsc_core.classifier import Preprocessing
from gsc_core.classifier.load import Classifier, classifier_from_module
from gsc_core.classifier.network import Network
from gsc_core.detectors.base import Need
from gsc_core.errors import CheckpointError
from gsc_core.scoring.onepass import represent

SIZE = 16
PREPROCESSING = Preprocessing(resize=SIZE, crop=(SIZE, SIZE))
ALL = Need.LOGITS | Need.FEATURES | Need.FEATURE_MAP | Need.GRADIENT


class Standardised(nn.Conv2d):
    """A convolution with standardised weights, as BiT and NFNet compute them."""

    def forward(self, x: Tensor) -> Tensor:
        weight = nn.functional.batch_norm(
            self.weight.reshape(1, self.out_channels, -1), None, None, training=True, momentum=0.0
        ).reshape_as(self.weight)
        return nn.functional.conv2d(x, weight, self.bias)


class Trunk(nn.Module):
    """Two convolutions, pooled; `pooled` says how the axes go."""

    def __init__(self, conv: type[nn.Conv2d] = nn.Conv2d) -> None:
        super().__init__()
        self.block = nn.Sequential(conv(3, 6, 3), nn.ReLU(), conv(6, 8, 3), nn.ReLU())
        self.last = nn.Sequential(conv(8, 8, 3), nn.ReLU(), conv(8, 8, 1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.block(x)).mean((2, 3), keepdim=True)


class Squeezing(nn.Module):
    """`squeeze()` also drops the batch when it is one image."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.fc = Trunk(), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.trunk(x).squeeze())


class SqueezingTheBatch(Squeezing):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.trunk(x).squeeze(-1).squeeze(-1).squeeze(0))


class NeedsTwo(Squeezing):
    """Fails on one image for a reason of its own: it takes the differences of two neighbours."""

    def forward(self, x: Tensor) -> Tensor:
        logits = self.fc(self.trunk(x).flatten(1))
        return logits + 0 * logits[1:2].reshape(1, 4)


def opened(module: nn.Module, source: str = "mine") -> Classifier:
    torch.manual_seed(0)
    return classifier_from_module(module.eval(), PREPROCESSING, source=source)


def images(n: int) -> Tensor:
    return torch.randn(n, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


@pytest.mark.slow
def test_weight_standardisation_is_no_training_mode() -> None:
    module = nn.Sequential(Trunk(Standardised), nn.Flatten(), nn.Linear(8, 5))
    network = Network(opened(module).program)
    torch.testing.assert_close(network(images(3)), module(images(3)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnetv2_50x1_bit", "nfnet_l0"])
def test_families_with_standardised_weights_open(name: str) -> None:
    module = timm.create_model(name, num_classes=5).eval()
    preprocessing = Preprocessing(resize=64, crop=(64, 64))
    network = Network(classifier_from_module(module, preprocessing).program)
    pixels = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(network(pixels), module(pixels), rtol=1e-4, atol=1e-4)


class AlwaysDropout(nn.Module):
    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, self.p, training=True)


class Neighbours(nn.Module):
    """Each image's feature less the batch's mean: no operator has a flag for that."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0, keepdim=True)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (AlwaysDropout(0.5), "different logits each time"),
        (AlwaysDropout(0.1), "different logits each time"),
        (nn.BatchNorm1d(8, track_running_stats=False), "in another batch"),
        (Neighbours(), "in another batch"),
    ],
)
def test_what_depends_on_chance_or_on_the_batch_is_refused(layer: nn.Module, said: str) -> None:
    module = nn.Sequential(Trunk(), nn.Flatten(), layer, nn.Linear(8, 5))
    with pytest.raises(CheckpointError, match=rf"mine gives.*{said}.*model\.eval\(\)"):
        opened(module)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Squeezing, SqueezingTheBatch, NeedsTwo])
def test_a_batch_of_one_has_the_scores_it_has_in_a_batch(kind: type[Squeezing]) -> None:
    torch.manual_seed(0)
    network = Network(opened(kind()).program)
    assert network.split is not None
    together = represent(network, images(5), ALL)
    for index in range(5):
        alone = represent(network, images(5)[index : index + 1], ALL)
        for name in ("logits", "features", "feature_map", "gradient"):
            ours, truth = getattr(alone, name), getattr(together[index : index + 1], name)
            if truth is not None:
                torch.testing.assert_close(ours, truth, rtol=1e-4, atol=1e-5)
    feature = network.body(images(1))
    change = torch.randn_like(feature)
    logits, along = network.first_order(feature, change)
    _, expected = network.first_order(torch.cat([feature] * 2), torch.cat([change] * 2))
    assert logits.shape == (1, 4)
    torch.testing.assert_close(along, expected[:1], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_only_a_network_that_needs_it_runs_one_image_twice() -> None:
    plain = Network(opened(nn.Sequential(Trunk(), nn.Flatten(), nn.Linear(8, 4))).program)
    sizes: list[int] = []
    for module, expected in ((plain, 1), (Network(opened(NeedsTwo()).program), 2)):
        assert module._body is not None
        module._body.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
        module.body(images(1))
        assert sizes.pop() == expected
