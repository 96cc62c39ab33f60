"""How well our detectors and pytorch-ood's tell OOD images, on the same images and models.

    python -m benchmarks.quality --out docs/benchmark.md

Five divisions of the ID images into a calibration and a test half. The ImageNet models need
`imagenet-sample` and `textures` under `--data`, and the packages of requirements-dev.txt.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch

from benchmarks.quality.document import Measured, document
from benchmarks.quality.measure import Asked, measured
from benchmarks.quality.subjects import MODELS, TEXTURES, Sources, subject
from benchmarks.quality.table import Estimate
from gsc_core.audit.measure import versions
from gsc_core.audit.spec import RESERVED
from gsc_core.detectors.catalogue import parse_detectors
from gsc_core.errors import GscError, SpecError

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str]) -> int:
    chosen = options(arguments)
    started = time.perf_counter()
    if chosen.again:
        contents = [json.loads(path.read_text(encoding="utf-8")) for path in chosen.again]
        return written(document(*of_json(contents)), chosen.out)
    try:
        names = [name.strip() for name in chosen.models.split(",") if name.strip()]
        found = run(names, chosen)
    except GscError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    about = surroundings(arguments, time.perf_counter() - started)
    if chosen.json:
        chosen.json.write_text(as_json(found, about), encoding="utf-8")
    return written(document(found, about), chosen.out)


def written(text: str, out: Path | None) -> int:
    """Write the document, or print it."""
    if out:
        out.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


def options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--models", default=",".join(MODELS), help="of %(default)s")
    parser.add_argument("--detectors", default="all", help="ours, as for gsc audit")
    parser.add_argument("--splits", type=int, default=5, help="divisions of the ID images")
    parser.add_argument("--jobs", type=int, default=1, help="models at a time, each in a process")
    parser.add_argument("--images", type=int, help="at most so many of each OOD set, for a trial")
    parser.add_argument("--quick", action="store_true", help="without what takes longest")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument(
        "--ood", action="append", default=[], metavar="NAME=DIR", help="a further OOD set, repeated"
    )
    parser.add_argument("--json", type=Path, help="write the raw figures here")
    parser.add_argument(
        "--again", type=Path, nargs="+", metavar="JSON", help="the document of raw figures"
    )
    parser.add_argument("--out", type=Path, help="write the document here; else it is printed")
    return parser.parse_args(arguments)


def run(names: Sequence[str], chosen: argparse.Namespace) -> list[Measured]:
    parse_detectors(chosen.detectors)
    if chosen.splits < 1 or not names:
        raise SpecError("Give at least one model and one split.")
    with TemporaryDirectory() as folder:
        sources = Sources(chosen.data, further_sets(chosen.ood), Path(folder), chosen.images)
        for name in names:  # what is missing should not be told after an hour
            subject(name, sources)
        asked = Asked(chosen.detectors, chosen.splits, chosen.quick, chosen.jobs)
        if chosen.jobs == 1:
            return [measured(name, sources, asked) for name in names]
        with ProcessPoolExecutor(chosen.jobs, mp_context=get_context("spawn")) as pool:
            return list(pool.map(measured, names, repeat(sources), repeat(asked)))


def further_sets(items: Sequence[str]) -> dict[str, Path]:
    """`NAME=DIR` items; raises SpecError for one that is not, or a name that is taken."""
    found: dict[str, Path] = {}
    for item in items:
        name, equals, folder = item.partition("=")
        if not (name and equals and folder) or name in {*found, *RESERVED, TEXTURES}:
            raise SpecError(f"--ood {item!r} must be NAME=DIR, with a name of its own.")
        found[name] = Path(folder)
    return found


def surroundings(arguments: Sequence[str], seconds: float) -> dict[str, str]:
    """What was run, where and when."""
    changed = " with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return {
        "Commit": (git("rev-parse", "HEAD") or "unknown") + changed,
        "Command": f"`{command_words(arguments)}`",
        "Machine": f"{processor()}, {torch.get_num_threads()} of {os.cpu_count()} cores used",
        "Versions": ", ".join(f"{name} {number}" for name, number in versions().items()),
        "Finished": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, after {seconds / 60:.0f} minutes",
    }


def command_words(arguments: Sequence[str]) -> str:
    """The command as anybody would give it: of absolute paths the last part alone."""
    words = shlex.join(["python", "-m", "benchmarks.quality", *arguments])
    return re.sub(r"(?<![\w.…])/(?:[^/\s]+/)+", "…/", words)


def git(*arguments: str) -> str:
    """What git answers; nothing where there is no repository."""
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def processor() -> str:
    """Name of the processor."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def as_json(found: Sequence[Measured], about: Mapping[str, str]) -> str:
    """The raw figures: every split of every detector on every set."""
    models: dict[str, dict[str, Any]] = {
        each.name: {
            "title": each.title,
            "split": each.split,
            "pictures": each.pictures,
            "rows": each.frame.to_dict("records"),
            "left_out": each.left_out.to_dict("records"),
            "id_accuracy": asdict(each.accuracy),
            "after": [[*key, asdict(accuracy)] for key, accuracy in each.after.items()],
            "passes": [[*key, number] for key, number in each.passes.items()],
            "correlations": [[over, n, asdict(rho)] for over, n, rho in each.correlations],
            "absent": [[*key, why] for key, why in each.absent.items()],
            "seconds": each.seconds,
        }
        for each in found
    }
    return json.dumps({"about": about, "models": models}, indent=1)


def of_json(contents: Sequence[Mapping[str, Any]]) -> tuple[list[Measured], dict[str, str]]:
    """What `as_json` wrote, of one run or of several, whose surroundings are joined."""
    found = [
        Measured(
            name=name,
            title=each["title"],
            split=each["split"],
            pictures=each["pictures"],
            frame=pd.DataFrame(each["rows"]),
            passes={(detector, whose): n for detector, whose, n in each["passes"]},
            accuracy=Estimate(**each["id_accuracy"]),
            after={(detector, whose): Estimate(**a) for detector, whose, a in each["after"]},
            correlations=[(over, n, Estimate(**rho)) for over, n, rho in each["correlations"]],
            absent={(detector, whose): why for detector, whose, why in each["absent"]},
            seconds=each["seconds"],
            left_out=pd.DataFrame(each["left_out"]),
        )
        for content in contents
        for name, each in content["models"].items()
    ]
    about: dict[str, str] = {}
    for name in contents[0]["about"]:
        about[name] = "; ".join(dict.fromkeys(content["about"][name] for content in contents))
    return found, about


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
