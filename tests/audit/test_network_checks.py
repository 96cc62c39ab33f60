"""What the checks say of a network's outputs and of its cut."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gsc_core.audit.checks.base import Evidence
from gsc_core.audit.checks.cut import cut
from gsc_core.audit.checks.opening import opening
from gsc_core.audit.checks.outputs import outputs
from gsc_core.classifier import Preprocessing
from gsc_core.classifier.load import classifier_from_module
from gsc_core.classifier.network import Network
from gsc_core.errors import SpecError


class Small(nn.Module):
    def __init__(self, ending: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU())
        self.fc, self.ending = nn.Linear(8, 4), ending

    def forward(self, x: Tensor) -> Tensor:
        return self.ending(self.fc(self.block(x).mean((2, 3))))


def evidence(ending: Callable[[Tensor], Tensor], split: str | None = None) -> Evidence:
    torch.manual_seed(0)
    preprocessing = Preprocessing(resize=16, crop=(16, 16))
    classifier = classifier_from_module(Small(ending).eval(), preprocessing, source="mine")
    network = Network(classifier.program, split)
    logits = network(torch.randn(20, 3, 16, 16)).detach()
    return Evidence(classifier, network, (), logits, torch.full((20,), -1), "none")


@pytest.mark.slow
def test_logits_are_fine() -> None:
    assert outputs(evidence(lambda z: z)).outcome == "fine"
    assert opening(evidence(lambda z: z)) is None


def test_a_sigmoid_by_hand_is_refused_on_the_images() -> None:
    with pytest.raises(SpecError, match=r"mine gives the calibration images.*without its sigmoid"):
        outputs(evidence(lambda z: 1 / (1 + (-z).exp())))


def test_log_probabilities_by_hand_are_warned_of() -> None:
    check = outputs(evidence(lambda z: z - z.exp().sum(1, keepdim=True).log()))
    assert check.outcome == "warning"
    assert "the energy is 0 for every image" in check.sentence


def test_what_was_left_out_is_said() -> None:
    check = opening(evidence(lambda z: z.softmax(1)))
    assert check is not None and "It ends in a softmax" in check.sentence


@pytest.mark.parametrize(("split", "outcome"), [("block.0", "warning"), ("block", "fine")])
def test_the_share_behind_the_cut_is_said(split: str, outcome: str) -> None:
    check = cut(evidence(lambda z: z, split))
    assert check.outcome == outcome
    assert check.sentence.startswith(f"The network is cut at {split}: ")
    said = "most of it" if split == "block.0" else "all of them linear"
    assert said in check.sentence
