"""Scores on disk, chunk by chunk: what is finished is kept when a run is killed.

A chunk is one Parquet file of a few hundred images, written aside and renamed. Images that could
not be read are told in its metadata.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pyarrow.parquet as pq

from gsc_core.files import writing_to, written_aside
from gsc_core.images import Broken, ImageFile
from gsc_core.run.layout import PREDICTED_AFTER, TEMPERED_COLUMNS
from gsc_core.run.score_table import AS_SCORES
from gsc_core.scoring.scorer import Scores
from gsc_core.scoring.tempering import Tempered
from gsc_core.scoring.traces import PASSING_COLUMNS, TRACE_COLUMNS, Traces

CHUNK_IMAGES = 512
_BROKEN, _EXCUSED = b"broken", b"excused"


@dataclass(frozen=True)
class Rows:
    """Some images of a set with their labels (class index, −1 unknown) and scores."""

    set: str
    role: str  # id, ood or calibration
    images: Sequence[ImageFile]
    labels: Sequence[int]
    scores: Scores
    tempered: Tempered | None = None  # of ID images alone
    traces: Traces | None = None

    def table(
        self, broken: Sequence[Broken], excused: Mapping[str, str] = MappingProxyType({})
    ) -> pa.Table:
        """One row an image; the broken, and why detectors were left out, are in the metadata."""
        n = len(self.images)
        columns: dict[str, pa.Array] = {
            "set": pa.array([self.set] * n, pa.string()),
            "role": pa.array([self.role] * n, pa.string()),
            "file": pa.array([image.name for image in self.images], pa.string()),
            "sha256": pa.array([image.sha256 for image in self.images], pa.string()),
            "label": pa.array(list(self.labels), pa.int32()),
            "predicted": pa.array(self.scores.predicted.numpy(), pa.int32()),
            "confidence": pa.array(self.scores.confidence.numpy(), pa.float32()),
        }
        for name, after in self.scores.predicted_after.items():
            columns[PREDICTED_AFTER + name] = pa.array(after.numpy(), pa.int32())
        for name, scores in self.scores.outlier.items():
            columns[name] = pa.array(scores.numpy(), pa.float32())
        columns |= {} if self.tempered is None else self.tempered.table_columns()
        columns |= {} if self.traces is None else self.traces.table_columns()
        notes = {_BROKEN: [asdict(one) for one in broken], _EXCUSED: dict(excused)}
        metadata = {name: json.dumps(value).encode() for name, value in notes.items()}
        return pa.table(columns).replace_schema_metadata(metadata)


class ChunkStore:
    """The chunks of one run, valid for one `key`: those of another key are thrown away."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        with writing_to(folder):
            mark = folder / "key"
            if folder.exists() and (not mark.exists() or mark.read_text() != key):
                shutil.rmtree(folder)
            folder.mkdir(parents=True, exist_ok=True)
        with written_aside(mark) as part:
            part.write_text(key)

    def missing(self, set_name: str, chunks: int) -> list[int]:
        """Which of so many chunks of a set are not there yet."""
        there = set(self._there(set_name))
        return [index for index in range(chunks) if index not in there]

    def write(self, set_name: str, index: int, table: pa.Table) -> None:
        """Keep a chunk."""
        with written_aside(self._path(set_name, index)) as part:
            pq.write_table(table, part)

    def tables(self, set_name: str) -> Iterator[tuple[pa.Table, list[Broken]]]:
        """The chunks of a set that are there, in order, each with its broken images."""
        for index in self._there(set_name):
            table = pq.ParquetFile(self._path(set_name, index)).read()
            records = json.loads((table.schema.metadata or {}).get(_BROKEN, b"[]"))
            yield table.replace_schema_metadata(), [Broken(**one) for one in records]

    def excused(self, set_name: str) -> dict[str, str]:
        """Why detectors were left out of chunks of a set; older ones do not tell."""
        reasons: dict[str, str] = {}
        for index in self._there(set_name):
            notes = pq.read_schema(self._path(set_name, index)).metadata or {}
            reasons |= json.loads(notes.get(_EXCUSED, b"{}"))
        return reasons

    def remove(self) -> None:
        """Throw the chunks away, once they are joined."""
        shutil.rmtree(self.folder)

    def _there(self, set_name: str) -> list[int]:
        """Indices of the chunks of a set that are there, rising."""
        names = self.folder.glob(f"{set_name.encode().hex()}-*.parquet")
        return sorted(int(path.stem.rpartition("-")[2]) for path in names)

    def _path(self, set_name: str, index: int) -> Path:
        # a set's name comes from a person: it names no file
        return self.folder / f"{set_name.encode().hex()}-{index:06d}.parquet"


def join(tables: Sequence[pa.Table], path: Path, traces_path: Path | None = None) -> pa.Table:
    """Write the scores of all chunks to one Parquet file, and their traces to another.

    Gives both back as one table. A detector that was excused on the way has no column in later
    chunks: it is left out of all.
    """
    filled = [table for table in tables if table.num_rows]
    everywhere = [n for n in filled[0].column_names if all(n in t.column_names for t in filled)]
    # ID images alone have these
    of_id = {*(PREDICTED_AFTER + name for name in everywhere), *TEMPERED_COLUMNS}
    some = [n for t in filled for n in t.column_names if n in of_id]
    columns = list(dict.fromkeys([*everywhere, *some]))
    parts = [table.select([c for c in columns if c in table.column_names]) for table in filled]
    joined = pa.concat_tables(parts, promote_options="default")
    traces = [name for name in TRACE_COLUMNS if name in joined.column_names]
    with written_aside(path) as part:
        aside = [name for name in joined.column_names if name in (*traces, *PASSING_COLUMNS)]
        pq.write_table(joined.drop_columns(aside), part, **AS_SCORES)
    if traces and traces_path is not None:
        with written_aside(traces_path) as part:
            # hardly a number is there twice: a dictionary makes reading five times as slow
            pq.write_table(joined.select(traces), part, use_dictionary=False)
    return joined
