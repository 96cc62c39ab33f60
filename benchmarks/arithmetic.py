"""How fast networks compute in each precision, bare and with our detectors, on preloaded images.

    python -m benchmarks.arithmetic [--device auto] [--models resnet50,vit_b_16] [--batch 256]

Images a second, and ratios within one run. `bare` is torchvision's own module, channels-last, under
`inference_mode` in the same precision. Weights are random: they change no speed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import torch
import torchvision
from torch import Tensor, nn

from benchmarks.overhead import calibration_of, fitted, in_turn
from gsc_core.audit.inputs import device_of
from gsc_core.classifier import Preprocessing
from gsc_core.classifier.arithmetic import Precision
from gsc_core.classifier.load import classifier_from_module
from gsc_core.classifier.network import Network
from gsc_core.detectors.catalogue import CATALOGUE
from gsc_core.detectors.gsc import GSC
from gsc_core.scoring.scorer import Scorer

MODELS = ("resnet50", "vit_b_16")
BARE = "bare"
Run = Callable[[], object]


@dataclass(frozen=True)
class Speed:
    """Images a second of one way to compute, and how long it takes as a multiple of `bare`."""

    model: str
    precision: str
    way: str
    images_per_second: float
    times_bare: float


def measure(
    models: Sequence[str], device: torch.device, batch: int, rounds: int
) -> Iterator[Speed]:
    """Every model in every precision of the device."""
    for name in models:
        torch.manual_seed(0)
        module = torchvision.models.get_model(name).eval().requires_grad_(False)
        program = classifier_from_module(module, Preprocessing()).program
        pixels = torch.randint(0, 256, (batch, 3, 224, 224), dtype=torch.uint8, device=device)
        for precision in precisions(device):
            network = Network(program, device=device, precision=precision)
            contenders = {
                name: waiting(run, device)
                for name, run in ways(module, network, pixels, precision).items()
            }
            ratios = in_turn(contenders, rounds)
            for way, seconds in ratios.seconds.items():
                rate = batch / statistics.median(seconds)
                yield Speed(name, precision, way, rate, ratios.against(way, BARE))


def precisions(device: torch.device) -> tuple[Precision, ...]:
    """All that differ there; bfloat16 on a processor is no faster on most."""
    on_cuda = device.type == "cuda"
    return tuple(Precision) if on_cuda else (Precision.FLOAT32,)


def ways(
    module: nn.Module, network: Network, pixels: Tensor, precision: Precision
) -> dict[str, Run]:
    """The bare forward pass, ours with GSC, with all of one pass; in bf16 on CUDA also compiled."""
    device = pixels.device
    bare = module.to(device).to(memory_format=torch.channels_last)
    images = Preprocessing().normalise(pixels).to(memory_format=torch.channels_last)

    def forward(one: Callable[[Tensor], Tensor]) -> Run:
        def run() -> object:
            with torch.inference_mode(), precision.flags(device), precision.autocast(device):
                return one(images)

        return run

    def ours(scorer: Scorer) -> Run:
        return lambda: scorer.score(scorer.represent(pixels))

    calibration = calibration_of(network, pixels[:32])
    every = [detector() for detector in CATALOGUE if not detector.extra_forwards]
    found = {
        BARE: forward(bare),
        "gsc": ours(fitted([GSC()], calibration)),
        "all but odin and adascale": ours(fitted(every, calibration)),
    }
    if precision is Precision.BF16 and device.type == "cuda":  # each takes the better of a minute
        found["bare, compiled"] = forward(torch.compile(bare))
        calibration = calibration_of(network.compiled(), pixels[:32])
        found["gsc, compiled"] = ours(fitted([GSC()], calibration))
    return found


def waiting(run: Run, device: torch.device) -> Run:
    """The same, until the device is done."""
    if device.type == "cpu":
        return run

    def until_done() -> None:
        run()
        torch.accelerator.synchronize(device)

    return until_done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--models", default=",".join(MODELS), help="names of torchvision's models")
    parser.add_argument("--batch", type=int, help="else 256 on a graphics card, 32 elsewhere")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    device = device_of(chosen.device)
    print(f"{device}, torch {torch.__version__}", file=sys.stderr)
    batch = chosen.batch or (32 if device.type == "cpu" else 256)
    speeds = list(measure(chosen.models.split(","), device, batch, chosen.rounds))
    if chosen.json:
        print(json.dumps([asdict(speed) for speed in speeds], indent=2))
        return
    for one in speeds:
        print(
            f"{one.model:12s} {one.precision:8s} {one.way:16s} "
            f"{one.images_per_second:9,.1f} images/s {one.times_bare:6.2f} × bare"
        )


if __name__ == "__main__":
    main()
