"""Parts of a report that an audit and its revision have alike: counts, metrics, every detector."""

from __future__ import annotations

from collections.abc import Iterable

from gsc_core.evaluation.intervals import Interval
from gsc_core.evaluation.thresholds import Acceptance
from gsc_core.report import model
from gsc_core.run import picking
from gsc_core.run.decisions import Decision
from gsc_core.run.stored import Run
from gsc_core.sentences.detector_names import title_of


def by_set(run: Run, decision: Decision) -> Iterable[model.SetFigures]:
    """The deciding detector on each OOD set, whatever the threshold. Raises as `metrics_of`."""
    metrics = picking.metrics_of(run, decision)
    for name in run.ood_sets:
        if name in metrics:
            fpr95, auroc = (figure(metrics[name].get(metric)) for metric in ("fpr95", "auroc"))
            yield model.SetFigures(name=name, fpr95=fpr95, auroc=auroc)


def counted(name: str, found: Acceptance) -> model.Counted:
    """How many of a set are accepted."""
    return model.Counted(
        name=name,
        tested=found.total,
        passed=found.accepted,
        share=found.share,
        low=found.low,
        high=found.high,
    )


def detector_rows(run: Run) -> Iterable[model.DetectorRow]:
    """The mean rows, the best first, those that point the wrong way last."""
    means = (run.row(name) for name in run.ranked())
    for row in (row for row in means if row is not None):
        notes = ["points the wrong way"] if row.detector in run.inverted else []
        if run.directions.get(row.detector) == "turned":
            notes.append("direction flipped")
        yield model.DetectorRow(
            name=row.detector,
            title=title_of(run, row.detector),
            fpr95=figure(row.metric("fpr95")),
            auroc=figure(row.metric("auroc")),
            notes=tuple(notes),
        )


def figure(interval: Interval | None) -> model.Figure | None:
    """A metric of a run as the report has it; None where the run does not."""
    if interval is None:
        return None
    return model.Figure(value=interval.value, low=interval.low, high=interval.high)
