"""Images of a run in a grid, to be looked at, opened, selected and acted on."""

import hashlib

import streamlit as st

from gsc_core.evaluation.counts import percent
from gsc_core.run import gallery
from gsc_core.run.gallery import RunImage
from gsc_core.run.marks import Mark
from gsc_core.run.placement import percentiles
from gsc_core.run.score_table import Rows
from gsc_core.run.stored import Run
from pages.parts.images.export import export
from pages.parts.images.marking import mark_bar, renew, said, times_renewed
from pages.parts.images.order import ALL, MEANINGS, Order, set_name
from pages.parts.shared.image_grid import Answer, GridTile, image_grid
from pages.parts.shared.text import UNFAMILIAR

GRID = "images_grid"
SELECTED = "images_selected"  # rows, over all pages, of the run that is shown
MOST_SELECTED = 5000


def board(run: Run, chosen: Order) -> None:
    """The images of an order, page by page, with what can be done to those selected."""
    count, size = len(chosen.rows), chosen.size
    if not count:
        st.info("No image matches these filters: clear one.")
        said(run)
        return
    above, place = st.container(key="images_bar"), st.container()
    pages, page = -(-count // size.on_a_page), 1
    if pages > 1:
        page = st.pagination(pages, key="images_page", bind="query-params")
    first = (page - 1) * size.on_a_page
    rows = chosen.rows[first : first + size.on_a_page]
    selection = _selection(run, chosen)
    with place:
        st.caption(_caption(chosen, count, first, len(rows)), help=UNFAMILIAR)
        answer = _grid(run, chosen, rows, selection)
    if answer.opened is not None:
        st.query_params["image"] = str(answer.opened)
        st.rerun()
    if answer.selected is not None:
        selection = (selection - {*rows.tolist()}) | answer.selected
        st.session_state[SELECTED] = (run.id, selection)
    with above:
        _bar(run, chosen, sorted(selection))


def _selection(run: Run, chosen: Order) -> frozenset[int]:
    """The rows selected so far that are still among those shown."""
    of_run, rows = st.session_state.get(SELECTED, ("", frozenset()))
    if of_run != run.id or not rows:
        return frozenset()
    return frozenset(rows).intersection(chosen.rows.whole.tolist())


def _select(run: Run, rows: frozenset[int]) -> None:
    st.session_state[SELECTED] = (run.id, rows)
    renew()


def _grid(
    run: Run,
    chosen: Order,
    rows: Rows,
    selection: frozenset[int],
) -> Answer:
    places = percentiles(run, chosen.detector, tuple(rows.tolist()))
    scores = run.cells(chosen.detector, rows)
    tiles = [
        _tile(run, image, float(place), score <= chosen.threshold, chosen)
        for image, place, score in zip(gallery.run_images(run, rows), places, scores, strict=True)
    ]
    about = f"{run.id} {times_renewed()} {rows.tolist()}"
    return image_grid(
        tiles,
        key=GRID,
        size=chosen.size,
        label="Images; arrow keys move, Enter opens one, Space selects it",
        selected=sorted(selection.intersection(rows.tolist())),
        generation=hashlib.sha256(about.encode()).hexdigest()[:16],
    )


def _tile(run: Run, image: RunImage, percentile: float, accepted: bool, chosen: Order) -> GridTile:
    seen = gallery.class_name(run, image.predicted)
    whose = set_name(image.set if image.role == "ood" else image.role)
    dot, sure = "○" if image.role == "ood" else "●", percent(image.confidence, 0)
    missed, alarm = image.role == "ood" and accepted, image.role == "id" and not accepted
    mark = _words(run, chosen.marks.get(image.row))
    verdict = "accepted" if accepted else "flagged"
    wrong = ", which is a miss" if missed else ", which is a false alarm" if alarm else ""
    return GridTile(
        row=image.row,
        path=image.path,
        name=image.file,
        first=f"{dot} {sure} {seen}",
        second=f"above {_rounded(percentile)} of familiar",
        alt=f"{image.file}, from {whose}, called {seen} with {sure}, scores above "
        f"{_rounded(percentile)} of the familiar images, {verdict}{wrong}"
        + (f"; marked {mark}" if mark else ""),
        query=_kept() | {"run": run.id, "image": str(image.row)},
        state="missed" if missed else "alarm" if alarm else "",
        badge="✕ missed" if missed else "! false alarm" if alarm else "",
        mark=mark,
    )


def _words(run: Run, mark: Mark | None) -> str:
    if mark is None:
        return ""
    shows = "" if mark.label is None else f"is {gallery.class_name(run, mark.label)}"
    return ", ".join(filter(None, (mark.doubt, shows))) or "note"


def _rounded(percentile: float) -> str:
    """Not rounded to none or all where it is not."""
    if 0 < percentile < 1:
        return "<1 %"
    return ">99 %" if 99 < percentile < 100 else f"{percentile:.0f} %"


def _caption(chosen: Order, count: int, first: int, shown: int) -> str:
    images = f"{count:,} image{'s' if count > 1 else ''}"
    return (
        f"{MEANINGS.get(chosen.show, '')} {images}, {first + 1:,} to {first + shown:,} shown. "
        "Under each: ● familiar or ○ unfamiliar, how sure the classifier is and of what, and how "
        "many familiar images score lower. An image is flagged when its score is above "
        f"{chosen.threshold:.4g}."
    ).strip()


def _bar(run: Run, chosen: Order, selection: list[int]) -> None:
    """What can be done to the images selected; where none is, how to select some."""
    said(run)
    count = len(chosen.rows)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if selection:
            mark_bar(run, selection, chosen.marks)
            export(run, selection)
        else:
            st.caption("Tick images to mark or export them.", width="content")
        if len(selection) < count <= MOST_SELECTED and (selection or chosen.show != ALL):
            st.button(
                f"Select all {count:,}",
                key="images_select_all",
                type="tertiary",
                on_click=_select,
                args=(run, frozenset(chosen.rows.whole.tolist())),
            )
        if selection:
            st.button(
                "Select none",
                key="images_select_none",
                type="tertiary",
                on_click=_select,
                args=(run, frozenset()),
            )


def _kept() -> dict[str, str]:
    """What the address says of the order, so that the way back keeps it."""
    return {key: value for key, value in st.query_params.items() if key.startswith("images_")}
