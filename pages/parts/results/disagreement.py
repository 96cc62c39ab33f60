"""Images that one detector flags and another accepts."""

from functools import partial

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.evaluation.counts import number_of, percent
from gsc_core.run.disagreement import MOST, Disagreement, disagreements
from gsc_core.run.gallery import RunImage, class_name, run_images
from gsc_core.run.stored import Run
from gsc_core.sentences.detector_names import called
from pages.parts.shared.pictures import Tile, picture_grid
from pages.parts.shared.run import BY_VERSION
from pages.parts.shared.text import plain

OURS = ("gsc", "auto-ensemble")
"""How the names of detectors begin that short-circuit."""


@st.fragment
def gallery(run: Run) -> None:
    """Choose two detectors and see where they differ; drawn when opened, redraws alone."""
    if len(run.detectors) < 2:
        return
    title = "**Where two detectors disagree**: the images that one flags and the other accepts"
    key = "results_disagreement"
    with st.expander(title, key=key, on_change="rerun", bind="query-params") as section:
        if section.open:
            _compare(run)


def _compare(run: Run) -> None:
    ours, theirs = _pair(run)
    left, right = st.columns(2)
    words = partial(called, run)
    one = left.selectbox("One detector", ours, format_func=words, key="results_gsc")
    others = [name for name in (*theirs, *run.detectors) if name != one]
    other = right.selectbox(
        "Compared with", list(dict.fromkeys(others)), format_func=words, key="results_baseline"
    )
    try:
        found = _disagreements(run, one, other)
    except GscError as error:
        st.warning(plain(str(error)))
        return
    differing = sum(group.count for group in found)
    if not differing:
        st.info("They agree on every image when each accepts 95 % of familiar images.")
        return
    st.caption(
        f"They differ on {number_of(differing, 'image')} when each accepts 95 % of familiar images."
    )
    choice = st.radio(
        "Images",
        range(len(found)),
        index=next(i for i, group in enumerate(found) if group.count),
        format_func=lambda i: _in_words(found[i]),
        key="results_group",
        label_visibility="collapsed",
    )
    _show(run, found[choice])


@st.cache_data(max_entries=64, show_spinner="Comparing the two…", hash_funcs=BY_VERSION)
def _disagreements(run: Run, one: str, other: str) -> tuple[Disagreement, ...]:
    return disagreements(run, one, other)


def _pair(run: Run) -> tuple[list[str], list[str]]:
    """GSC detectors and the others, the best first; when one kind is missing, all of them."""
    ranked = run.ranked()
    ours = [name for name in ranked if name.startswith(OURS)]
    theirs = [name for name in ranked if name not in ours]
    return ours or ranked, theirs


def _in_words(group: Disagreement) -> str:
    kind = "Unfamiliar images" if group.ood else "Familiar images"
    verb = "flagged" if group.ood else "wrongly flagged"
    return plain(
        f"{kind} {verb} by {group.flagged_by} alone, accepted by {group.accepted_by}: "
        f"{group.count:,} of {group.of:,}"
    )


def _show(run: Run, group: Disagreement) -> None:
    if not group.count:
        st.caption("There is no such image.")
        return
    try:
        picture_grid([_tile(run, picture) for picture in run_images(run, group.rows)])
    except GscError as error:
        st.warning(plain(str(error)))
        return
    text = "Under each image: what the classifier takes it for, and how sure it is."
    if group.count > MOST:
        text = f"The {MOST} on which they differ most. {text}"
    st.caption(text)


def _tile(run: Run, picture: RunImage) -> Tile:
    seen = class_name(run, picture.predicted)
    origin = "Familiar" if picture.role == "id" else picture.set
    return Tile(
        path=picture.path,
        caption=f"{seen}, {percent(picture.confidence, 0)}",
        alt=f"{picture.file} of {origin}, which the classifier takes for {seen}",
        link=("images", {"run": run.id, "image": str(picture.row)}),
    )
