"""From JPEG files to scores: decoding alone, the network alone, and both together, from one run.

    python -m benchmarks.files [--model resnet18] [--folder PHOTOS] [--device auto] [--json]

Images a second, once the decoders run. `--model` is a name of torchvision's, with random weights,
or a .pt2 file; without `--folder` the benchmark makes its own photos, of 500 × 375 pixels and about
28 kB. `decoders` are processes; 0 stands for two threads.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import Tensor

from gsc_core.audit.inputs import device_of
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.classifier.arithmetic import Precision
from gsc_core.classifier.load import Classifier, classifier_from_module, load_classifier
from gsc_core.classifier.network import Network
from gsc_core.images import ImageFile, read_folder
from gsc_core.scoring.decoders import Decoders
from gsc_core.scoring.loading import read_batches
from gsc_core.scoring.scorer import Scorer

PREPROCESSING = Preprocessing.parse(
    "resize=256,crop=224,interpolation=bicubic,mean=0.498,std=0.502"
)
OWN_PHOTOS = 256
ROUNDS = 5
WARM_UP = 256  # images, and as many more as it takes until all decoders run


@dataclass(frozen=True)
class Speed:
    """Images a second of one way, and the CPU milliseconds an image takes this process."""

    way: str
    decoders: int | None
    images: int
    images_per_second: float
    cpu_ms_per_image: float


def own_photos(folder: Path) -> list[ImageFile]:
    """Smooth colours under some noise, as JPEG."""
    random = np.random.default_rng(0)
    for index in range(OWN_PHOTOS):
        small = random.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        smooth = Image.fromarray(small).resize((500, 375), Image.Resampling.BICUBIC)
        noisy = np.asarray(smooth) + random.normal(0, 5, (375, 500, 3))
        photo = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
        photo.save(folder / f"{index:04}.jpg", quality=80)
    return list(read_folder(folder, "photos").images)


def classifier_of(name: str) -> Classifier:
    """A .pt2 file, or a network of torchvision's with random weights."""
    if name.endswith(".pt2"):
        return load_classifier(ModelSpec(checkpoint=Path(name), preprocessing=PREPROCESSING))
    torch.manual_seed(0)
    module = torchvision.models.get_model(name).eval().requires_grad_(False)
    return classifier_from_module(module, PREPROCESSING)


class Bench:
    """The three ways, over the same photos again and again."""

    def __init__(self, scorer: Scorer, photos: Sequence[ImageFile], batch: int) -> None:
        self.scorer = scorer
        self.photos = photos
        self.batch = batch

    def decoding(self, decoders: int, images: int) -> Speed:
        """Decoding alone."""
        with Decoders(most=decoders) as running:
            self._warmed_up(running, decoders)
            return self._timed("decoding", decoders, images, self._read(images, running))

    def in_turn(self, numbers: Sequence[int | None], images: int, rounds: int) -> list[Speed]:
        """The network alone, then with so many decoders, all in every round: machines waver."""
        few = [pixels for pixels in self._read(4 * self.batch, None) if len(pixels) == self.batch]
        each = -(-images // rounds // self.batch) * self.batch
        speeds = []
        with ExitStack() as stack:
            running = {n: stack.enter_context(Decoders(most=n, images=images)) for n in numbers}
            for number, decoders in running.items():
                self._warmed_up(decoders, number or 0)
            self.scorer.represent(few[0])
            for _ in range(rounds):
                batches = islice(cycle(few), each // self.batch)
                speeds.append(self._timed("network", None, each, self._scored(batches)))
                for number, decoders in running.items():
                    scored = self._scored(self._read(each, decoders))
                    speeds.append(self._timed("together", number, each, scored))
        return speeds

    def _warmed_up(self, running: Decoders, decoders: int) -> None:
        for _ in self._read(WARM_UP, running):
            pass
        while running.width < decoders:
            for _ in self._read(2 * self.batch, running):
                pass

    def _read(self, images: int, running: Decoders | None) -> Iterator[Tensor]:
        files = list(islice(cycle(self.photos), images))
        read = read_batches(files, self.scorer.preprocessing, self.batch, 2, running)
        return (batch.pixels for batch in read)

    def _scored(self, batches: Iterable[Tensor]) -> Iterator[object]:
        return (self.scorer.score(self.scorer.represent(pixels)) for pixels in batches)

    def _timed(self, way: str, decoders: int | None, images: int, work: Iterable[object]) -> Speed:
        cpu, start = _cpu_seconds(), time.perf_counter()
        for _ in work:
            pass
        seconds, cpu = time.perf_counter() - start, _cpu_seconds() - cpu
        return Speed(way, decoders, images, images / seconds, 1e3 * cpu / images)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def numbers_of_decoders(most: int) -> list[int]:
    """Threads alone, then 1, 2, 4, … processes up to the cores."""
    return [0, *sorted({min(2**power, most) for power in range(most.bit_length() + 1)})]


def measured(bench: Bench, images: int, numbers: Sequence[int]) -> Iterator[Speed]:
    """Every way once; decoding takes as many images as the decoders are worth."""
    most = len(os.sched_getaffinity(0))
    for decoders in numbers:
        yield bench.decoding(decoders, max(512, images * max(1, decoders) // most))
    yield from bench.in_turn((0, most, None), images, ROUNDS)


def ratios_of(speeds: Sequence[Speed]) -> dict[str, float]:
    """What is promised: together over the slower of the two, two decoders over one.

    The median of the ratios of the rounds.
    """
    decoding = {each.decoders: each.images_per_second for each in speeds if each.way == "decoding"}
    network = [each.images_per_second for each in speeds if each.way == "network"]
    both: dict[int | None, list[float]] = {}
    for each in speeds:
        if each.way == "together":
            both.setdefault(each.decoders, []).append(each.images_per_second)
    fastest = max(decoding.values())
    found = {
        f"together, {_spelled(number)} / slower of both": statistics.median(
            rate / min(alone, fastest) for rate, alone in zip(rates, network, strict=True)
        )
        for number, rates in both.items()
    }
    if 2 in decoding:
        found["2 decoders / 1"] = decoding[2] / decoding[1]
    return found


def _spelled(decoders: int | None) -> str:
    if decoders is None:
        return "by itself"
    return "threads" if decoders == 0 else f"{decoders} decoders"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="resnet18", help="torchvision's name, or a .pt2 file")
    parser.add_argument("--folder", type=Path, help="photos; else the benchmark makes its own")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=("auto", "float32", "bf16"), default="auto")
    parser.add_argument("--batch", type=int, help="else 8 on a processor and 256 on a card")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--decoders", help="numbers of them to decode with alone, such as 1,16")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    device = device_of(chosen.device)
    batch = chosen.batch or (8 if device.type == "cpu" else 256)
    precision = Precision.of(chosen.precision, device)
    network = Network(classifier_of(chosen.model).program, device=device, precision=precision)
    scorer = Scorer(network, PREPROCESSING, [])
    with nullcontext(chosen.folder) if chosen.folder else TemporaryDirectory() as folder:
        own = chosen.folder is None
        photos = own_photos(Path(folder)) if own else read_folder(Path(folder), "photos").images
        speeds = []
        numbers = numbers_of_decoders(len(os.sched_getaffinity(0)))
        if chosen.decoders:
            numbers = [int(number) for number in chosen.decoders.split(",")]
        for speed in measured(Bench(scorer, photos, batch), chosen.images, numbers):
            speeds.append(speed)
            sys.stderr.write(
                f"{speed.way:10s} {_spelled(speed.decoders) if speed.way != 'network' else '':12s}"
                f"{speed.images_per_second:9.0f} images/s {speed.cpu_ms_per_image:8.2f} CPU ms\n"
            )
    document = {
        "model": Path(chosen.model).name,
        "device": str(device),
        "batch": batch,
        "threads": torch.get_num_threads(),
        "cores": len(os.sched_getaffinity(0)),
        "speeds": [asdict(speed) for speed in speeds],
        "ratios": ratios_of(speeds),
    }
    if chosen.json:
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return
    for name, ratio in ratios_of(speeds).items():
        sys.stdout.write(f"{name:44s} {ratio:6.2f}\n")


if __name__ == "__main__":
    main()
