"""`gsc export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from gsc_core.cli.options import AsJson
from gsc_core.cli.output import console, shown_progress
from gsc_core.cli.run_argument import opened
from gsc_core.cli.terminal import Text, write, write_error
from gsc_core.errors import SpecError
from gsc_core.run.detector_names import note_of

if TYPE_CHECKING:
    from gsc_core.deploy.export import Exported
    from gsc_core.run.decisions import Decision
    from gsc_core.run.stored import Run


class ExportCommand(TyperCommand):
    """Its help names every threshold rule, which only a reader of the help waits for."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, the rules' examples in it."""
        from gsc_core.evaluation.thresholds import examples

        (threshold,) = (param for param in self.params if param.name == "threshold")
        assert isinstance(threshold, TyperOption)
        threshold.help = f"{', '.join(examples())}; by default the one decided on."
        super().format_help(ctx, formatter)


def export(
    run: Annotated[str, typer.Argument(help="A run of the workspace, or the folder of an audit.")],
    detector: Annotated[
        str | None,
        typer.Option(help="Which of the run's detectors; by default the one decided on."),
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option(help="How the threshold is set; by default the one decided on."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The file to write; its card goes beside it.")] = Path(
        "detector.pt2"
    ),
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Also write .onnx, without resizing and cropping.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a detector with its network and threshold as one file that needs only torch."""
    from gsc_core.deploy.export import export_detector
    from gsc_core.evaluation.thresholds import format_rule
    from gsc_core.run import decisions

    stored = opened(run)
    decision = _decision(stored, detector, threshold)
    decisions.ensure_finite(decision)
    if note := note_of([detector or ""]):
        write_error(f"{note}\n")
    with shown_progress() as on_progress:
        written = export_detector(
            stored.path,
            decision.detector,
            decision.value,
            format_rule(decision.rule),
            out,
            on_progress,
            onnx=onnx,
        )
    if as_json:
        write(written.card.model_dump_json(indent=2) + "\n")
    else:
        _print(written)


def _decision(run: Run, detector: str | None, threshold: str | None) -> Decision:
    """What was decided, as far as the options do not ask for something else."""
    from gsc_core.evaluation.thresholds import parse_rule
    from gsc_core.run import decisions

    name = run.name_of(detector or decisions.current(run).detector)
    if name not in run.detectors:
        why = f" ({run.excused[name]})" if name in run.excused else ""
        raise SpecError(
            f"This run has no detector {name!r}{why}: choose one of {', '.join(run.detectors)}."
        )
    if threshold is not None:
        return decisions.decide(run, name, parse_rule(threshold))
    return decisions.offered(run, name)


def _print(written: Exported) -> None:
    card, show = written.card, console().print
    for path in filter(None, (written.program, written.card_path, written.onnx)):
        size = path.stat().st_size
        words = f"{size / 1e6:.1f} MB" if size > 1e5 else f"{size / 1e3:.1f} kB"
        show(Text(f"{path} ({words})"), soft_wrap=True)
    show(
        Text(
            f"{card.detector}, threshold {card.threshold:.6g} ({card.rule}): flags "
            f"{card.calibration_flagged} of the {card.calibration} calibration images."
        )
    )
    found = card.agreement
    on = (
        "test images"
        if found.against == "stored scores"
        else "random images, as the audit's are gone"
    )
    show(
        Text(
            f"Read again and compared with the audit ({on}: {found.pictures}). Scores differ by at "
            f"most {found.largest_difference:.2g}; different decisions: {found.decided_otherwise}."
        )
    )
    show(Text("With torch alone:\n"))
    write(card.example.replace("detector.pt2", written.program.name))
