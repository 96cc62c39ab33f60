"""How the audit was set up, in words: the JSON file has the settings as they were recorded."""

from collections.abc import Iterator, Mapping
from typing import Any

from gsc_core.report.model import Report

_ON = {"cpu": "a processor", "mps": "Apple graphics"}


def settings_in_words(report: Report) -> tuple[tuple[str, str], ...]:
    """A title and its words for what a reader may want to repeat; what is not recorded has none."""
    return tuple(_lines(report.settings, report.provenance))


def _lines(settings: Mapping[str, Any], provenance: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if about := ", ".join(_classifier(settings)):
        yield "Classifier", about
    if layer := settings.get("split"):
        yield "Layer that GSC cuts at", str(layer)
    if labels := settings.get("labels"):
        yield "Labels", str(labels)
    if changed := "; ".join(_changed(settings.get("detectors"))):
        yield "Settings of detectors", changed
    if computed := ", ".join(_computed(settings, provenance)):
        yield "Computed", computed
    if random := ", ".join(_random(settings)):
        yield "Chance", random
    if versions := provenance.get("versions"):
        yield "Versions", ", ".join(f"{name} {number}" for name, number in versions.items())


def _classifier(settings: Mapping[str, Any]) -> Iterator[str]:
    if name := settings.get("classifier"):
        yield str(name)
    if architecture := settings.get("architecture"):
        yield f"architecture {architecture}"
    for what in ("classes", "parameters"):
        if isinstance(count := settings.get(what), int):
            yield f"{count:,} {what}"


def _changed(detectors: object) -> Iterator[str]:
    """The detectors that were not taken as they usually are."""
    for each in detectors if isinstance(detectors, list | tuple) else ():
        if isinstance(each, Mapping) and (values := each.get("settings")):
            said = ", ".join(f"{_spaced(name)} {value}" for name, value in values.items())
            yield f"{each.get('name')}: {said}"


def _computed(settings: Mapping[str, Any], provenance: Mapping[str, Any]) -> Iterator[str]:
    if device := provenance.get("device"):
        machine = f" ({provenance['machine']})" if provenance.get("machine") else ""
        yield f"on {_ON.get(device, device)}{machine}"
    if precision := settings.get("precision"):
        yield f"in {precision}"
    if isinstance(images := settings.get("batch_size"), int):
        yield f"{images:,} images at a time"
    if settings.get("compiled"):
        yield "compiled first"


def _random(settings: Mapping[str, Any]) -> Iterator[str]:
    """What depends on chance, and can be repeated."""
    if (seed := settings.get("seed")) is not None:
        yield f"seed {seed}"
    if isinstance(repeats := settings.get("repeats"), int):
        yield f"{repeats:,} repeats for each interval"


def _spaced(name: str) -> str:
    return name.replace("_", " ")
