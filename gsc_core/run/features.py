"""The features that an audit left of its images, row by row as in `scores.parquet`."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gsc_core.errors import GscError
from gsc_core.run.layout import FEATURE, FEATURES_FILE
from gsc_core.run.score_table import Rows
from gsc_core.run.stored import Run, version_of


def has_features(run: Run) -> bool:
    """Whether the run has any: earlier versions of this program kept none."""
    return (run.path / FEATURES_FILE).is_file()


def features(run: Run, rows: Rows) -> NDArray[np.float32]:
    """The small features `[N,R]` of some rows, each of length 1 where it is not 0.

    Raises GscError where the run has none, or its file is damaged.
    """
    values = _read(run.path, version_of(run.path))
    if len(values) != len(run.members().codes):
        raise _damaged(run.path)
    some = values[rows].astype(np.float32)
    lengths = np.linalg.norm(some, axis=1, keepdims=True)
    return np.asarray(some / np.where(lengths > 0, lengths, 1), dtype=np.float32)


@lru_cache(maxsize=2)
def _read(folder: Path, version: int) -> NDArray[np.float16]:
    path = folder / FEATURES_FILE
    if not path.is_file():
        raise GscError(
            f'The run "{folder.name}" was made before features were kept: run the audit again to '
            "see a map of its images."
        )
    try:
        with path.open("rb") as file:
            column = pq.ParquetFile(file).read(columns=[FEATURE])[FEATURE].combine_chunks()
        width = column.type.list_size
        values: NDArray[np.float16] = column.flatten().to_numpy(zero_copy_only=False)
    except (OSError, KeyError, AttributeError, pa.ArrowException) as error:
        raise _damaged(folder) from error
    if values.dtype != np.float16 or not width or not np.isfinite(values).all():
        raise _damaged(folder)
    return values.reshape(-1, width)


def _damaged(folder: Path) -> GscError:
    return GscError(
        f'The file {FEATURES_FILE} of run "{folder.name}" is damaged: run the audit again.'
    )
