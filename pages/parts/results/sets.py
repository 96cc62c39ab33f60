"""What was noticed about the image sets: one card, where there is something to look at."""

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.run.gallery import run_images
from gsc_core.run.marks import Doubt, by_row
from gsc_core.run.stored import Run
from gsc_core.sentences.set_checks import Notice, notices
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import run_marks, runs
from pages.parts.shared.behind import UNDER, tile
from pages.parts.shared.only import link_to
from pages.parts.shared.pictures import picture_grid
from pages.parts.shared.text import plain

SHOWN = 4  # images of each: a row in the card at 1280 pixels


def noticed(run: Run) -> None:
    """Each thing with its first images, a link to all and, where that is sure, a mark for all."""
    things = notices(run)
    if not things:
        return
    with st.container(border=True):
        st.header("Look at your image sets first", anchor=False)
        st.caption(UNDER)
        for at, notice in enumerate(things):
            st.markdown(f"**{plain(notice.sentence)}** {plain(notice.so)}")
            try:
                _images(run, notice, at)
            except GscError as error:
                st.warning(plain(str(error)))


def _images(run: Run, notice: Notice, at: int) -> None:
    rows = [int(row) for row in notice.subset.rows(run)]
    picture_grid([tile(run, image) for image in run_images(run, rows[:SHOWN])])
    with st.container(horizontal=True, vertical_alignment="center"):
        link_to(run, notice.subset, f"Look at all {len(rows):,}" if len(rows) > 1 else "Look at it")
        if notice.mistaken:
            _mark(run, notice, at)


def _mark(run: Run, notice: Notice, at: int) -> None:
    """One press for all that do not belong to the test; taken back on Images like any mark."""
    rows = notice.subset.doubted(run)
    marked = by_row(run)
    left = [row for row in rows if row not in marked or marked[row].doubt is None]
    if not left:
        who = f"All {len(rows):,} are" if len(rows) > 1 else "It is"
        st.caption(f"{who} marked, and the figures can be shown without marked images.")
        return
    if not acting.permits(Action.MARK, runs.owner(run.id)):
        return
    doubt = _doubt(run, left)
    st.button(
        f"Mark {len(left):,} as {doubt}",
        key=f"results_mark_{at}",
        icon=":material/flag:",
        on_click=_press,
        args=(run, left, doubt),
        help="They stay where they are and can be taken back; the figures are shown with and "
        "without them.",
    )


def _doubt(run: Run, rows: list[int]) -> Doubt:
    """Unfamiliar images that are not; familiar ones that were as good as seen cannot be used."""
    (first,) = run_images(run, rows[:1])
    return Doubt.NOT_UNFAMILIAR if first.role == "ood" else Doubt.UNUSABLE


def _press(run: Run, rows: list[int], doubt: Doubt) -> None:
    try:
        run_marks.mark(run, rows, doubt=doubt)
    except GscError as error:
        st.toast(plain(str(error)))
