"""The default cut: deep, with a non-linearity and some of the operations behind it."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gsc_core.classifier.network import Network
from gsc_core.classifier.programs.program import export
from gsc_core.classifier.split import Split, default_split, splits

SIZE = 32


class Hybrid(nn.Module):
    """A stem of convolutions and then blocks of tokens, as XCiT has them."""

    def __init__(self, blocks: int = 8, width: int = 24) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 4, 4), nn.GELU(), nn.Conv2d(width, width, 1), nn.GELU()
        )
        self.blocks = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(width, 2, 2 * width, batch_first=True)
                for _ in range(blocks)
            )
        )
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x).flatten(2).transpose(1, 2)).mean(1))


def split_of(behind: float, linear: bool = False, block: bool = True) -> Split:
    return Split(f"{behind}", (4, 4, 4), 1, block, linear, behind=behind)


@pytest.mark.slow
def test_a_hybrid_is_cut_in_its_last_blocks() -> None:
    torch.manual_seed(0)
    chosen = default_split(splits(export(Hybrid().eval(), (SIZE, SIZE), "hybrid")))
    assert chosen is not None and not chosen.linear
    assert chosen.name == "blocks.6"
    assert 0.01 < chosen.behind < 0.4


def test_the_deepest_with_a_share_behind_it_is_chosen() -> None:
    layers = [
        split_of(0.9),
        split_of(0.3),
        split_of(0.05),
        split_of(0.001),
        split_of(0, linear=True),
    ]
    assert default_split(layers) == layers[2]
    assert default_split([layers[0], *layers[3:]]) == layers[3]
    assert default_split([layers[0], layers[4]]) == layers[0]
    assert default_split(layers[4:]) == layers[4]
    single = split_of(0.02, block=False)
    assert default_split([layers[1], single]) == layers[1]
    assert default_split([single, layers[4]]) == single
    assert default_split([]) is None


@pytest.mark.slow
def test_the_share_behind_is_that_of_torchs_counter() -> None:
    """Which counts two for a multiplication with its sum, and nothing for what is pointwise."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU()),
        nn.Sequential(nn.Conv2d(64, 64, 3, 2), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.ReLU()),
        nn.Sequential(nn.Conv2d(64, 64, 3, groups=4), nn.ReLU(), nn.Conv2d(64, 64, 1), nn.ReLU()),
        nn.Flatten(),
        nn.LazyLinear(40),
        nn.ReLU(),
        nn.Linear(40, 5),
    )
    images = torch.zeros(1, 3, SIZE, SIZE)
    module(images)
    program = export(module.eval(), (SIZE, SIZE), "counted")
    for split in splits(program):
        if not split.block:
            continue
        network = Network(program, split.name)
        with torch.no_grad(), FlopCounterMode(display=False) as whole:
            module(images)
        with torch.no_grad(), FlopCounterMode(display=False) as behind:
            network.head(torch.zeros(1, *split.shape))
        share = behind.get_total_flops() / whole.get_total_flops()
        assert abs(split.behind - share) < 0.02
