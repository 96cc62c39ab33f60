"""`gsc …`: the product on the command line. Exit 0 done, 2 what the user can fix, 1 our fault."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated

import typer
from pydantic import ValidationError

from gsc_core import __version__
from gsc_core.cli.ablate import ablate
from gsc_core.cli.answers import ON_THE_COMMAND_LINE
from gsc_core.cli.audit import IMPORTING, audit
from gsc_core.cli.backup import backup, restore
from gsc_core.cli.demo import demo
from gsc_core.cli.doctor import doctor
from gsc_core.cli.export import ExportCommand, export
from gsc_core.cli.gate import gate
from gsc_core.cli.listing import catalogue, list_detectors, list_splits
from gsc_core.cli.log import log
from gsc_core.cli.mark import mark
from gsc_core.cli.report import report
from gsc_core.cli.terminal import write, write_error
from gsc_core.cli.tune import tune
from gsc_core.cli.watch import watch
from gsc_core.cli.worker import worker
from gsc_core.errors import GscError
from gsc_core.files import disk_full, is_full
from gsc_core.jobs.allocation import keep_freed_memory
from gsc_core.stopwatch import Stopwatch

app = typer.Typer(
    help="Learn what an image classifier does with images it was never meant to see.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
_INTERRUPTED = 130
_NOTHING_KEPT = frozenset({"tune", "ablate"})  # commands that start again after Ctrl-C
_WITHOUT_ENGINE = frozenset({"gate", "mark", "log", "doctor", "backup", "restore"})
"""Commands that need no torch, which takes seconds to load, or check it themselves."""


# In the order of the help. A new command is one file and one line here.
for command in (audit, tune, demo, ablate, gate, mark, report, watch):
    app.command()(command)
app.command(cls=ExportCommand)(export)
app.command("detectors")(list_detectors)
app.command(hidden=True)(catalogue)
app.command("splits")(list_splits)
app.command()(worker)
app.command()(log)
app.command()(doctor)
app.command()(backup)
app.command()(restore)


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        write(f"gsc-audit {__version__}\n")
        raise typer.Exit
    if context.invoked_subcommand not in _WITHOUT_ENGINE:
        with context.ensure_object(Stopwatch).phase(IMPORTING):
            from gsc_core.classifier.installation import check_installation

            check_installation()


def main() -> None:
    """Run the command line; errors a user can fix are one sentence on standard error."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # what libraries tell programmers
    keep_freed_memory()
    try:
        app(obj=Stopwatch())
    except GscError as error:
        asked = error.question
        _fail(str(error) if asked is None else asked.worded(ON_THE_COMMAND_LINE))
    except ValidationError as error:
        _fail(_first_of(error))
    except OSError as error:
        if is_full(error):
            _fail(disk_full(error.filename or "the result"))
        if error.filename is None:
            raise
        _fail(f"{error.filename} cannot be used ({error.strerror}): check the path.")
    except (MemoryError, RuntimeError) as error:
        from gsc_core.classifier.guard import of_memory

        if not of_memory(error):
            raise
        _fail("Memory ran out: try a smaller --batch-size, fewer images or another device.")
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # typer turns Ctrl-C into this, without a word
            kept = "Finished chunks are saved: the same command continues from there."
            anew = _NOTHING_KEPT.intersection(sys.argv[1:2])
            write_error(f"Stopped. {'Nothing was written.' if anew else kept}\n")
        raise


def _first_of(error: ValidationError) -> str:
    first = error.errors()[0]
    if first["type"] == "value_error":
        return f"{first['ctx']['error']}."
    option = str(first["loc"][0]).replace("_", "-")
    return f"--{option} cannot be {first['input']!r}: {first['msg'].lower()}."


def _fail(sentence: str) -> None:
    write_error(" ".join(sentence.split()) + "\n")
    sys.exit(2)
