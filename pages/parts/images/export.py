"""Images taken along: a list and a ZIP of those selected, a new set of what the marks leave."""

from collections.abc import Sequence

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.report import scores_csv
from gsc_core.run.stored import Run
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import remainders, run_images
from gsc_core.workspace.run_images import Remainder
from pages.parts.images.order import set_name
from pages.parts.shared import links
from pages.parts.shared.download import logged
from pages.parts.shared.once import once
from pages.parts.shared.text import plain


def export(run: Run, rows: Sequence[int]) -> None:
    """Offer these images as a table and as a ZIP."""
    with st.popover("Export", icon=":material/download:"):
        file = f"gsc-audit-{run.id}-images.csv"
        st.download_button(
            "List (CSV)",
            logged(lambda: scores_csv(run, rows=rows), "run", run.id, file),
            file_name=file,
            mime="text/csv",
            key="images_csv",
            on_click="ignore",
            help="One row an image: set, file, classes, marks and every detector's outlier score.",
        )
        _zip(run, rows, "Images (ZIP)", f"gsc-audit-{run.id}-images.zip", "images_zip")


def rest(run: Run) -> None:
    """Offer what is left of each set that has marked images, as a ZIP and as a new set."""
    for part in run_images.remainders(run):
        with st.container(border=True, key=f"images_rest_{part.set.encode().hex()}"):
            _rest(run, part)


def _rest(run: Run, part: Remainder) -> None:
    name = set_name(part.set)
    total = len(part.rows) + part.left_out
    st.markdown(
        plain(f"{name}: without the marked images, {len(part.rows):,} of {total:,} are left.")
    )
    key = part.set.encode().hex()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if acting.permits(Action.ADD):
            called = st.text_input(
                "Name of the new set",
                value=f"{name}, {part.left_out} left out"[:60],
                max_chars=60,
                key=f"images_rest_name_{key}",
                width=320,
            )
            st.button(
                "Make an image set of them",
                key=f"images_rest_make_{key}",
                type="primary",
                icon=":material/library_add:",
                on_click=_make,
                args=(run, part.set, called, key),
            )
        _zip(run, part.rows, "What is left (ZIP)", f"gsc-audit-{run.id}-rest.zip", f"rest_{key}")
    if refused := st.session_state.pop(f"images_rest_refused_{key}", None):
        st.error(plain(refused))
    if made := st.session_state.get(f"images_rest_made_{key}"):
        st.page_link(
            links.to("image-sets"),
            label="See the new set",
            icon=":material/photo_library:",
            query_params={"set": made},
        )


def _make(run: Run, of_set: str, name: str, key: str) -> None:
    try:
        made = once(
            f"images_rest_{key}",
            lambda: remainders.submit_remainder(run, of_set, name).id,
            of=f"{run.id} {name}",
        )
        st.session_state[f"images_rest_made_{key}"] = made
    except GscError as error:
        st.session_state[f"images_rest_refused_{key}"] = str(error)


def _zip(run: Run, rows: Sequence[int], title: str, file: str, key: str) -> None:
    try:
        run_images.ensure_few(run, rows)
    except GscError as error:
        st.caption(plain(str(error)))
        return
    st.download_button(
        title,
        logged(lambda: run_images.images_zip(run, rows), "run", run.id, file),
        file_name=file,
        mime="application/zip",
        key=key,
        on_click="ignore",
        icon=":material/folder_zip:",
        help="The images as they were audited. With familiar images comes labels.csv.",
    )
