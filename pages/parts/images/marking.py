"""What is said of images: marks, right classes, notes; what was said last, and taken back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.run import gallery
from gsc_core.run.class_names import classes_of
from gsc_core.run.marks import MAX_NOTE, Doubt, Mark, by_row
from gsc_core.run.stored import Run
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import run_marks, runs
from gsc_core.workspace.run_marks import Change
from pages.parts.shared.text import plain

LAST = "images_last_mark"
REFUSED = "images_mark_refused"
RENEWED = "images_renewed"  # how often a page changed what is selected, or said of it
BUTTONS = {
    Doubt.NOT_UNFAMILIAR: (
        "Not unfamiliar",
        ":material/undo:",
        "It shows what the classifier was made for, so it tests nothing: left out of the figures "
        "without marked images. The figures as audited stay.",
    ),
    Doubt.NOT_FAMILIAR: (
        "Not familiar",
        ":material/block:",
        "It shows what the classifier was not made for: left out of the figures without marked "
        "images. The figures as audited stay.",
    ),
    Doubt.UNUSABLE: (
        "Unusable",
        ":material/broken_image:",
        "Blank, cut off or showing nothing: left out of the figures without marked images. The "
        "figures as audited stay.",
    ),
}


@dataclass(frozen=True)
class _Last:
    """The last thing that was said, to be taken back."""

    run: str
    sentence: str
    change: Change


def readable_marks(run: Run) -> dict[int, Mark]:
    """The marks of a run by row; where they cannot be read none, and the sentence that says why."""
    try:
        return by_row(run)
    except GscError as error:
        st.warning(plain(str(error)))
        return {}


def mark_bar(run: Run, rows: Sequence[int], marks: Mapping[int, Mark]) -> None:
    """Buttons that mark these images; nothing for who may not."""
    if not acting.permits(Action.MARK, runs.owner(run.id)):
        return
    roles = _roles(run, rows)
    if len(rows) > 1:
        st.markdown(f"**{len(rows):,} selected**", width="content")
    for doubt, (title, icon, meaning) in BUTTONS.items():
        suiting = tuple(row for row, role in roles.items() if doubt.suits(role))
        if suiting:
            st.button(
                title,
                key=f"images_mark_{doubt.name.lower()}",
                icon=icon,
                help=meaning,
                on_click=_mark,
                args=(run, suiting),
                kwargs={"doubt": doubt, "asked": len(rows)},
            )
    if labelled := tuple(row for row, role in roles.items() if role != "ood"):
        _label(run, labelled, len(rows))
    _note(run, tuple(rows))
    if there := tuple(row for row in rows if row in marks):
        st.button(
            "Take back",
            key="images_unmark",
            icon=":material/flag_2:",
            help="They are no longer marked.",
            on_click=_unmark,
            args=(run, there),
        )


def mark_words(run: Run, mark: Mark) -> str:
    """What was said of an image, by whom and when."""
    shows = None if mark.label is None else f"shows {gallery.class_name(run, mark.label)}"
    what = "; ".join(filter(None, (mark.doubt, shows, mark.note)))
    by = f" by {mark.who}" if mark.who else ""
    return f"Marked{by} on {mark.when:%d %B %Y}: {what}."


def said(run: Run) -> None:
    """What was said last, with a way back; or why it was refused."""
    if refused := st.session_state.pop(REFUSED, None):
        st.error(plain(refused))
    last = st.session_state.get(LAST)
    if last is None or last.run != run.id:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(plain(last.sentence), width="content")
        st.button("Undo", key="images_undo", type="tertiary", on_click=_undo, args=(run, last))


def renew() -> None:
    """The selection in the grid is no longer what counts."""
    st.session_state[RENEWED] = times_renewed() + 1


def times_renewed() -> int:
    """How often `renew` was called."""
    return int(st.session_state.get(RENEWED, 0))


def _roles(run: Run, rows: Sequence[int]) -> dict[int, str]:
    members = run.members()
    return {row: members.groups[members.codes[row]][0] for row in rows}


def _label(run: Run, rows: tuple[int, ...], asked: int) -> None:
    with st.popover("Right class", icon=":material/label:"):
        index = st.selectbox(
            "It shows",
            range(classes_of(run)),
            index=None,
            format_func=lambda at: gallery.class_name(run, at),
            placeholder="Choose a class",
            key="images_mark_class",
            help="Corrects the label in the figures without marked images: how many images are "
            "classified correctly. Detectors were fitted with the earlier label.",
        )
        st.button(
            "Correct the label",
            key="images_mark_label",
            disabled=index is None,
            on_click=_mark,
            args=(run, rows),
            kwargs={"label": index, "asked": asked},
        )


def _note(run: Run, rows: tuple[int, ...]) -> None:
    with st.popover("Note", icon=":material/edit_note:"):
        note = st.text_input(
            "Note",
            key="images_mark_note",
            max_chars=MAX_NOTE,
            placeholder="For whoever looks at it later",
        )
        st.button(
            "Save the note",
            key="images_mark_save_note",
            disabled=not (note or "").strip(),
            on_click=_mark,
            args=(run, rows),
            kwargs={"note": note, "asked": len(rows)},
        )


def _mark(
    run: Run,
    rows: tuple[int, ...],
    *,
    asked: int,
    doubt: Doubt | None = None,
    label: int | None = None,
    note: str | None = None,
) -> None:
    what = str(doubt or "a note")
    if label is not None:
        what = gallery.class_name(run, label)
    some = "1 image" if len(rows) == 1 else f"{len(rows):,} images"
    rest = (
        f"; the mark does not apply to the other {asked - len(rows):,}" if asked > len(rows) else ""
    )
    sentence = f"{some} marked: {what}{rest}."
    try:
        change = run_marks.mark(run, rows, doubt=doubt, label=label, note=note)
    except GscError as error:
        _refused(error)
        return
    _done(_Last(run.id, sentence, change))


def _unmark(run: Run, rows: tuple[int, ...]) -> None:
    try:
        change = run_marks.unmark(run, rows)
    except GscError as error:
        _refused(error)
        return
    count = len(change.before)
    some = "The mark was" if count == 1 else f"{count:,} marks were"
    _done(_Last(run.id, f"{some} taken back.", change))


def _undo(run: Run, last: _Last) -> None:
    try:
        run_marks.undo(run, last.change)
    except GscError as error:
        _refused(error)
        return
    _done(None)


def _refused(error: GscError) -> None:
    """Only why: beside it, a way back would seem to be one from what was refused."""
    st.session_state[REFUSED] = str(error)
    st.session_state.pop(LAST, None)


def _done(last: _Last | None) -> None:
    """Nothing is selected any more: the next mark is about other images."""
    st.session_state[LAST] = last
    st.session_state.pop("images_selected", None)
    renew()
