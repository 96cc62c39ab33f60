"""What has to be answered before the work goes on: the question, and a button for each answer."""

from collections.abc import Callable

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.errors.questions import Answer, Choice, Question, Setting, Wording
from gsc_core.images.class_orders import order_called
from pages.parts.shared.text import plain

NEEDS_ANSWER = "Needs an answer"
FIELDS = {
    Setting.ARCHITECTURE: "Architecture",
    Setting.OPTIONS: "Options of the architecture",
    Setting.WEIGHTS: "Weights in the file",
    Setting.PREPROCESSING: "Preprocessing, My own",
}
"""The fields of the Models page."""


def _button(choice: Choice) -> str:
    match choice.setting:
        case Setting.LABELS | Setting.CALIBRATION_LABELS if choice.value == "folders":
            return "Labels from the folders"
        case Setting.LABELS | Setting.CALIBRATION_LABELS:
            return f"Labels from {choice.value}"
        case Setting.PART | Setting.CALIBRATION_PART:
            return f"Only the folder {choice.value}"
        case Setting.LABEL_ORDER:
            return f"Label order {choice.value}: {order_called(choice.value).title}"
        case Setting.WEIGHTS:
            return f"Weights {choice.value}"
        case _:
            return choice.value


ON_A_PAGE = Wording("press", _button, FIELDS.__getitem__, ", ", ("“", "”"))


def asked(question: Question, key: str, answer: Callable[[Answer], object]) -> None:
    """Show a question; `answer` does what is pressed, and the page is shown again.

    Buttons have the keys `<key>_answer_<place>`.
    """
    st.warning(plain(question.worded(ON_A_PAGE)), icon=":material/help:")
    with st.container(horizontal=True):
        for at, one in enumerate(question.answers):
            pressed = st.button(plain(ON_A_PAGE.answer(one)), key=f"{key}_answer_{at}")
            if pressed and _done(answer, one):
                st.rerun()


def doubt(question: Question) -> str:
    """What is doubtful, where there is no room for the answers."""
    return f"{question.doubt}."


def _done(answer: Callable[[Answer], object], one: Answer) -> bool:
    try:
        answer(one)
    except GscError as error:
        st.error(plain(str(error)))
        return False
    return True
