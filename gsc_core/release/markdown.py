"""A verdict as Markdown, as GitHub shows it in a job's summary or a comment."""

import re

from gsc_core.release.verdict import Judged, Outcome, Verdict

SIGNS = {Outcome.MET: "✅", Outcome.BROKEN: "❌", Outcome.UNSURE: "❔"}
_LIVE = re.compile(r"[\\`*_\[\]<>#|~&$]|:(?=//)|(?<=www)\.", re.IGNORECASE)


def summary(verdict: Verdict, run: str, answer: str = "") -> str:
    """A heading, the verdict in a sentence, and a table of every limit; ends in a line break.

    answer: what the run's decision does, a paragraph of its own.
    """
    rows = "".join(_row(judged) for judged in verdict.rules)
    said = f"{cell(answer)}\n\n" if answer else ""
    return (
        f"### {SIGNS[verdict.outcome]} Release gate: {verdict.outcome} ({cell(run)})\n"
        "\n"
        f"{cell(verdict.sentence)}\n"
        "\n"
        f"{said}"
        "| Limit | | Measured, with 95 % interval | Outcome | Why |\n"
        "|---|---|---|---|---|\n"
        f"{rows}\n"
    )


def cell(text: str) -> str:
    """Text that stays text, and in its cell: no markup, HTML, link, formula or mention."""
    one_line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    escaped = _LIVE.sub(lambda match: "\\" + match[0], one_line)
    # A name to mention is looked for after escapes are read: a joiner breaks it up.
    return re.sub(r"([@#])(?=\S)", "\\1\N{WORD JOINER}", escaped)


def _row(judged: Judged) -> str:
    outcome = f"{SIGNS[judged.outcome]} {judged.outcome}"
    cells = map(cell, (judged.title, judged.limit, judged.figure, outcome, judged.because))
    return f"| {' | '.join(cells)} |\n"
