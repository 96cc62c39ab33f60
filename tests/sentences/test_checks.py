"""What was checked about the model, in words on the terminal."""

from pathlib import Path

import pytest
from stored_run import write_run

from gsc_core.cli.output import print_result
from gsc_core.run.stored import Run

CHECKS = [
    {"name": "inputs", "outcome": "fine", "sentence": "Prepared images fit."},
    {"name": "accuracy", "outcome": "warning", "sentence": "No more than by chance."},
    {"name": "one class", "outcome": "warning", "sentence": "One class for all."},
]


@pytest.mark.parametrize(
    ("checks", "lines"),
    [
        (
            CHECKS,
            [
                "What was checked about the model: 2 warnings.",
                "  warning: No more than by chance.",
                "  warning: One class for all.",
                "  fine: Prepared images fit.",
            ],
        ),
        (CHECKS[:2], ["What was checked about the model: 1 warning."]),
        (
            [*CHECKS[:2], {"name": "inputs", "outcome": "unchecked", "sentence": "No labels."}],
            [
                "What was checked about the model: 1 warning, 1 not checked.",
                "  warning: No more than by chance.",
                "  not checked: No labels.",
                "  fine: Prepared images fit.",
            ],
        ),
        (
            CHECKS[:1],
            ["What was checked about the model: all fine.", "  fine: Prepared images fit."],
        ),
    ],
)
def test_the_terminal_lists_warnings_first(
    checks: list[dict], lines: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_result(Run.load(write_run(tmp_path / "run", checks=checks)))
    out = capsys.readouterr().out
    assert "\n".join(lines) in out


def test_nothing_is_said_of_runs_without_checks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_result(Run.load(write_run(tmp_path / "run")))
    assert "What was checked" not in capsys.readouterr().out
