"""One image set: its images, labels, what was left out, and what can be done with it."""

from collections.abc import Callable
from functools import partial

import pandas as pd
import streamlit as st

from gsc_core.errors import GscError
from gsc_core.errors.questions import Question
from gsc_core.evaluation.counts import number_of
from gsc_core.images.surrogate_kinds import SURROGATE_KINDS
from gsc_core.jobs import queue
from gsc_core.jobs.database import Kind, Readiness, State, StoredSet
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import imagesets, runs, set_tables
from gsc_core.workspace.set_tables import Extent
from pages.parts.image_sets.form import LONGEST_NAME
from pages.parts.image_sets.words import BADGES, ROLE_MEANINGS, ROLE_NAMES, summary
from pages.parts.shared import links
from pages.parts.shared.download import logged
from pages.parts.shared.job import job_progress
from pages.parts.shared.pictures import MOST, Tile, picture_grid
from pages.parts.shared.question import NEEDS_ANSWER, asked
from pages.parts.shared.rights import owned_by, to_the_trash
from pages.parts.shared.text import plain


def set_view(stored: StoredSet) -> None:
    """Everything about one set; progress while a worker reads it."""
    st.title(plain(stored.name), anchor=False)
    with st.container(horizontal=True, vertical_alignment="center", key="set_state"):
        badges(stored)
        _manage(stored)
    if stored.readiness is Readiness.WAITING:
        progress(stored)
    elif stored.readiness is Readiness.REFUSED:
        _refused(stored)
    else:
        _found(stored)


def _refused(stored: StoredSet) -> None:
    if not acting.permits(Action.CHANGE, stored.owner):
        st.error(plain(stored.sentence or "It cannot be used."))
        return
    if (question := Question.read(stored.question)) is not None:
        asked(question, "set", lambda one: imagesets.answer_set(stored.id, one))
        st.caption("Or delete the set, and add it again without what is doubtful.")
        return
    st.error(plain(stored.sentence or "It cannot be used."))
    st.markdown("Delete it, fix what is described above, and add it again.")


def badges(stored: StoredSet) -> None:
    """What it is for, and that it is not ready where it is not, as coloured words."""
    st.badge(ROLE_NAMES[stored.role], color="gray", help=ROLE_MEANINGS[stored.role])
    if stored.readiness in BADGES:
        text, colour = BADGES[stored.readiness]
        if Question.read(stored.question) is not None:
            text, colour = NEEDS_ANSWER, "orange"
        st.badge(text, color=colour)


def next_step(stored: list[StoredSet]) -> None:
    """Say which kind of images is missing, or where to go on."""
    if not acting.permits(Action.ADD):
        return
    there = {each.role for each in stored if each.readiness is not Readiness.REFUSED}
    if missing := [role for role in ("id", "ood") if role not in there]:
        wanted = ROLE_NAMES[missing[0]].lower()
        st.info(f"Still missing: {wanted}.", icon=":material/flag:")
        if "set" in st.query_params:  # on the page of one set, where the form is not
            st.button(
                f"Add {wanted}", key="set_next", type="primary", on_click=_add, args=(missing[0],)
            )
    else:
        st.page_link(
            links.to("new-audit"),
            label="Next: start an audit with these",
            icon=":material/play_arrow:",
        )


def _add(role: str) -> None:
    """Leave this set for the form, which then asks for images of that role."""
    st.query_params.pop("set", None)
    st.session_state["set_role"] = role


def progress(stored: StoredSet) -> None:
    """How far the reading of it is."""
    job = queue.latest(stored.id, Kind.SET, Kind.SURROGATES)
    if job is not None and job.state is not State.DONE:
        job_progress(job.id, f"set_job_{stored.id}")
    elif imagesets.image_set(stored.id).readiness is not Readiness.WAITING:
        st.rerun()  # it ended between our two looks
    else:
        st.warning("It is not being read: its job was lost.")
        _read_again(stored)


def _found(stored: StoredSet) -> None:
    try:
        counts, extent = _numbers(stored.id, set_tables.version(stored), stored)
    except GscError as error:
        st.error(plain(str(error)))
        _read_again(stored)
        return
    st.markdown(
        f"**{plain(summary(stored))}**; {_range(extent.widths)} pixels wide, "
        f"{_range(extent.heights)} high"
    )
    next_step(imagesets.list_sets())
    _labels(stored, counts)
    _pictures(stored, counts)
    _left_out(stored)
    _surrogates(stored)
    _about(stored)


@st.cache_data(max_entries=64, show_spinner=False)
def _numbers(set_id: str, version: int, _stored: StoredSet) -> tuple[dict[str, int], Extent]:
    return set_tables.label_counts(_stored), set_tables.extent(_stored)


def _range(ends: tuple[int, int]) -> str:
    low, high = ends
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _labels(stored: StoredSet, counts: dict[str, int]) -> None:
    source = set_tables.label_source(stored)
    if source and stored.role != "ood":
        st.caption(f"**Labels.** {plain(source)}" if counts else plain(source))
    if counts:
        few, many = min(counts.values()), max(counts.values())
        each = number_of(few, "image") if few == many else f"{few:,} to {many:,} images"
        unlabelled = stored.images - sum(counts.values())
        rest = f" {number_of(unlabelled, 'image')} without a label." if unlabelled else ""
        of_each = " each" if len(counts) > 1 else ""
        text = f"{number_of(len(counts), 'class', 'classes')} with {each}{of_each}.{rest}"
        with st.expander(plain(text), key="set_classes"):
            table = pd.DataFrame({"Class": list(counts), "Images": list(counts.values())})
            st.dataframe(
                table, hide_index=True, key="set_classes_table", alt="Images of each class"
            )
    elif stored.role != "ood":
        st.info(
            "No labels found: the audit cannot say how often these images are classified "
            "correctly; everything else works. To have labels, add the set again with class "
            "folders in the ZIP, or with a table labels.csv that has columns file and label.",
            icon=":material/label_off:",
        )


def _pictures(stored: StoredSet, counts: dict[str, int]) -> None:
    st.header("Images", anchor=False)
    label = None
    if len(counts) > 1:
        label = st.selectbox(
            "Class",
            list(counts),
            index=None,
            placeholder="All classes",
            key="set_label",
            width=360,
        )
    total = counts[label] if label is not None else stored.images
    pages = -(-total // MOST)
    page = min(st.session_state.get("set_page", 1), pages)
    shown = set_tables.members(stored, (page - 1) * MOST, MOST, label)
    picture_grid(
        [
            Tile(one.path, one.name, f"{one.name}, {one.width} × {one.height} pixels")
            for one in shown
        ]
    )
    if pages > 1:
        st.pagination(pages, key="set_page")


def _left_out(stored: StoredSet) -> None:
    if not stored.broken + stored.duplicates:
        return
    parts = [number_of(stored.broken, "broken file")] if stored.broken else []
    parts += [number_of(stored.duplicates, "copy", "copies")] if stored.duplicates else []
    with st.expander(f"Left out: {' and '.join(parts)}", key="set_left_out"):
        rows = set_tables.left_out(stored)
        st.dataframe(
            pd.DataFrame({"File": [r["name"] for r in rows], "Why": [r["why"] for r in rows]}),
            hide_index=True,
            key="set_left_out_table",
            alt="Files that are not used, with the reason",
        )
        st.download_button(
            "Download this table",
            logged(partial(set_tables.left_out_csv, stored), "set", stored.id, "left-out.csv"),
            file_name="left-out.csv",
            mime="text/csv",
            key="set_left_out_csv",
            on_click="ignore",
        )


def _surrogates(stored: StoredSet) -> None:
    if stored.role == "ood" or not acting.permits(Action.ADD):
        return
    with st.expander(
        "No unfamiliar images at hand? Make surrogate images from these", key="set_stand_ins"
    ):
        st.markdown(
            "Surrogate images are made from the images of this set: each kind keeps something of "
            "them and destroys the rest. They stand for unfamiliar images, as a first test; real "
            "unfamiliar images are a better one. Made from 1,000 images at most."
        )
        kinds = st.pills(
            "Kinds",
            [each.name for each in SURROGATE_KINDS],
            selection_mode="multi",
            default=[each.name for each in SURROGATE_KINDS],
            key="set_surrogates_kinds",
        )
        st.caption("; ".join(f"{each.name}: {each.description}" for each in SURROGATE_KINDS))
        if st.button("Make surrogate images", key="set_surrogates", disabled=not kinds):
            _done(lambda: imagesets.submit_surrogates(stored.id, kinds), leave=True)


def _about(stored: StoredSet) -> None:
    with st.expander("About this set", key="set_about"):
        lines = [f"From {stored.origin}"] if stored.origin else []
        if not stored.owned:
            lines.append("Read in place; deleting the set here leaves its files untouched")
        lines += [f"SHA-256 over its images: {stored.sha256}"]
        st.markdown("  \n".join(plain(line) for line in lines))
        if not stored.owned:
            _read_again(stored)


def _read_again(stored: StoredSet) -> None:
    if not acting.permits(Action.CHANGE, stored.owner):
        return
    if st.button("Read again", key="set_read_again", help="After the files have changed."):
        _done(lambda: imagesets.look_again(stored.id))


def _manage(stored: StoredSet) -> None:
    owned_by(stored.owner)
    if not acting.permits(Action.CHANGE, stored.owner):
        return
    with st.popover("Rename", key="set_rename"):
        name = st.text_input(
            "New name", value=stored.name, max_chars=LONGEST_NAME, key=f"set_new_name_{stored.id}"
        )
        if st.button("Save the name", key="set_rename_save"):
            _done(lambda: imagesets.rename_set(stored.id, name or ""))
    with st.popover("Change role", key="set_change_role"):
        role = st.radio(
            "These images are",
            list(ROLE_NAMES),
            index=list(ROLE_NAMES).index(stored.role),
            format_func=ROLE_NAMES.__getitem__,
            captions=list(ROLE_MEANINGS.values()),
            key=f"set_new_role_{stored.id}",
        )
        if st.button("Save the role", key="set_role_save"):
            _done(lambda: imagesets.change_role(stored.id, role))
    with st.popover("Delete", key="set_delete"):
        _delete(stored)


def _delete(stored: StoredSet) -> None:
    st.markdown(
        to_the_trash() if stored.owned else f"{to_the_trash()} Its files stay where they are."
    )
    used = imagesets.runs_with(stored)
    if used and stored.owned:
        titles = ", ".join(runs.title(run_id) for run_id in used[:3])
        more = f" and {len(used) - 3} more" if len(used) > 3 else ""
        text = f"Used by {titles}{more}: their figures stay, their images are lost with it."
        st.warning(plain(text))
    if st.button("Delete the set", key="set_delete_yes", type="primary"):
        _done(lambda: imagesets.delete_set(stored.id), leave=True)


def _done(change: Callable[[], object], *, leave: bool = False) -> None:
    """Make a change and show the page again, or say in a sentence why it cannot be made."""
    try:
        change()
    except GscError as error:
        st.error(plain(str(error)))
        return
    if leave:
        st.query_params.pop("set", None)
    st.rerun()
