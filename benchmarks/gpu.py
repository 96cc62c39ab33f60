"""All that a graphics card can be asked, in under eight minutes, as one JSON document.

    python -m benchmarks.gpu [--device cuda] [--quick] > gpu.json

Needs torch, torchvision, timm, pydantic and pytorch-ood beside what these bring, and no network.
Each part is a benchmark of its own in a process of its own: one that fails or takes too long is
told, and costs the others nothing. `--quick` takes small numbers, to try the script on a processor.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from gsc_core.audit.inputs import device_of
from gsc_core.audit.measure import machine, versions

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Part:
    """One benchmark: its module, its arguments, those of a quick try, and its limit in seconds."""

    module: str
    full: tuple[str, ...]
    quick: tuple[str, ...]
    limit: float


PARTS = (
    Part("equality", (), (), 120),
    Part("arithmetic", (), ("--models", "resnet18,vit_b_32", "--batch", "4", "--rounds", "1"), 200),
    Part(
        "files",
        ("--model", "resnet50", "--images", "8000", "--decoders", "16"),
        ("--model", "resnet18", "--images", "64"),
        110,
    ),
    Part("fixed_cost", (), ("--images", "60"), 70),
)


@dataclass(frozen=True)
class Outcome:
    """What a part printed, or why it printed nothing."""

    module: str
    seconds: float
    result: Any
    error: str | None = None


def run(part: Part, device: str, *, quick: bool) -> Outcome:
    """Run one part and read its JSON."""
    more = part.quick if quick else part.full
    name = f"benchmarks.{part.module}"
    command = [sys.executable, "-m", name, "--json", "--device", device, *more]
    started = time.perf_counter()
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=part.limit, check=True
        )
        return Outcome(part.module, time.perf_counter() - started, json.loads(done.stdout))
    except subprocess.TimeoutExpired:
        return Outcome(part.module, part.limit, None, f"not done after {part.limit:.0f} s")
    except subprocess.CalledProcessError as error:
        last = error.stderr.strip().splitlines()[-12:]
        return Outcome(part.module, time.perf_counter() - started, None, "\n".join(last))
    except ValueError as error:
        return Outcome(part.module, time.perf_counter() - started, None, f"no JSON: {error}")


def commit() -> str:
    """The commit that was measured, `unknown` outside a checkout."""
    try:
        command = ("git", "describe", "--always", "--dirty", "--abbrev=10")
        told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return told.stdout.strip()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=[part.module for part in PARTS])
    chosen = parser.parse_args(arguments)
    device = device_of(chosen.device)
    outcomes = []
    for part in PARTS:
        if chosen.only in (None, part.module):
            sys.stderr.write(f"{part.module} …\n")
            outcomes.append(run(part, chosen.device, quick=chosen.quick))
    document = {
        "commit": commit(),
        "where": machine(device) | {"cores": torch.get_num_threads(), "python": platform.version()},
        "versions": versions(),
        "parts": [asdict(outcome) for outcome in outcomes],
    }
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    return int(any(outcome.error for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
