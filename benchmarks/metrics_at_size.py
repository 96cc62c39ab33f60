"""Time and memory of what is computed from scores of millions of images.

Scores are drawn, of as many detectors as asked for, and written as an audit writes them. What is
measured, a part in a process of its own: the metrics of one detector with their intervals, what an
audit does for all (`measure`), and what the results page reads from the finished run.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SETS = ("near", "far", "noise")
CALIBRATION = 5000
BLOCK = 1_000_000


def table_of(rows: int, detectors: int, seed: int) -> pa.Table:
    """So many rows as `scores.parquet` has them: half ID, the rest in three OOD sets."""
    random = np.random.default_rng(seed)
    sets = ["id", *SETS]
    code = np.sort(random.choice(4, rows, p=[0.5, 0.2, 0.2, 0.1])).astype(np.int32)
    codes = pa.array(code)
    roles = pa.array((code > 0).astype(np.int32))
    columns: dict[str, Any] = {
        "set": pa.DictionaryArray.from_arrays(codes, sets).cast(pa.string()),
        "role": pa.DictionaryArray.from_arrays(roles, ["id", "ood"]).cast(pa.string()),
        "file": _some(random, rows, [f"part-{seed:03}/{at:07}.jpg" for at in range(5000)]),
        "sha256": _some(random, rows, [random.bytes(32).hex() for _ in range(5000)]),
        "label": pa.array(np.where(code == 0, random.integers(0, 10, rows), -1), pa.int32()),
        "predicted": pa.array(random.integers(0, 10, rows), pa.int32()),
        "confidence": pa.array(random.random(rows, dtype=np.float32)),
    }
    for name in names(detectors):
        scores = random.standard_normal(rows, dtype=np.float32) + 0.7 * code
        columns[name] = pa.array(scores.astype(np.float32))
    return pa.table(columns)


def _some(random: np.random.Generator, rows: int, texts: list[str]) -> pa.Array:
    """Rows of text as large as real ones, of which some are alike."""
    return pa.array(texts).take(pa.array(random.integers(0, len(texts), rows)))


def names(detectors: int) -> list[str]:
    return [f"d{at}" for at in range(detectors)]


def write(folder: Path, rows: int, detectors: int) -> None:
    first = table_of(CALIBRATION, detectors, 999)
    calibration = pa.array(["calibration"] * CALIBRATION)
    first = first.set_column(0, "set", calibration).set_column(1, "role", calibration)
    with pq.ParquetWriter(folder / "scores.parquet", first.schema) as writer:
        writer.write_table(first)
        for block in range(-(-rows // BLOCK)):
            size = min(BLOCK, rows - block * BLOCK)
            writer.write_table(table_of(size, detectors, block))


def of_one(folder: Path, detectors: int) -> dict[str, float]:
    """The parts of the metrics of one detector, in seconds of a processor."""
    from gsc_core.evaluation import auroc, bootstrap, fpr  # noqa: PLC0415
    from gsc_core.evaluation.metrics import rising  # noqa: PLC0415

    table = pq.read_table(folder / "scores.parquet", columns=["set", "d0"])
    sets = np.asarray(table["set"].dictionary_encode().combine_chunks().indices)
    values = table["d0"].to_numpy().astype(np.float64)
    start = time.process_time()
    of_id = rising(values[sets == 1])
    ood = {name: rising(values[sets == at + 2]) for at, name in enumerate(SETS)}
    seconds = {"sorting": time.process_time() - start}
    parts: dict[str, Callable[[], object]] = {
        "fpr95": lambda: fpr.fpr95(of_id, ood, 0.95),
        "fpr95_ood_positive": lambda: fpr.fpr95_ood_positive(of_id, ood, 0.95),
        "auroc": lambda: auroc.intervals(of_id, ood, 0.95),
        "bootstrap": lambda: bootstrap.intervals(of_id, ood, 1000, 0, 0.95),
    }
    for name, call in parts.items():
        start = time.process_time()
        call()
        seconds[name] = time.process_time() - start
    return seconds


def of_audit(folder: Path, detectors: int) -> dict[str, float]:
    """What an audit does once all is scored, in seconds of a processor."""
    from gsc_core.audit.measure import counts_of, measure  # noqa: PLC0415

    table = pq.read_table(folder / "scores.parquet")
    calibrated: Any = SimpleNamespace(surrogates=None, in_sample=())
    asked: list[Any] = [
        SimpleNamespace(name=name, frozen=dict, settings=dict) for name in names(detectors)
    ]
    start = time.process_time()
    measure(table, asked, calibrated, 1000, 0)
    middle = time.process_time()
    counts_of(table, {}, {})
    return {"measure": middle - start, "counts": time.process_time() - middle}


PARTS = {"one detector": of_one, "an audit": of_audit}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--detectors", type=int, default=3)
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.part:
        result = PARTS[asked.part](asked.folder, asked.detectors)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        sys.stdout.write(json.dumps({**result, "peak_mb": peak}))
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), asked.rows, asked.detectors)
        for part in PARTS:
            command = [sys.executable, "-m", "benchmarks.metrics_at_size", "--part", part]
            command += ["--folder", folder, "--detectors", str(asked.detectors)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            sys.stdout.write(f"{part}: {done.stdout}\n")


if __name__ == "__main__":
    main()
