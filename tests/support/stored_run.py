"""Writes a run folder as an audit leaves it: random scores, and the metrics of those scores."""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gsc_core.evaluation.intervals import evaluate
from gsc_core.images.surrogates import KINDS

SETS = {"unseen-signs": 0.9, "textures": 2.4, "noise": 4.0}
DETECTORS = {"energy": 1.0, "msp": 0.7, "gsc": 1.2, "gsc-drop": -0.6}


def write_run(
    folder: Path,
    sets: Mapping[str, float] = SETS,
    detectors: Mapping[str, float] = DETECTORS,
    *,
    n: int = 200,
    m: int = 120,
    seed: int = 0,
    **extra: Any,
) -> Path:
    """`sets` maps names to how far out they lie, `detectors` to how well each sees that."""
    scores, results = _measured(tuple(sets.items()), tuple(detectors.items()), n, m, seed)
    counts = {"without_class": 0, "broken": 1, "duplicates": 2}
    stored = {
        "results": results,
        "id_accuracy": 0.953,
        "id_accuracy_after": {"gsc": 0.948},
        "images": {"id": {"scored": n, **counts}} | {s: {"scored": m, **counts} for s in sets},
        "excused": {"she": "It needs 10 images of each class, and 3 classes have fewer."},
        "inverted": [name for name, skill in detectors.items() if skill < 0],
        "settings": {"level": 0.95},
        "provenance": {"version": "test"},
    }
    folder.mkdir(parents=True)
    scores.to_parquet(folder / "scores.parquet", index=False)
    (folder / "metrics.json").write_text(json.dumps(stored | extra), encoding="utf-8")
    return folder


@lru_cache(maxsize=32)
def _measured(
    sets: tuple[tuple[str, float], ...],
    detectors: tuple[tuple[str, float], ...],
    n: int,
    m: int,
    seed: int,
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """The scores and what `metrics.json` says of them, made once for all runs of this make."""
    rng = np.random.default_rng(seed)
    groups = [("calibration", "calibration", 50, 0.0), ("id", "id", n, 0.0)]
    groups += [(name, "ood", m, shift) for name, shift in sets]
    parts = []
    for name, role, size, shift in groups:
        files = [f"{name}/{i:05}.png" for i in range(size)]
        part = pd.DataFrame({"set": name, "role": role, "file": files})
        part["sha256"] = [hashlib.sha256(file.encode()).hexdigest() for file in files]
        part["label"] = rng.integers(0, 12, size) if role != "ood" else -1
        part["predicted"] = rng.integers(0, 12, size)
        part["confidence"] = rng.uniform(0.3, 1, size).astype(np.float32)
        seen = rng.normal(shift, 1, size)
        for detector, skill in detectors:
            part[detector] = (skill * seen + rng.normal(0, 0.4, size)).astype(np.float32)
        parts.append(part)
    scores = pd.concat(parts, ignore_index=True)

    results = []
    for detector, _ in detectors:
        of = {name: part[detector].to_numpy() for name, part in scores.groupby("set")}
        found = evaluate(of["id"], {name: of[name] for name, _ in sets}, repeats=100)
        for ood_set, row in found.items():
            entry: dict[str, Any] = {"detector": detector, "ood_set": ood_set}
            for metric, interval in row.items():
                entry[metric] = interval.value
                entry[f"{metric}_low"], entry[f"{metric}_high"] = interval.low, interval.high
            results.append(entry)
    return scores, results


def write_features(folder: Path, dimensions: int = 16, seed: int = 0) -> NDArray[np.float16]:
    """As an audit leaves them, for a run that `write_run` wrote."""
    rows = pq.read_metadata(folder / "scores.parquet").num_rows
    rng = np.random.default_rng(seed)
    values = (rng.normal(0, 1, (rows, dimensions)) * np.linspace(1, 0.2, dimensions)) / 4
    stored = values.astype(np.float16)
    column = pa.FixedSizeListArray.from_arrays(pa.array(stored.reshape(-1)), dimensions)
    table = pa.table({"feature": column, "self_confidence": pa.nulls(rows, pa.float32())})
    pq.write_table(table, folder / "features.parquet", use_dictionary=False)
    return stored


def tried(
    layer: str, fpr95: float, auroc: float, *, capped: bool = True, share: float = 0.05
) -> dict[str, Any]:
    """What `metrics.json` has of one way to cut that was tried on surrogate images."""
    cut: dict[str, Any] = {
        "layer": layer,
        "granularity": "element",
        "ranking": "gradient",
        "share": 0.0,
    }
    if layer == "split":
        cut |= {"granularity": "channel", "ranking": "attribution", "share": share}
    kinds = {
        kind.name: [min(1, fpr95 + i / 20), auroc - i / 50] for i, kind in enumerate(KINDS[:4])
    }
    figures = {"fpr95": fpr95, "auroc": auroc, "by_kind": kinds}
    return {"short_circuit": cut | {"intervention": "zero"}, "capped": capped, **figures}


def own_choices(*, ways: int = 30) -> dict[str, Any]:
    """For `write_run`: a run in which gsc-auto cut channels at layer4, and a partner was chosen."""
    chosen, nothing = tried("split", 0.24, 0.93), tried("none", 0.33, 0.9)
    others = [tried("split", 0.25 + i / 200, 0.92, share=0.1 + i / 100) for i in range(ways)]
    selection = {"chosen": chosen, "nothing": nothing, "tried": [chosen, *others, nothing]}
    return {
        "selections": {"gsc-auto": selection | {"dropped": 96, "images": 200, "surrogates": 200}},
        "partners": {"auto-ensemble": {"energy": 0.4, "vra": 0.22}},
        "settings": {"split": "layer4"},
    }
