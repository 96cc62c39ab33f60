"""A stored run with random scores whose images are there, as they were audited."""

import hashlib
from pathlib import Path

import pandas as pd
from stored_run import write_run
from uploads import png

CLASSES = ("cat", "dog", "owl")


def write_pictured_run(folder: Path, *, n=12, m=10, names=CLASSES, **extra) -> Path:
    """A run of three sets: 50 calibration, `n` ID and `m` OOD images, each a PNG of its own."""
    roots = {name: folder.parent / f"{folder.name}-{name}" for name in ("id", "signs")}
    settings = {
        "id": str(roots["id"]),
        "ood": {"signs": str(roots["signs"])},
        "classes": 3,
        "class_names": None if names is None else list(names),
        "repeats": 20,
    }
    write_run(
        folder, {"signs": 0.9}, {"gsc": 1.2, "energy": 1.0}, n=n, m=m, settings=settings, **extra
    )
    scores = pd.read_parquet(folder / "scores.parquet")
    for column in ("label", "predicted"):
        scores[column] = scores[column].where(scores[column] < 0, scores[column] % 3)
    for row in scores.itertuples():
        content = png(row.Index)
        path = roots["signs" if row.role == "ood" else "id"] / str(row.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        scores.loc[row.Index, "sha256"] = hashlib.sha256(content).hexdigest()
    scores.to_parquet(folder / "scores.parquet", index=False)
    return folder
