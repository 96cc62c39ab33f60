"""An ablation as it is kept: one Parquet file with the table, what it rests on in its metadata."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from gsc_core.errors import GscError
from gsc_core.files import written_aside

ABLATION_FILE = "ablation.parquet"
_FACTS = b"facts"


class ImagesUsed(BaseModel):
    """How many images of a set were measured, of how many there are."""

    model_config = ConfigDict(frozen=True)

    used: int
    of: int


class LayerFacts(BaseModel):
    """A layer that was compared: `linear` tells that all after it is linear."""

    model_config = ConfigDict(frozen=True)

    name: str
    depth: str
    shape: tuple[int, ...]
    linear: bool


class SetConsistency(BaseModel):
    """Mean cosine over the images of a set, in −1..1; higher = steadier gradients.

    where: `feature` or `image`, to which the noise was added. difference: ID less this set, with
    its interval; 0 for ID itself. Intervals are 95 %, Student's t.
    """

    model_config = ConfigDict(frozen=True)

    set: str
    where: str
    images: int
    mean: float
    low: float
    high: float
    difference: float
    difference_low: float
    difference_high: float


class Facts(BaseModel):
    """What an ablation rests on.

    images: by set, `calibration` included. consistency_layer: the deepest layer with a non-linear
    head, where gradients can differ at all. excused: settings that were left out, with the reason.
    id_accuracy: share of labelled ID images named correctly, before any short-circuit.
    surrogate_correlation: Spearman rank correlation over settings between the AUROC on surrogate
    outliers and on the real OOD sets; None with fewer than three settings.
    """

    model_config = ConfigDict(frozen=True)

    layers: tuple[LayerFacts, ...]
    images: dict[str, ImagesUsed]
    consistency: tuple[SetConsistency, ...]
    consistency_layer: str
    id_accuracy: float | None
    surrogate_correlation: float | None
    excused: dict[str, str]
    seed: int
    seconds: float
    model_sha256: str
    versions: dict[str, str]


@dataclass(frozen=True)
class Ablation:
    """A finished ablation.

    table: a row for each (layer, base, factor, level, OOD set); `ood_set` is `"mean"` for their
    average. Shares in 0..1: `fpr95` and `auroc` with `_low` and `_high`, `id_accuracy_after`.
    `fpr95_difference` and `auroc_difference`, with `_low` and `_high`, are the row's less those of
    the row `against` at `against_layer`, on the same images: its base, or what `grid.trials` says;
    NaN where that could not run. `turned` tells that surrogate outliers turned the direction,
    `surrogate_auroc` how the setting does on them.
    """

    table: pd.DataFrame
    facts: Facts

    @property
    def outdated(self) -> bool:
        """Whether it was stored by a version that did not measure differences."""
        return "fpr95_difference" not in self.table

    @property
    def ood_sets(self) -> tuple[str, ...]:
        """The OOD sets in the order of the audit."""
        return tuple(name for name in self.facts.images if name not in ("id", "calibration"))

    def rows(self, ood_set: str = "mean", **where: str) -> pd.DataFrame:
        """The rows of an OOD set (or the mean) in which each named column has that value."""
        rows = self.table["ood_set"] == ood_set
        for column, value in where.items():
            rows &= self.table[column] == value
        return self.table[rows]

    def row(self, ood_set: str = "mean", **where: str) -> pd.Series | None:
        """The first such row; None when that setting could not run."""
        matching = self.rows(ood_set, **where)
        return None if matching.empty else matching.iloc[0]

    def base(self, base: str, depth: str = "deep", ood_set: str = "mean") -> pd.Series | None:
        """A base as it is, its direction learned."""
        where = {"base": base, "depth": depth, "factor": "direction", "level": "learned"}
        return self.row(ood_set, **where)


def write_ablation(ablation: Ablation, folder: Path) -> None:
    """Write `ablation.parquet` into a run's folder, in one step."""
    table = pa.Table.from_pandas(ablation.table, preserve_index=False)
    metadata = {**(table.schema.metadata or {}), _FACTS: ablation.facts.model_dump_json().encode()}
    with written_aside(folder / ABLATION_FILE) as part:
        pq.write_table(table.replace_schema_metadata(metadata), part)


def read_ablation(folder: Path) -> Ablation | None:
    """The ablation of a run's folder; None when there is none. Raises GscError when damaged."""
    path = folder / ABLATION_FILE
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            table = pq.ParquetFile(file).read()
        facts = Facts.model_validate_json((table.schema.metadata or {})[_FACTS])
    except (OSError, KeyError, pa.ArrowException, ValidationError) as error:
        raise GscError(
            f'The ablation of run "{folder.name}" is damaged: start it again.'
        ) from error
    return Ablation(table.to_pandas(), facts)
