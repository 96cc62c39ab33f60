"""What the work has to ask: worded by the command line and the app, each by what it offers."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer
from browser import PATIENCE
from places import ROOT
from streamlit.testing.v1 import AppTest

from gsc_core.audit.answers import answered
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec
from gsc_core.cli.answers import ON_THE_COMMAND_LINE, OPTIONS
from gsc_core.cli.app import app
from gsc_core.errors import GscError, SpecError
from gsc_core.errors.questions import OF_CALIBRATION, Answer, Choice, Question, Setting
from pages.parts.shared.question import FIELDS, ON_A_PAGE
from pages.parts.shared.text import plain

QUESTION = Question(
    doubt="mine is doubtful",
    answers=(
        Answer.of(Setting.LABEL_ORDER, "text", "if sorted so"),
        Answer(
            choices=(
                Choice(setting=Setting.PART, value="test"),
                Choice(setting=Setting.LABELS, value="t.csv"),
            )
        ),
    ),
    otherwise="name it",
    fields=(Setting.OPTIONS,),
)


def test_each_place_names_what_it_offers() -> None:
    assert str(QUESTION) == (
        "mine is doubtful: choose label_order text (if sorted so) or its folder test alone with "
        "labels t.csv, or name it (options)."
    )
    assert QUESTION.worded(ON_THE_COMMAND_LINE) == (
        "mine is doubtful: choose --label-order text (if sorted so) or its folder test alone with "
        "--labels t.csv, or name it (--option)."
    )
    assert QUESTION.worded(ON_A_PAGE) == (
        "mine is doubtful: press “Label order text: sorted as text, as torchvision's ImageFolder "
        "does: 1, 10, 2” (if sorted so) or “Only the folder test, Labels from t.csv”, or name "
        "it (Options of the architecture)."
    )


def test_what_only_a_person_can_say_has_no_answers() -> None:
    question = Question(doubt="mine", otherwise="name it", fields=(Setting.ARCHITECTURE,))
    assert question.worded(ON_THE_COMMAND_LINE) == "mine: name it (--arch)."


@pytest.mark.parametrize("setting", Setting)
def test_every_setting_is_an_option_of_the_command_line(setting: Setting) -> None:
    command = typer.main.get_command(app)
    assert isinstance(command, click.Group) or hasattr(command, "commands")
    options = {name for one in command.commands["audit"].params for name in one.opts}
    assert OPTIONS[setting] in options
    assert list(OPTIONS.values()).count(OPTIONS[setting]) == 1, "no two settings have one option"
    assert "--" not in ON_A_PAGE.choice(Choice(setting=setting, value="text"))


@pytest.mark.slow
def test_an_answer_that_cannot_be_taken_leaves_its_reason_on_the_page() -> None:
    def page() -> None:
        from gsc_core.errors import GscError  # noqa: PLC0415 - Streamlit runs this text alone
        from gsc_core.errors.questions import Answer, Question, Setting  # noqa: PLC0415
        from pages.parts.shared.question import asked  # noqa: PLC0415

        def refuse(answer: Answer) -> None:
            raise GscError(f"{answer.choices[0].value} cannot be had.")

        answers = (Answer.of(Setting.WEIGHTS, "ema"),)
        asked(Question(doubt="mine", answers=answers), "mine", refuse)

    shown = AppTest.from_function(page, default_timeout=PATIENCE).run()
    assert not shown.error
    shown.button(key="mine_answer_0").click().run()
    assert [error.value for error in shown.error] == [plain("ema cannot be had.")]


def test_a_question_is_stored_and_read_and_what_is_damaged_is_none() -> None:
    stored = QUESTION.model_dump(mode="json")
    assert Question.read(stored) == QUESTION
    for damaged in (None, {}, {"doubt": 3}, {**stored, "answers": [{"choices": [{}]}]}, "text"):
        assert Question.read(damaged) is None


def test_an_error_keeps_its_kind_and_carries_the_question() -> None:
    error = SpecError.asking(QUESTION)
    assert isinstance(error, SpecError)
    assert error.question == QUESTION
    assert str(error) == str(QUESTION)
    assert GscError("x").question is None


def test_of_calibration_images_the_answers_are_their_own() -> None:
    moved = QUESTION.about("There", OF_CALIBRATION)
    settings = [choice.setting for answer in moved.answers for choice in answer.choices]
    assert settings == [
        Setting.LABEL_ORDER,
        Setting.CALIBRATION_PART,
        Setting.CALIBRATION_LABELS,
    ]
    assert str(moved).startswith("There mine is doubtful: ")


def spec(images: Path) -> AuditSpec:
    return AuditSpec(
        model=ModelSpec(checkpoint=Path("m.pt"), options={"a": 1}),
        id=images,
        calibration=images,
        ood={"x": Path("x")},
        detectors=(DetectorSpec(name="msp"),),
    )


def test_an_answer_is_put_into_the_specification(tmp_path: Path) -> None:
    now = answered(spec(tmp_path), QUESTION.answers[1])
    assert (now.id, now.labels) == (tmp_path / "test", tmp_path / "t.csv")
    now = answered(now, QUESTION.answers[0])
    assert now.label_order == "text"
    now = answered(now, Answer.of(Setting.OPTIONS, "b=false"))
    now = answered(now, Answer.of(Setting.WEIGHTS, "ema"))
    assert (now.model.options, now.model.weights) == ({"a": 1, "b": False}, "ema")
    now = answered(now, Answer.of(Setting.CALIBRATION_LABELS, "folders"))
    now = answered(now, Answer.of(Setting.CALIBRATION_PART, "a/b"))
    assert (now.calibration_labels, now.calibration) == ("folders", tmp_path / "a" / "b")
    assert AuditSpec.model_validate_json(now.model_dump_json()) == now


def test_of_a_zip_no_folder_can_be_taken(tmp_path: Path) -> None:
    packed = answered(spec(tmp_path / "set.zip"), Answer.of(Setting.LABELS, "t.csv"))
    assert packed.labels == Path("t.csv")  # it is found in the archive
    with pytest.raises(SpecError, match=r"set\.zip is not a folder: unpack it"):
        answered(spec(tmp_path / "set.zip"), Answer.of(Setting.PART, "test"))


# --- no sentence of the engine names an option of the command line ----------------------------

FOR_THE_COMMAND_LINE = {
    "audit/tuning_file.py": "a file that only the command line takes",
    "classifier/installation.py": "a command of pip",
    "classifier/options.py": "reads what a person may type, also in the app",
    "demo/train.py": "a program of its own",
    "deploy/watch.py": "a command without a page",
    "deploy/watch_state.py": "a command without a page",
    "detectors/facts.py": "says what a command prints",
    "jobs/supervisor.py": "starts a command",
    "pages/parts/deploy/made.py": "gives the command of a watch",
    "workspace/exports.py": "gives the command that does the same",
}


def flags(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in documents:
            yield from re.findall(r"(?<![\w-])--[a-z][a-z-]*", str(node.value))


@pytest.mark.slow
def test_no_sentence_of_engine_or_page_names_an_option_of_the_command_line() -> None:
    core, pages = ROOT / "gsc_core", ROOT / "pages"
    naming = {
        path.relative_to(core if core in path.parents else ROOT).as_posix()
        for path in [*core.rglob("*.py"), *pages.rglob("*.py")]
        if core / "cli" not in path.parents and any(flags(path))
    }
    assert naming <= FOR_THE_COMMAND_LINE.keys()
    assert set(FIELDS) < set(Setting)
