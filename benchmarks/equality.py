"""Does a device give the processor's figures? The demo's audit on both, detector by detector.

    python -m benchmarks.equality [--device cuda] [--precision auto]

AUROC and FPR95 are means over the demo's five OOD sets. A score's difference is told in standard
deviations of the processor's scores.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec
from gsc_core.demo import render_demo
from gsc_core.demo.audit import demo_spec
from gsc_core.run.layout import SCORES_FILE


@dataclass(frozen=True)
class Difference:
    """How far a detector's figures on the device are from the processor's."""

    detector: str
    auroc: float
    fpr95: float
    largest_score: float
    predictions: int


@dataclass(frozen=True)
class Audited:
    """What an audit left: mean AUROC and FPR95 by detector, and the scores."""

    figures: pd.DataFrame
    scores: pd.DataFrame

    @classmethod
    def run(cls, spec: AuditSpec, out: Path) -> Audited:
        """Run an audit into `out`."""
        run = run_audit(spec, out)
        means = {name: row for name in run.detectors if (row := run.row(name)) is not None}
        figures = {
            metric: {name: row.value(metric) for name, row in means.items()}
            for metric in ("auroc", "fpr95")
        }
        return cls(pd.DataFrame(figures), pd.read_parquet(out / SCORES_FILE))


def differences(ours: Audited, right: Audited) -> Iterator[Difference]:
    """One for each detector; those that only one of the audits has are told as not a number."""
    changed = int((ours.scores["predicted"] != right.scores["predicted"]).sum())
    for name in right.figures.index.union(ours.figures.index):
        if not (name in ours.figures.index and name in right.figures.index):
            yield Difference(str(name), np.nan, np.nan, np.nan, changed)
            continue
        off = (ours.scores[name] - right.scores[name]).abs().max() / right.scores[name].std()
        auroc, fpr95 = ours.figures.loc[name] - right.figures.loc[name]
        yield Difference(str(name), float(auroc), float(fpr95), float(off), changed)


def measure(device: str, precision: str) -> list[Difference]:
    """Both audits, in a temporary folder."""
    with TemporaryDirectory() as folder:
        spec = demo_spec(render_demo(Path(folder) / "pictures"))
        there = spec.model_copy(update={"device": device, "precision": precision})
        here = spec.model_copy(update={"device": "cpu"})
        ours = Audited.run(there, Path(folder) / "there")
        return list(differences(ours, Audited.run(here, Path(folder) / "here")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="auto", choices=("auto", "float32", "bf16"))
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    found = measure(chosen.device, chosen.precision)
    if chosen.json:
        sys.stdout.write(json.dumps([asdict(one) for one in found], indent=2) + "\n")
        return
    for one in sorted(found, key=lambda one: -abs(one.auroc)):
        sys.stdout.write(
            f"{one.detector:16s} AUROC {one.auroc:+.5f}  FPR95 {one.fpr95:+.5f}  "
            f"scores within {one.largest_score:.1e} deviations\n"
        )
    sys.stdout.write(f"{found[0].predictions} predictions differ\n")


if __name__ == "__main__":
    main()
