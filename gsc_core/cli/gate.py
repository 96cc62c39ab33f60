"""`gsc gate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from gsc_core.cli.options import AsJson
from gsc_core.cli.output import console
from gsc_core.cli.run_argument import opened
from gsc_core.cli.terminal import Text, write
from gsc_core.errors import SpecError

if TYPE_CHECKING:
    from gsc_core.release.policy import Policy
    from gsc_core.release.verdict import Judged, Verdict
    from gsc_core.run.decisions import Decision
    from gsc_core.run.stored import Run

EXIT = {"pass": 0, "fail": 3, "not enough data": 4}
_COLOURS = {"pass": "green", "fail": "bold red", "not enough data": "yellow"}


def gate(
    run: Annotated[str, typer.Argument(help="A run of the workspace, or the folder of an audit.")],
    policy: Annotated[
        Path | None,
        typer.Option(
            help="The limits: a policy.toml; by default the one that the workspace keeps."
        ),
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.")] = None,
    markdown: Annotated[
        str | None,
        typer.Option(help="Add a Markdown summary to the end of this file; - prints it."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judge a run by a release policy's limits: exit 0 pass, 3 fail, 4 not enough data."""
    from gsc_core.files import written_aside
    from gsc_core.release.judge import judge
    from gsc_core.release.junit import junit_xml
    from gsc_core.release.markdown import summary
    from gsc_core.run import decisions

    if as_json and markdown == "-":
        raise SpecError("--json and --markdown - both print: give one of them a file.")
    limits = _policy(policy)
    stored = opened(run)
    decision = decisions.current(stored)
    verdict, said = judge(stored, decision, limits), _answer(stored)
    if junit is not None:
        with written_aside(junit) as part:
            part.write_bytes(junit_xml(verdict, stored.id))
    if markdown is not None and markdown != "-":
        _append(Path(markdown), summary(verdict, stored.id, said or ""))
    if as_json:
        document = _document(verdict, stored, decision)
        write(json.dumps(document, indent=2, allow_nan=False) + "\n")
    elif markdown == "-":
        write(summary(verdict, stored.id, said or ""))
    else:
        _print(verdict, " ".join(filter(None, (said, _marked(stored)))))
    raise typer.Exit(EXIT[verdict.outcome])


def _policy(path: Path | None) -> Policy:
    from gsc_core.release.policy import read_policy

    if path is not None:
        return read_policy(path.read_bytes())
    from gsc_core.workspace import release_policy  # comes with an extra

    kept = release_policy.current()
    if kept is None:
        raise SpecError("No limits were given: name a file with --policy policy.toml.")
    return kept


def _append(path: Path, text: str) -> None:
    """CI gives every step a file to add to: what others wrote there stays."""
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def _answer(run: Run) -> str | None:
    """What the decision does; None where that cannot be counted, which the limits mention."""
    from gsc_core.errors import GscError
    from gsc_core.sentences.run import answer

    try:
        return answer(run)
    except GscError:
        return None


def _marked(run: Run) -> str:
    """That images are marked, which the gate does not leave out."""
    from gsc_core.run.marks import by_row
    from gsc_core.sentences.marks import count_of

    said = count_of(by_row(run).values())
    return f"{said} in separate figures; the gate judges the audit as it ran." if said else ""


def _print(verdict: Verdict, said: str) -> None:
    table = Table("limit", "", "measured (95 % interval)", "outcome", "why")
    for judged in verdict.rules:
        words = (judged.title, judged.limit, judged.figure, judged.outcome, judged.because)
        *cells, outcome, why = map(Text, words)
        outcome.stylize(_COLOURS[judged.outcome])
        table.add_row(*cells, outcome, why)
    show = console().print
    if said:
        show(Text(said))
    show(table)
    show(Text(verdict.sentence, style=_COLOURS[verdict.outcome]))


def _document(verdict: Verdict, run: Run, decision: Decision) -> dict[str, Any]:
    return {
        "run": run.id,
        "detector": decision.detector,
        "answer": _answer(run),
        "marked": _marked(run) or None,
        "threshold": decision.value if abs(decision.value) < float("inf") else None,
        "outcome": verdict.outcome,
        "sentence": verdict.sentence,
        "limits": [_limit(judged) for judged in verdict.rules],
    }


def _limit(judged: Judged) -> dict[str, Any]:
    found = judged.interval
    return {
        "rule": judged.rule,
        "title": judged.title,
        "limit": judged.limit,
        "figure": judged.figure,
        "value": None if found is None else found.value,
        "low": None if found is None else found.low,
        "high": None if found is None else found.high,
        "outcome": judged.outcome,
        "because": judged.because,
    }
