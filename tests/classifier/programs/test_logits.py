"""Logits are found among what a network gives, and probabilities are not taken for them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from hostile_programs import save
from torch import Tensor, nn

from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.classifier.load import Classifier, classifier_from_module, load_classifier
from gsc_core.classifier.network import Network
from gsc_core.classifier.programs.ending import may_be_bounded
from gsc_core.classifier.programs.scale import Scale, scale_of
from gsc_core.errors import CheckpointError

SIZE = 16
PREPROCESSING = Preprocessing(resize=SIZE, crop=(SIZE, SIZE))


class Ending(nn.Module):
    """A small network; `ending` makes its output of its feature `[B,8]` and its logits `[B,K]`."""

    def __init__(self, ending: Callable[[Tensor, Tensor], Any], classes: int = 5) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU())
        self.fc = nn.Linear(8, classes)
        self.ending = ending

    def features(self, x: Tensor) -> Tensor:
        return self.block(x).mean((2, 3))

    def logits(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x))

    def forward(self, x: Tensor) -> Any:
        feature = self.features(x)
        return self.ending(feature, self.fc(feature))


def images(n: int) -> Tensor:
    return torch.randn(n, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def opened(module: nn.Module, way: str, tmp_path: Path) -> Classifier:
    if way == "module":
        return classifier_from_module(module.eval(), PREPROCESSING, source="mine")
    path = save(module, tmp_path / "mine.pt2", size=SIZE)
    return load_classifier(ModelSpec(checkpoint=path, preprocessing=PREPROCESSING))


WAYS = pytest.mark.parametrize("way", ["module", "pt2"])


@pytest.mark.slow
@WAYS
@pytest.mark.parametrize(
    ("ending", "said"),
    [
        (lambda _, z: z.softmax(1), "a softmax"),
        (lambda _, z: z.softmax(-1), "a softmax"),
        (lambda _, z: nn.functional.log_softmax(z, 1), "a log-softmax"),
        (lambda _, z: z.sigmoid(), "a sigmoid"),
        (lambda _, z: z.softmax(1).clamp(1e-6, 1 - 1e-6), "a softmax"),
        (lambda _, z: z.sigmoid().mul(100), "a sigmoid"),
        (lambda _, z: z.unsqueeze(2).unsqueeze(3).softmax(1).flatten(1), "a softmax"),
        (lambda _, z: (z.softmax(1) + 1e-8).log(), "a softmax"),
        (lambda _, z: (z, z.softmax(1)), "a softmax"),
    ],
)
def test_an_activation_at_the_end_is_left_out_and_said(
    ending: Callable[[Tensor, Tensor], Any], said: str, way: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    module = Ending(ending)
    classifier = opened(module, way, tmp_path)
    network = Network(classifier.program)
    torch.testing.assert_close(network(images(3)), module.logits(images(3)))
    assert network.linear is not None, "the last linear map is seen behind it"
    assert any(f"ends in {said}: the values before it" in change for change in classifier.notes)


@WAYS
@pytest.mark.parametrize(
    "ending",
    [
        lambda _, z: (
            (z - z.amax(1, keepdim=True)).exp()
            / (z - z.amax(1, keepdim=True)).exp().sum(1, keepdim=True)
        ),
        lambda f, z: (z.softmax(1) + f[:, :5].softmax(1)) / 2,
        lambda _, z: torch.cat([1 - z[:, :1].sigmoid(), z[:, :1].sigmoid()], 1),
    ],
    ids=["by hand", "average", "two of one"],
)
def test_probabilities_made_otherwise_are_refused(
    ending: Callable[[Tensor, Tensor], Any], way: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"mine.* sum to the same.*without its softmax"):
        opened(Ending(ending), way, tmp_path)


def a_named_tuple(f: Tensor, z: Tensor) -> Any:
    return {"features": f, "logits": z, "mask": z > 0, "loss": z.sum()}


@WAYS
@pytest.mark.parametrize(
    ("ending", "said"),
    [
        (lambda f, z: (z, f), "It gives 2 tensors: number 1"),
        (lambda f, z: (f, z), "It gives 2 tensors: number 2"),
        (lambda f, z: [z, None, f], "It gives 2 tensors: number 1"),
        (lambda f, z: (z, (f, f[:, None])), "It gives 3 tensors: number 1"),
        (lambda f, z: {"features": f, "out": z}, "It gives 2 tensors: 'out'"),
        (lambda f, z: {"logits": z, "probabilities": z.softmax(1)}, "tensors: 'logits'"),
        (lambda f, z: (z.argmax(1), z), "It gives 2 tensors: number 2"),
        (a_named_tuple, "It gives 4 tensors: 'logits'"),
    ],
)
def test_the_logits_are_chosen_among_several_tensors_and_that_is_said(
    ending: Callable[[Tensor, Tensor], Any], said: str, way: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    module = Ending(ending)
    classifier = opened(module, way, tmp_path)
    torch.testing.assert_close(Network(classifier.program)(images(3)), module.logits(images(3)))
    assert said in classifier.notes[0]
    assert classifier.notes[0].endswith("[batch, 5] is taken as its logits.")


@WAYS
@pytest.mark.parametrize(
    "ending",
    [
        lambda _, z: z,
        lambda _, z: z.squeeze(1),
        lambda _, z: z[:, 0],
        lambda _, z: z.sigmoid(),
        lambda _, z: z.sigmoid().squeeze(),
    ],
    ids=["[B,1]", "[B]", "[:,0]", "sigmoid", "sigmoid [B]"],
)
def test_one_logit_is_audited_as_zero_and_itself(
    ending: Callable[[Tensor, Tensor], Any], way: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    module = Ending(ending, classes=1)
    classifier = opened(module, way, tmp_path)
    assert classifier.num_classes == 2
    network = Network(classifier.program)
    logits = network(images(4))
    assert logits[:, 0].tolist() == [0] * 4
    torch.testing.assert_close(logits[:, 1:], module.logits(images(4)))
    assert any("one logit z" in change for change in classifier.notes)
    assert network.linear is not None
    _, features = network.head_and_features(network.body(images(4)))
    assert features is not None
    torch.testing.assert_close(network.linear(features), logits)

    two = classifier_from_module(module.eval(), PREPROCESSING, ("no", "yes"))
    assert two.class_names == ("no", "yes")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["timm/test_resnet", "timm/test_vit"])
def test_one_logit_from_a_state_dict(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = timm.create_model(name.removeprefix("timm/"), num_classes=1).eval()
    torch.save(module.state_dict(), tmp_path / "mine.pt")
    classifier = load_classifier(ModelSpec(checkpoint=tmp_path / "mine.pt", architecture=name))
    assert classifier.num_classes == 2
    some = torch.randn(3, *classifier.preprocessing.shape)
    logits = Network(classifier.program)(some)
    assert logits[:, 0].tolist() == [0] * 3
    with torch.no_grad():
        torch.testing.assert_close(logits[:, 1:], module(some), rtol=1e-4, atol=1e-4)
    assert any("one logit z" in note for note in classifier.notes)


@pytest.mark.parametrize(
    ("outputs", "scale"),
    [
        (lambda z: z, Scale.LOGITS),
        (lambda z: z.relu(), Scale.LOGITS),
        (lambda z: z / z.norm(dim=1, keepdim=True), Scale.LOGITS),
        (lambda z: z.softmax(1), Scale.PROBABILITIES),
        (lambda z: 100 * z.softmax(1), Scale.PROBABILITIES),
        (lambda z: z.softmax(1).half(), Scale.PROBABILITIES),
        (lambda z: (20 * z).softmax(1), Scale.PROBABILITIES),
        (lambda z: z.sigmoid(), Scale.UNIT),
        (lambda z: (z > 0).float(), Scale.UNIT),
        (lambda z: z.log_softmax(1), Scale.LOG_PROBABILITIES),
        (lambda z: nn.functional.pad(z[:, :1], [1, 0]), Scale.LOGITS),
        (lambda z: nn.functional.pad(z[:, :1].sigmoid(), [1, 0]), Scale.UNIT),
        (torch.zeros_like, Scale.UNIT),
        (lambda z: z.relu()[:1], Scale.LOGITS),
        (lambda z: z * torch.nan, Scale.LOGITS),
    ],
)
def test_what_outputs_are_is_seen_by_their_values(
    outputs: Callable[[Tensor], Tensor], scale: Scale
) -> None:
    torch.manual_seed(0)
    assert scale_of(outputs(3 * torch.randn(40, 4)), bounded=True) is scale


@pytest.mark.slow
def test_no_untrained_network_is_taken_for_one_that_gives_probabilities() -> None:
    """Of 200 with little spread, whose outputs often all lie between 0 and 1 by chance."""
    noise, by_chance = images(40), 0
    for seed in range(200):
        torch.manual_seed(seed)
        network = Ending(lambda _, logits: logits, classes=2 + seed % 3)
        with torch.no_grad():
            logits = network(noise)
        assert scale_of(logits, bounded=False) is Scale.LOGITS, seed
        assert scale_of(logits.softmax(1), bounded=True) is Scale.PROBABILITIES, seed
        assert scale_of(logits.softmax(1).half(), bounded=True) is Scale.PROBABILITIES, seed
        assert scale_of(logits.log_softmax(1), bounded=True) is Scale.LOG_PROBABILITIES, seed
        # Two sigmoids may sum to nearly 1 by chance, and are refused with a softmax's sentence.
        assert scale_of(logits.sigmoid(), bounded=True) in (Scale.UNIT, Scale.PROBABILITIES), seed
        by_chance += scale_of(logits, bounded=True) is Scale.UNIT
    assert by_chance > 3


@WAYS
@pytest.mark.parametrize(
    ("ending", "bounded"),
    [
        (lambda _, logits: logits, False),
        (lambda _, logits: logits * 3 + 1, False),
        (lambda _, logits: logits.relu(), False),
        (lambda _, logits: logits[:, :1], False),
        (lambda feature, logits: logits + feature[:, :5], False),
        (lambda _, logits: 1 / (1 + (-logits).exp()), True),
        (lambda _, logits: 0.5 + 0.5 * logits.tanh(), True),
        (lambda _, logits: logits.clamp(0, 1), True),
        (lambda _, logits: (logits - logits.amin(1, True)) / (logits.amax(1, True) + 9), True),
        (lambda _, logits: logits.sigmoid() + 0 * logits, True),
    ],
)
def test_what_may_hold_outputs_in_a_range_is_seen_in_the_program(
    way: str,
    ending: Callable[[Tensor, Tensor], Tensor],
    bounded: bool,
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    assert may_be_bounded(opened(Ending(ending), way, tmp_path).program) is bounded
