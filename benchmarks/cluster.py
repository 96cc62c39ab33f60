"""The Ray engine beside the local one on this machine: `python -m benchmarks.cluster`.

Images are rendered JPEGs, in tar shards; the network is a ResNet-18 with random weights. Scored are
so many images by the local engine with two decoding processes, and by a Ray cluster of two actors.
Told are the seconds of scoring, of starting, and the peak memory of the driver and of each process
of the cluster. With `--flat`, the cluster's memory at ten times as many small images.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tarfile
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.models import resnet18

from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.progress import Progress


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
                        name = "driver" if own else title.partition("(")[2] or title
                        self.peaks[name] = round(max(self.peaks.get(name, 0.0), mb))


def timed(spec: AuditSpec, out: Path) -> dict[str, Any]:
    """Seconds of scoring from the first image to the last, and until the first."""
    times: list[tuple[float, int]] = []

    def step(progress: Progress) -> None:
        if progress.phase.startswith("scoring "):
            times.append((time.perf_counter(), progress.done))

    with Memory() as memory:
        start = time.perf_counter()
        run_audit(spec, out, step)
    came = [at for at, done in times if done] or [start]
    return {
        "scoring_s": round(times[-1][0] - times[0][0], 1),
        "until_first_s": round(came[0] - times[0][0], 1),
        "memory_mb": memory.peaks,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--crop", type=int, default=112)
    parser.add_argument("--engines", default="local,ray")
    asked = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.save(resnet18(num_classes=10).state_dict(), folder / "weights.pt")
        prepare = f"resize={asked.crop},crop={asked.crop}"
        spec = AuditSpec(
            model=ModelSpec(
                checkpoint=folder / "weights.pt",
                architecture="torchvision/resnet18",
                preprocessing=Preprocessing.parse(prepare),
            ),
            id=shard_of(folder / "id.tar", 128, asked.side, 1),
            ood={"far": shard_of(folder / "far.tar", asked.images, asked.side, 2)},
            detectors=(DetectorSpec(name="energy"), DetectorSpec(name="gsc")),
            device="cpu",
            decoders=2,
            workers=2,
            repeats=10,
        )
        for engine in asked.engines.split(","):
            result = timed(spec.model_copy(update={"engine": engine}), folder / engine)
            told = {"engine": engine, "images": asked.images, **result}
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
