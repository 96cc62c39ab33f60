"""The pages of a run of millions of images: seconds until they are drawn, and the server's memory.

    python -m benchmarks.pages_at_size [--rows 10000000]

The demo is run, and its scores are drawn again and again, each time a little otherwise, until there
are so many; ten of its detectors stay. What the pages read is as large as in a run of that size,
and their images are still the demo's. Each page is opened in a browser of its own by a server that
has just started, and once more.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.browsing import Measured, chromium, serving
from benchmarks.load import drawn, resident
from benchmarks.sessions import all_at_once
from gsc_core.run.document import RunDocument
from gsc_core.run.layout import SCORES_FILE
from gsc_core.run.score_table import AS_SCORES
from gsc_core.run.stored import Run
from gsc_core.run.summarise import summarised

PAGES = ("results", "thresholds", "images")
LIMIT_S = 3.0
BLOCK = 1_000_000
DETECTORS = 10


def enlarge(run: Path, rows: int) -> None:
    """Make a stored run one of so many rows: its calibration images stay, the others multiply."""
    document = RunDocument.read(run)
    names = _detectors(document)
    table = pq.read_table(run / SCORES_FILE)
    every = dict.fromkeys(row.detector for row in document.results)
    table = table.drop_columns([name for name in every if name not in names])
    calibration = np.asarray(table["role"].to_numpy(zero_copy_only=False) == "calibration")
    rest = np.flatnonzero(~calibration)
    random = np.random.default_rng(0)
    coded, size = AS_SCORES["use_dictionary"], AS_SCORES["row_group_size"]
    with pq.ParquetWriter(run / "larger.parquet", table.schema, use_dictionary=coded) as writer:
        writer.write_table(table.filter(pa.array(calibration)))
        share = np.sort(random.integers(0, len(rest), rows))  # set by set, as an audit writes them
        for start in range(0, rows, BLOCK):
            drawn_again = table.take(pa.array(rest[share[start : start + BLOCK]]))
            writer.write_table(_varied(drawn_again, names, start, random), size)
    (run / "larger.parquet").replace(run / SCORES_FILE)
    counts = np.unique(table["set"].to_numpy(zero_copy_only=False)[rest[share]], return_counts=True)
    images = dict(document.images)
    for name, count in zip(*counts, strict=True):
        images[name] = images[name].model_copy(update={"scored": int(count)})
    document = document.model_copy(
        update={
            "images": images,
            "results": tuple(row for row in document.results if row.detector in names),
            "detectors": tuple(one for one in document.detectors if one.name in names),
        }
    )
    document.write(run)
    large = Run(run, document)
    summarised(large).write(large)  # as an audit of that size ends


def _detectors(document: RunDocument) -> list[str]:
    """Ten of them: the one that decides, its parts, and the best of the others."""
    assert document.decision is not None
    fusion = document.fusions.get(document.decision.detector)
    parts = [] if fusion is None else [part.detector for part in fusion.parts]
    every = dict.fromkeys(row.detector for row in document.results)
    return [*dict.fromkeys([document.decision.detector, *parts, *every])][:DETECTORS]


def _varied(table: pa.Table, names: list[str], start: int, random: np.random.Generator) -> pa.Table:
    """The same with names and digests of their own, and scores that are not quite the same."""
    columns = dict(zip(table.column_names, table.columns, strict=True))
    numbers = np.arange(start, start + len(table))
    columns["file"] = pa.array(np.char.mod("more/%08d.png", numbers))
    digests = np.frombuffer(random.bytes(32 * len(table)).hex().encode(), "S64")
    columns["sha256"] = pa.array(digests).cast(pa.string())
    for name in names:
        scores = columns[name].to_numpy()
        noise = random.standard_normal(len(scores), dtype=np.float32)
        columns[name] = pa.array(scores + 0.1 * scores.std() * noise, pa.float32())
    return pa.table(columns, schema=table.schema.remove_metadata())


def seen(run: str) -> list[Measured]:
    """Each page the first time and the second, by a server that has just started."""
    measured = []
    for page in PAGES:
        with serving() as (address, server), chromium() as browser:
            all_at_once(address, "", 1)  # the app's own imports are not what is timed
            for which in ("first", "second"):
                visitor = browser.new_page()
                start = time.monotonic()
                drawn(visitor, f"{address}/{page}?run={run}")
                seconds = time.monotonic() - start
                visitor.screenshot(path=Path(os.environ["GSC_HOME"], f"{page}.png"))
                visitor.close()
                measured.append(Measured(f"{page}, {which} time", seconds, LIMIT_S, "s"))
            measured.append(
                Measured(f"{page}: memory of the server", resident(server.pid), None, "bytes")
            )
    return measured


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--home", type=Path, help="a workspace that stays; made where it is new")
    asked = parser.parse_args()
    with TemporaryDirectory() as name:
        home = asked.home or Path(name)
        os.environ["GSC_HOME"] = str(home)
        run = home / "runs" / "demo"
        if not run.exists():
            subprocess.run([sys.executable, "-m", "gsc_core", "demo"], check=True)
            enlarge(run, asked.rows)
        measured = seen(run.name)
    for one in measured:
        sys.stdout.write(one.line() + "\n")
    return int(any(one.limit is not None and one.value > one.limit for one in measured))


if __name__ == "__main__":
    sys.exit(main())
