"""What the command line shows: progress, the table of an audit, the catalogue."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Column, Table

from gsc_core.cli.terminal import Text, write, write_error
from gsc_core.evaluation.counts import number_of, percent
from gsc_core.evaluation.intervals import Interval
from gsc_core.stopwatch import Spent, Stopwatch

LAST = "The order was found afterwards, which flatters the first."
_SHOWN = 0.01  # of the whole: parts of a phase that took less have no line of their own

if TYPE_CHECKING:  # heavy, and no command but its own should wait for it
    from gsc_core.ablation import Ablation
    from gsc_core.audit.tuning_file import Tuned
    from gsc_core.classifier.split import Split
    from gsc_core.run.document import Result
    from gsc_core.run.stored import Run


def console() -> Console:
    """Standard output, wide enough for the tables when it is not a terminal."""
    return Console(width=None if sys.stdout.isatty() else 120)


@contextmanager
def shown_progress() -> Iterator[Any]:
    """A bar on a terminal, a line a phase otherwise; on standard error, so that --json is clean."""
    errors = Console(stderr=True)
    if not errors.is_terminal:
        yield _plain_lines()
        return
    # a set's name comes from a person: it is not markup
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Bar(*columns, TimeRemainingColumn(), console=errors) as bar:
        tasks: dict[str, TaskID] = {}

        def show(progress: Any) -> None:
            if progress.phase not in tasks:
                _complete(bar)  # a phase ends where the next begins; most do not say that they did
                tasks[progress.phase] = bar.add_task(progress.phase)
            bar.update(tasks[progress.phase], completed=progress.done, total=progress.total)

        yield show
        _complete(bar)


def _complete(bar: Bar) -> None:
    """Show all that began as done."""
    for task in bar.tasks:
        bar.update(task.id, completed=task.total)


def _plain_lines() -> Any:
    """A line at a phase's start and at each tenth of it."""
    told: set[tuple[str, int]] = set()

    def show(progress: Any) -> None:
        tenth = 10 * progress.done // max(1, progress.total)
        if (progress.phase, tenth) not in told:
            told.add((progress.phase, tenth))
            of = f" {progress.done}/{progress.total}" if progress.total > 1 else ""
            write_error(f"{progress.phase}{of}\n")

    return show


def show_run(run: Run, as_json: bool) -> None:
    """A finished audit, as it was asked for."""
    if as_json:
        write(run.document.to_json() + "\n")
    else:
        print_result(run)


def print_result(run: Run) -> None:
    """Print a finished audit: its decision, detectors best first, what they chose, counts."""
    from gsc_core.run import decisions
    from gsc_core.run.confidence import trust_of
    from gsc_core.sentences.confidence import in_short
    from gsc_core.sentences.decision import excused_sentence, picked_sentence, standing_sentence
    from gsc_core.sentences.run import answer, rounded, usual_for
    from gsc_core.sentences.selection import choice_sentences
    from gsc_core.sentences.set_checks import in_short as sets_in_short

    sets = run.ood_sets
    mean = "mean of the OOD sets" if len(sets) > 1 else sets[0]
    table = Table("detector", "FPR95, %", "AUROC, %", "note", box=SIMPLE)  # fits 80 columns
    for name in run.ranked():
        row = run.row(name)
        assert row is not None  # it was ranked by it
        figures = (_percents(row.metric(each)) for each in ("fpr95", "auroc"))
        table.add_row(*map(Text, (name, *figures, _note(run, row))))
    show, decision = console().print, decisions.current(run)
    show(Text(answer(run), style="bold"))
    for of_decision in (standing_sentence, picked_sentence, excused_sentence):
        if said := of_decision(run, decision):
            show(Text(said))
    show(
        Text(
            "Every detector: FPR95, the share of unfamiliar images accepted when 95 % of familiar "
            f"ones are, and AUROC, how well it separates them; {mean}. {LAST}"
        )
    )
    show(table)
    for sentence in choice_sentences(run):
        show(Text(sentence))
    for name, reason in run.excused.items():
        show(Text(f"left out: {name}: {reason}"))
    if run.id_accuracy is not None:
        after = "".join(
            f"; after {name}: {percent(share, 1)}" for name, share in run.id_accuracy_after.items()
        )
        show(Text(f"Familiar images classified correctly: {percent(run.id_accuracy, 1)}{after}"))
    else:
        show(Text(f"Accuracy is not known. {run.settings.labels}"))
    if (trust := trust_of(run)) is not None:
        show(Text(in_short(run, trust)))
    _print_checks(run)
    if (of_sets := sets_in_short(run)) is not None:
        show(Text(of_sets))
    for name, counts in run.images.items():
        show(
            Text(
                f"{name}: {counts.scored} scored, {counts.broken} broken, "
                f"{number_of(counts.duplicates, 'duplicate')}"
                + (f", {counts.without_class} without a class" if counts.without_class else "")
            )
        )
    if rounding := rounded(run.settings):
        show(Text(rounding))
    if run.settings.preprocessing.source == "assumed":
        usual = usual_for(run.settings)
        show(Text(f"Preprocessing was assumed, {usual}: correct it with --preprocess."))
    show(Text(f"Result: {run.path}"))


def _print_checks(run: Run) -> None:
    """What was checked about the model, warnings first."""
    from gsc_core.sentences.checks import checks_of, in_short

    show = console().print
    if checks := checks_of(run):
        show(Text(f"{in_short(checks)}."))
    for check in checks:
        outcome = check.outcome.replace("unchecked", "not checked")
        show(Text(f"  {outcome}: {check.sentence}"))


def _note(run: Run, row: Result) -> str:
    notes = []
    if run.directions.get(row.detector) == "turned":
        notes.append("direction flipped")
    if row.detector in run.inverted:
        auroc = row.value("auroc")
        wrong = auroc is not None and auroc < 0.5
        notes.append(
            "points the wrong way" if wrong else "points the wrong way on surrogate images"
        )
    return ", ".join(notes)


def _with_interval(found: Interval | None) -> str:
    if found is None:
        return "–"
    value, low, high = (100 * each for each in (found.value, found.low, found.high))
    return f"{value:.1f} % ({low:.1f} to {high:.1f})"


def _percents(found: Interval | None) -> str:
    """As `_with_interval`, short, where the column says that it is percent."""
    if found is None:
        return "–"
    value, low, high = (100 * each for each in (found.value, found.low, found.high))
    return f"{value:.1f} ({low:.1f}–{high:.1f})"


def print_profile(watch: Stopwatch) -> None:
    """Print where the time went, by phase; on standard error, so that --json is clean."""
    phases = watch.phases()
    whole = sum(phases.values(), start=Spent())
    table = Table(
        "phase", *(Column(unit, justify="right") for unit in ("seconds", "CPU s", "share"))
    )

    def row(name: str, spent: Spent) -> None:
        share = f"{spent.wall_s / whole.wall_s:.1%}"
        table.add_row(Text(name), f"{spent.wall_s:.2f}", f"{spent.cpu_s:.2f}", share)

    for name, spent in phases.items():
        row(name, spent)
        for part, of_part in watch.parts(name).items():
            if of_part.wall_s > _SHOWN * whole.wall_s:
                row(f"  {part}", of_part)
    row("total", whole)
    Console(stderr=True, width=None if sys.stderr.isatty() else 120).print(table)


def print_ablation(ablation: Ablation, sentences: Sequence[str], folder: Path) -> None:
    """Print an ablation: what it says, then every setting but the curves."""
    show = console().print
    for sentence in sentences:
        show(Text(sentence))
    table = Table("layer", "around", "changed", "to", "unfamiliar images accepted (FPR95)", "AUROC")
    rows = ablation.rows()
    for _, row in rows[rows["factor"] != "curve"].iterrows():
        about = (row["layer"], row["base"], row["factor"], row["level"])
        figures = (_with_interval(_interval_in(row, metric)) for metric in ("fpr95", "auroc"))
        table.add_row(*map(Text, (*about, *figures)))
    show(table)
    show(_beside_the_paper(ablation))
    for name, reason in ablation.facts.excused.items():
        show(Text(f"left out: {name}: {reason}"))
    show(Text(f"Result: {folder}/ablation.parquet"))


def _beside_the_paper(ablation: Ablation) -> Table:
    """FPR95 of the rows of the paper's ablation, here and as a summary of the paper quotes them."""
    from gsc_core.ablation.comparison import paper_table

    table = Table("row of the paper", "accepted (FPR95) in the paper, as summarised", "here")
    for _, row in paper_table(ablation).iterrows():
        here = "not measured" if math.isnan(row["fpr95"]) else percent(row["fpr95"], 1)
        table.add_row(*map(Text, (row["row"], percent(row["paper_fpr95"], 1), here)))
    return table


def _interval_in(row: Any, metric: str) -> Interval:
    """A metric of a row of the ablation's table."""
    return Interval(*(float(row[metric + end]) for end in ("", "_low", "_high")))


def print_tuned(tuned: Tuned, out: Path) -> None:
    """Print what `gsc tune` chose, what came next, and how to use it."""
    from gsc_core.sentences.selection import fused_sentence, in_words, sentence

    show = console().print
    show(Text(sentence("gsc-auto", tuned.chosen, tuned.nothing, tuned.split)))
    table = Table("next best", "surrogate images accepted (FPR95)", "AUROC")
    for each in tuned.runners_up:
        figures = (percent(share, 1) for share in (each.tried.fpr95, each.tried.auroc))
        table.add_row(*map(Text, (in_words(each.tried, each.split), *figures)))
    show(table)
    if tuned.ensemble is not None:
        show(Text(fused_sentence("auto-ensemble", tuned.ensemble)))
    made = f"{tuned.surrogates} surrogate images made from them"
    show(Text(f"Chosen on {tuned.images} familiar images and {made}."))
    show(Text(f"Result: {out}, for gsc audit --gsc-config {out}"))


def print_catalogue(rows: Sequence[dict[str, Any]]) -> None:
    """Print the detectors, each as `DetectorFacts` has it."""
    heads = ("name", "family", "what it does", "reads", "fitted with", "extra passes", "settings")
    table = Table(*heads)
    for row in rows:
        settings = "\n".join(f"{k['name']}={k['default']}" for k in row["settings"])
        fails = f" Known to fail on {row['fails_on']}." if row["fails_on"] else ""
        about = f"{row['about']}{fails} ({row['paper']})"
        cells = (row["name"], row["family"], about, ", ".join(row["reads"]))
        more = (", ".join(row["fitted_with"]) or "nothing", f"{row['extra_passes']:g}", settings)
        table.add_row(*map(Text, (*cells, *more)))
    console().print(table)


def split_row(split: Split, default: Split | None) -> dict[str, Any]:
    """A layer as `gsc splits --json` prints it."""
    return {
        "name": split.name,
        "shape": list(split.shape),
        "linear_after": split.linear,
        "also": list(split.aliases),
        "default": split is default,
    }


def print_splits(rows: Sequence[dict[str, Any]]) -> None:
    """Print the layers at which a network can be cut."""
    table = Table("layer", "feature of one image", "after it", "")
    for row in rows:
        after = "linear: one gradient a class" if row["linear_after"] else "not linear"
        shape = " × ".join(map(str, row["shape"]))
        cells = (row["name"], shape, after, "default" if row["default"] else "")
        table.add_row(*map(Text, cells))
    console().print(table)
