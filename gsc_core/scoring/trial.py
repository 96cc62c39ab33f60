"""Short trials on a graphics card before the work: compiled or not, and how many images at a time.

A trial costs a few thousand passes, so it is for audits of more images than that.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gsc_core.classifier.network import Network
from gsc_core.errors import SpecError
from gsc_core.scoring.scorer import Scorer

WORTH_A_TRIAL = 4096  # images from which on looking for the batch size saves more than it costs
SIZES = (32, 64, 128, 256, 512)
_AS_FAST = 0.97  # of the best rate: less than what two timings of one size differ by
_PAYS = 1.05  # times as fast must compiled passes be
_ROUNDS = 3
_LOG = logging.getLogger("gsc_core")


@dataclass(frozen=True)
class Compiled:
    """The network to go on with, and how many times as fast its compiled passes were.

    `speedup` is None where they could not be tried; `network` is compiled where that pays.
    """

    network: Network
    speedup: float | None


def largest_fast(rate: Callable[[int], float], sizes: tuple[int, ...] = SIZES) -> int:
    """The largest batch that fits and is not slower than smaller ones.

    `rate(size)` gives images a second, and raises torch.OutOfMemoryError where the batch does not
    fit, which ends the search; the smallest size is taken for granted.
    """
    rates: dict[int, float] = {}
    for size in sizes:
        try:
            rates[size] = rate(size)
        except torch.OutOfMemoryError:
            break
    best = max(rates.values(), default=0.0)
    return max((s for s, r in rates.items() if r >= _AS_FAST * best), default=sizes[0])


def batch_size_by_trial(scorer: Scorer) -> int:
    """The batch size for `scorer` on its device: random images through the one pass."""
    largest = random_images(scorer, SIZES[-1])

    def rate(size: int) -> float:
        some = largest[:size]
        return size / seconds(lambda: scorer.represent_whole(some), scorer.network.device)

    return largest_fast(rate)


def compile_where_faster(network: Network, images: Tensor) -> Compiled:
    """Compile the forward passes of `network` if that is faster on `images`, as preprocessed.

    Raises SpecError on another device than CUDA, where it was never seen to pay.
    """
    if network.device.type != "cuda":
        raise SpecError("Compiling pays off only on CUDA: leave it out, or choose a CUDA device.")
    return faster_of(network, network.compiled(), images)


def faster_of(network: Network, compiled: Network, images: Tensor) -> Compiled:
    """Time both on `images`; whatever the compiler cannot do, the usual passes can."""

    def forward(one: Network) -> Callable[[], object]:
        def run() -> object:
            with torch.no_grad():
                return one.head(one.body(images))

        return run

    try:
        fast = seconds(forward(compiled), network.device)
    except torch.OutOfMemoryError:
        raise
    except Exception:  # no compiler for C, an operator it does not know: it raises nearly anything
        _LOG.exception("the network cannot be compiled here, so it runs as it is")
        return Compiled(network, None)
    speedup = seconds(forward(network), network.device) / fast
    return Compiled(compiled if speedup >= _PAYS else network, speedup)


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """The fastest of a few runs after one that is not counted, waiting for the device."""
    times = []
    for counted in range(-1, _ROUNDS):
        _wait(device)
        started = time.perf_counter()
        run()
        _wait(device)
        if counted >= 0:
            times.append(time.perf_counter() - started)
    return min(times)


def random_images(scorer: Scorer, count: int) -> Tensor:
    """Noise as it leaves the decoder, uint8 `[count,C,H,W]`."""
    generator = torch.Generator().manual_seed(0)
    shape = (count, *scorer.preprocessing.shape)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
