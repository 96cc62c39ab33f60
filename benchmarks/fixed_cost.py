"""What an audit spends outside decoding and the network's own forward pass, by phase.

    python -m benchmarks.fixed_cost [--model model.pt2] [--id DIR --ood DIR] [--device cpu]
        [--detectors all] [--rounds 1] [--against TREE]

Each audit is a process of its own, from the command line's start to its end: 250 familiar and 200
unfamiliar images, noise where no folders are given, and a ResNet-18 with random weights where no
model is. `--against` runs the same audit from another
checkout in turn, which need not know `--profile`, and prints the ratios of what both can tell:
seconds in all, and to the first score of a test image.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torchvision
from PIL import Image

HERE = Path(__file__).resolve().parents[1]
FAMILIAR, UNFAMILIAR = 250, 200
PREPROCESS = "resize=256,crop=224,interpolation=bicubic,mean=0.498039,std=0.501961"
NOT_FIXED = ("waiting for decoded images", "the network's forward pass")
SURROGATES = "scoring surrogate"
FIRST_SCORED = "scoring "  # how the phases of the test sets begin, as progress is told


@dataclass(frozen=True)
class Audit:
    """One audit: seconds in all and to the first test image's phase, and seconds by phase."""

    seconds: float
    first_score: float
    phases: dict[str, dict[str, float]]

    @property
    def fixed(self) -> float:
        """Seconds outside decoding and the network's forward pass; all where phases are unknown."""
        return self.seconds - sum(self.phases[n]["wall_s"] for n in NOT_FIXED if n in self.phases)


def audit(tree: Path, command: Sequence[str], out: Path, profile: bool) -> Audit:
    """Run `gsc audit` of a checkout in a fresh process."""
    others = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    told = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tree), *filter(None, others)])}
    whole = [sys.executable, "-m", "gsc_core", "audit", *command, "--out", str(out)]
    started, first = time.perf_counter(), 0.0
    with subprocess.Popen(
        whole + ["--profile"] * profile,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tree,
        env=told,
    ) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            begun = line.startswith(FIRST_SCORED) and not line.startswith(SURROGATES)
            if not first and begun and " 0/" not in line:
                first = time.perf_counter() - started
    seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit("".join(lines))
    document = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    phases = document["provenance"].get("phases", {})
    if profile:
        sys.stderr.write("".join(lines[-len(phases) - 40 :]))
    return Audit(seconds, first, phases)


def noise(folder: Path, count: int, seed: int) -> Path:
    """A folder of photos' size, with soft noise in them."""
    folder.mkdir()
    random = np.random.default_rng(seed)
    for index in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (15, 20, 3), dtype=np.uint8))
        coarse.resize((400, 300), Image.Resampling.BICUBIC).save(folder / f"{index:04d}.jpg")
    return folder


def random_network(path: Path) -> Path:
    """A ResNet-18 with random weights as `.pt2`: what it costs does not depend on them."""
    torch.manual_seed(0)
    module = torchvision.models.resnet18().eval()
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(module, (torch.zeros(2, 3, 224, 224),), dynamic_shapes=shapes)
    torch.export.save(program, path)
    return path


def show(name: str, audits: Sequence[Audit]) -> tuple[float, float, float]:
    """Print the medians of a tree's audits, and give them."""
    middle = tuple(
        statistics.median(getattr(each, what) for each in audits)
        for what in ("seconds", "fixed", "first_score")
    )
    told = "fixed" if audits[0].phases else "fixed unknown, all"
    print(
        f"{name}: {middle[0]:.1f} s in all, {told} {middle[1]:.1f} s, "
        f"first tenth of a test set after {middle[2]:.1f} s"
    )
    return middle[0], middle[1], middle[2]


def main() -> None:
    """Print the tables, and the ratios where there are two trees."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="a .pt2 file")
    parser.add_argument("--preprocess", default=PREPROCESS)
    parser.add_argument("--id", type=Path)
    parser.add_argument("--ood", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--detectors", default="all")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--against", type=Path, help="the root of another checkout")
    parser.add_argument("--images", type=int, default=FAMILIAR + UNFAMILIAR, help="made, in all")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    of_id = chosen.images * FAMILIAR // (FAMILIAR + UNFAMILIAR)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        familiar = chosen.id or noise(folder / "id", of_id, 0)
        unfamiliar = chosen.ood or noise(folder / "ood", chosen.images - of_id, 1)
        model = chosen.model or random_network(folder / "resnet18.pt2")
        command = [f"--model={model}", f"--preprocess={chosen.preprocess}"]
        command += [f"--id={familiar}", f"--ood=unfamiliar={unfamiliar}"]
        command += [f"--device={chosen.device}", f"--detectors={chosen.detectors}"]
        ours: list[Audit] = []
        theirs: list[Audit] = []
        for at in range(chosen.rounds):
            if chosen.against:
                theirs.append(audit(chosen.against, command, folder / f"b{at}", profile=False))
            ours.append(audit(HERE, command, folder / f"a{at}", profile=True))
    if chosen.json:
        sys.stdout.write(json.dumps([asdict(one) | {"fixed": one.fixed} for one in ours]) + "\n")
        return
    found = show("this tree", ours)
    if theirs:
        other = show("the other", theirs)
        print(f"in all {found[0] / other[0]:.2f} ×, first score {found[2] / other[2]:.2f} ×")


if __name__ == "__main__":
    main()
