"""A network cut in two against the original module with a hook at the same layer."""

import pytest
import torch
from hooked import export, feature_of, tail
from networks import ALL, case, close, cut, every_module, offered, some_splits
from torch import Tensor, nn

from gsc_core.classifier.network import Network
from gsc_core.classifier.split import choose
from gsc_core.scoring.onepass import represent


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


def test_a_program_stays_where_it_is_when_a_network_of_it_goes_elsewhere() -> None:
    program = case("resnet18").program
    network = Network(program, device="meta")
    assert {value.device.type for value in network._head.state_dict().values()} == {"meta"}
    assert {value.device.type for value in program.state_dict.values()} == {"cpu"}
    values = [node.meta.get("val") for node in program.graph.nodes]
    assert {value.device.type for value in values if isinstance(value, Tensor)} == {"cpu"}
