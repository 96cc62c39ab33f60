"""Figures of the workspace as Prometheus reads them; no name of a person, model or image is there.

See https://prometheus.io/docs/instrumenting/exposition_formats for the form.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gsc_core import __version__
from gsc_core.workspace.operation.check import Level, worst
from gsc_core.workspace.operation.health import Health

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Gauge:
    """A figure that goes up and down, with a value for each set of labels."""

    name: str
    meaning: str
    values: tuple[tuple[Mapping[str, str], float], ...]


def gauges(health: Health) -> list[Gauge]:
    """What the workspace says of itself."""
    lanes = health.lanes
    jobs = [
        ({"lane": lane.lane.value, "state": state}, float(count))
        for lane in lanes
        for state, count in (("queued", lane.queued), ("running", lane.running))
    ]
    waiting = [({"lane": lane.lane.value}, lane.waiting_s) for lane in lanes]
    workers = [({"lane": lane.lane.value}, float(lane.has_worker)) for lane in lanes]
    well = float(worst(health.checks()) is not Level.BAD)
    return [
        Gauge("gsc_build_info", "The version that runs.", (({"version": __version__}, 1.0),)),
        Gauge("gsc_healthy", "Whether the app is healthy.", (({}, well),)),
        Gauge("gsc_jobs", "Jobs that are waiting or running.", tuple(jobs)),
        Gauge("gsc_oldest_queued_seconds", "Age of the oldest waiting job.", tuple(waiting)),
        Gauge("gsc_worker_running", "Whether a lane has a worker.", tuple(workers)),
        Gauge("gsc_disk_free_bytes", "Room for the workspace.", (({}, float(health.free_bytes)),)),
    ]


def text(figures: Iterable[Gauge]) -> str:
    """The figures in the form of Prometheus."""
    return "".join(line + "\n" for gauge in figures for line in _lines(gauge))


def _lines(gauge: Gauge) -> Iterable[str]:
    yield f"# HELP {gauge.name} {gauge.meaning}"
    yield f"# TYPE {gauge.name} gauge"
    for labels, value in gauge.values:
        named = ",".join(f'{name}="{_escaped(label)}"' for name, label in labels.items())
        yield f"{gauge.name}{{{named}}} {value:g}" if named else f"{gauge.name} {value:.17g}"


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
