"""The Ray engine beside the local one on this machine: `python -m benchmarks.cluster`.

Images are rendered JPEGs, in tar shards; the network is a ResNet-18 with random weights. Scored are
so many images by the local engine with two decoding processes, and by a Ray cluster of two actors.
Told are the images a second once both actors score, the seconds until then, and the peak memory of
the driver and of each process of the cluster; then what `simulate_cluster` says of that cluster,
from what decoding and scoring an image took. With `--flat`, the cluster's memory at ten times as
many small images.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.models import resnet18

from benchmarks.simulate_cluster import Cluster, simulate
from gsc_core.audit.inputs import network_of
from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.classifier.load import load_classifier
from gsc_core.images import read_images
from gsc_core.progress import Progress
from gsc_core.scoring.calibration import calibrate
from gsc_core.scoring.decoder import fill, prepared
from gsc_core.scoring.loading import Pace
from gsc_core.scoring.scorer import Scorer

PHASE = "scoring far"


def shard_of(path: Path, images: int, side: int, seed: int) -> Path:
    """Noise of several scales: JPEGs of about 30 kB at 256 pixels a side."""
    random = np.random.default_rng(seed)
    with tarfile.open(path, "w") as shard:
        for at in range(images):
            coarse = random.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
            image = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=90)
            member = tarfile.TarInfo(f"{at:06}.jpg")
            member.size = buffer.tell()
            buffer.seek(0)
            shard.addfile(member, buffer)
    return path


class Memory:
    """The peak of the resident memory, in MB, of this process and of those of a cluster."""

    def __init__(self) -> None:
        self.peaks: dict[str, float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.3):
            for folder in Path("/proc").glob("[0-9]*"):
                with suppress(OSError, ValueError, IndexError):
                    title = (folder / "cmdline").read_bytes().split(b"\0")[0].decode()
                    own = folder.name == str(os.getpid())
                    if own or title.startswith("ray::Map") or title.startswith("ray::_decode"):
                        # without what is shared: the object store is in each that looks at it
                        statm = (folder / "statm").read_text().split()
                        mb = (int(statm[1]) - int(statm[2])) * os.sysconf("SC_PAGE_SIZE") / 1e6
                        name = "driver" if own else "actor" if "_Actor" in title else "task"
                        self.peaks[name] = round(max(self.peaks.get(name, 0.0), mb))


@dataclass(frozen=True)
class Timed:
    """One audit. `rate`: images a second from the first that were scored to the last.

    `start_s`: from the begin of scoring to those first; `scoring_s`: all of it.
    """

    engine: str
    rate: float
    start_s: float
    scoring_s: float
    memory_mb: dict[str, float]


def timed(spec: AuditSpec, out: Path) -> Timed:
    """Run an audit, and see how the scoring of its OOD images went."""
    begun: list[float] = []
    came: list[tuple[float, int]] = []

    def step(progress: Progress) -> None:
        if progress.phase in ("scoring id", PHASE):
            begun.append(time.perf_counter())
        if progress.phase == PHASE and progress.done > (came[-1][1] if came else 0):
            came.append((time.perf_counter(), progress.done))

    with Memory() as memory:
        run_audit(spec, out, step)
    # When each of two actors has brought one piece: the second is not half done at the first.
    (first, at_first), (last, at_last) = came[1], came[-1]
    return Timed(
        spec.engine,
        round((at_last - at_first) / (last - first), 1),
        round(came[0][0] - begun[0], 1),
        round(last - begun[0], 1),
        memory.peaks,
    )


def spec_of(folder: Path, images: int, side: int, crop: int) -> AuditSpec:
    """An audit of so many images in tar shards, by a ResNet-18 that knows nothing."""
    torch.manual_seed(0)
    torch.save(resnet18(num_classes=10).state_dict(), folder / "weights.pt")
    prepare = Preprocessing.parse(f"resize={crop},crop={crop}")
    return AuditSpec(
        model=ModelSpec(
            checkpoint=folder / "weights.pt",
            architecture="torchvision/resnet18",
            preprocessing=prepare,
        ),
        id=shard_of(folder / "id.tar", 128, side, 1),
        ood={"far": shard_of(folder / "far.tar", images, side, 2)},
        detectors=(DetectorSpec(name="energy"), DetectorSpec(name="gsc")),
        device="cpu",
        decoders=2,
        workers=2,
        repeats=10,
    )


def stages(spec: AuditSpec, folder: Path, images: int = 128) -> tuple[float, float]:
    """Seconds of one core to decode an image and to score it: what the simulation takes.

    Two processes measure at once, as two cores are busy at once.
    """
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        both = [pool.submit(_stages, spec, folder / f"stages-{n}", images) for n in range(2)]
        decode_s, score_s = zip(*(one.result() for one in both), strict=True)
    return sum(decode_s) / 2, sum(score_s) / 2


def _stages(spec: AuditSpec, folder: Path, images: int) -> tuple[float, float]:
    torch.set_num_threads(1)  # as Ray has it in each actor
    classifier = load_classifier(spec.model)
    network = network_of(spec, classifier, None, torch.device("cpu"))
    files = read_images(spec.ood["far"], "far", folder).images[:images]
    prepare, shape = partial(prepared, classifier.preprocessing), classifier.preprocessing.shape
    pixels = torch.zeros((len(files), *shape), dtype=torch.uint8)
    scorer = Scorer(network, classifier.preprocessing, [one.build() for one in spec.detectors])
    pace = Pace(8, 1, lambda *_: None)
    calibrate(scorer, files[:64], [-1] * 64, seed=0, pace=pace)
    start = time.perf_counter()
    for row, file in zip(pixels, files, strict=True):
        fill(row, file, prepare)
    decoded = time.perf_counter()
    for at in range(0, len(files), pace.batch_size):
        scorer.score(scorer.represent(pixels[at : at + pace.batch_size]))
    scored = time.perf_counter()
    return (decoded - start) / len(files), (scored - decoded) / len(files)


def simulated(decode_s: float, score_s: float, images: int) -> float:
    """Images a second that two actors would score on two cores which decode too."""
    cluster = Cluster(2, 2, decode_s, score_s, image_bytes=0, shared=True)
    return images / simulate(cluster, images).seconds


def flat(images: int) -> None:
    """The peaks of the cluster's memory at so many small images, and at ten times as many.

    Each in a process of its own: what a process has once had, it seldom gives back.
    """
    for count in (images, 10 * images):
        command = [sys.executable, "-m", "benchmarks.cluster", "--images", str(count)]
        command += ["--side", "40", "--crop", "32", "--engines", "ray"]
        subprocess.run(command, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--flat", action="store_true", help="memory, not throughput")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--crop", type=int, default=112)
    parser.add_argument("--engines", default="local,ray,ray,local", help="one after another")
    asked = parser.parse_args()
    if asked.flat:
        flat(asked.images)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spec = spec_of(folder, asked.images, asked.side, asked.crop)
        rates: defaultdict[str, list[float]] = defaultdict(list)
        for number, engine in enumerate(asked.engines.split(",")):
            result = timed(spec.model_copy(update={"engine": engine}), folder / str(number))
            rates[engine].append(result.rate)
            sys.stdout.write(json.dumps(asdict(result)) + "\n")
            sys.stdout.flush()
        if list(rates) == ["local", "ray"]:
            pairs = [on_ray / here for here, on_ray in zip(*rates.values(), strict=True)]
            sys.stdout.write(f"ray / local: {', '.join(f'{one:.2f}' for one in pairs)}\n")
        if "ray" in rates:
            decode_s, score_s = stages(spec, folder)
            sys.stdout.write(
                f"decoding {1000 * decode_s:.1f} ms, scoring {1000 * score_s:.1f} ms an image; "
                f"simulated {simulated(decode_s, score_s, asked.images):.0f} images/s\n"
            )


if __name__ == "__main__":
    main()
