"""What is known of the detectors of runs whose documents did not say it themselves yet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any


def detector_records(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Records of the detectors that a document without a version names.

    The file beside this module is a record of the past: a new detector is not added to it.
    """
    rows, excused = document.get("results"), document.get("excused")
    measured = [row.get("detector") for row in rows or () if isinstance(row, dict)]
    names = dict.fromkeys(map(str, [*measured, *(excused or ())]))
    parts = dict.fromkeys(part for name in names for part in name.split("+"))
    records = [_records()[part] for part in parts if part in _records()]
    return records + [_of_ensemble(name) for name in names if "+" in name]


def in_preference(names: Iterable[str]) -> list[str]:
    """Detectors in the order in which they are trusted to decide before an OOD image is seen.

    For runs that did not record it yet: the order of the file, which is that of the catalogue then;
    what the file does not hold comes last, as it came.
    """
    order = {name: place for place, name in enumerate(_records())}
    return sorted(names, key=lambda name: order.get(name, len(order)))


def _of_ensemble(name: str) -> dict[str, Any]:
    parts = name.split("+")
    fitted_with = dict.fromkeys(_union(_records().get(part, {}) for part in parts))
    about = f"Mean rank of {' and '.join(parts)}."
    return {"name": name, "title": name, "about": about, "fitted_with": list(fitted_with)}


def _union(records: Iterable[dict[str, Any]]) -> Iterable[str]:
    for record in records:
        yield from record.get("fitted_with", ())


@cache
def _records() -> dict[str, dict[str, Any]]:
    text = files(__package__).joinpath("earlier_detectors.json").read_text(encoding="utf-8")
    return {record["name"]: record for record in json.loads(text)}
