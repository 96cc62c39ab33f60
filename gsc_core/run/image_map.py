"""A map of a run's images: two coordinates for each, near where the network finds them alike.

Of many images a sample is drawn, by set, always the same one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gsc_core.files import written_aside
from gsc_core.run import score_table
from gsc_core.run.features import features
from gsc_core.run.layout import MAP_FILE
from gsc_core.run.score_table import Rows
from gsc_core.run.stored import Run, RunKey, version_of

MOST = 5000  # points, which a browser draws as fast as the rest of the page
_VERSION = b"run version"


@dataclass(frozen=True)
class ImageMap:
    """Where images lie: their rows in `scores.parquet` `[N]`, and places `[N,2]` float32."""

    rows: Rows
    places: NDArray[np.float32]


def sampled(run: Run, most: int = MOST) -> Rows:
    """At most `most` rows, rising: of each set as many, and all of a set that has fewer.

    Drawn by the digests of the images: the same rows whenever and wherever this is asked.
    """
    sets = run.members().by_name
    sizes = {name: len(rows) for name, rows in sets.items()}
    quota = shares(sizes, most)
    drawn = []
    for name, rows in sets.items():
        if quota[name] < len(rows):
            digests = score_table.digests(run.path, version_of(run.path))[rows]
            rows = rows[np.argsort(digests, kind="stable")[: quota[name]]]  # noqa: PLW2901
        drawn.append(rows)
    return np.sort(np.concatenate(drawn))


def shares(sizes: dict[str, int], most: int) -> dict[str, int]:
    """How many to take of each set so that all have as many, but no more than there are."""
    quota: dict[str, int] = {}
    left = most
    for at, name in enumerate(sorted(sizes, key=lambda name: sizes[name])):
        quota[name] = min(sizes[name], left // (len(sizes) - at))
        left -= quota[name]
    return quota


def principal_map(run: Run) -> ImageMap:
    """The sample along the two principal directions of its features: at once, and coarse.

    Raises GscError as `features` does.
    """
    return _principal(run.key)


@lru_cache(maxsize=8)
def _principal(key: RunKey) -> ImageMap:
    run = key.run
    rows = sampled(run)
    values = features(run, rows).astype(np.float64)
    centred = values - values.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    leading = vectors[:, ::-1][:, :2]
    # a direction and its opposite are as good: always the same one
    leading = leading * np.sign(leading[np.abs(leading).argmax(axis=0), [*range(leading.shape[1])]])
    places = centred @ leading
    if places.shape[1] < 2:
        places = np.column_stack([places, np.zeros(len(places))])
    return ImageMap(rows, places.astype(np.float32))


def write_map(run: Run, made: ImageMap) -> None:
    """Keep a finer map with the run."""
    columns = {"row": made.rows, "x": made.places[:, 0], "y": made.places[:, 1]}
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    about = {_VERSION: str(version_of(run.path)).encode()}
    with written_aside(run.path / MAP_FILE) as part:
        pq.write_table(table.replace_schema_metadata(about), part)


def stored_map(run: Run) -> ImageMap | None:
    """The finer map; None until it was made of the run as it is now."""
    try:
        with (run.path / MAP_FILE).open("rb") as file:
            table = pq.ParquetFile(file).read(columns=["row", "x", "y"])
        rows = np.asarray(table["row"].to_numpy(), dtype=np.intp)
        places = np.column_stack([table[name].to_numpy() for name in ("x", "y")])
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return None
    within = len(rows) and 0 <= rows.min() <= rows.max() < len(run.members().codes)
    of_this = (table.schema.metadata or {}).get(_VERSION) == str(version_of(run.path)).encode()
    if not of_this or not within or not np.isfinite(places).all():
        return None
    counting = np.isin(rows, run.members().counting(rows))
    return ImageMap(rows[counting], places[counting].astype(np.float32))
