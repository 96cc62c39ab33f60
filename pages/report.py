"""A page for a colleague: preview, download, share."""

from functools import partial
from typing import NamedTuple

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.extras import missing
from gsc_core.report import Report, framed, report_of, scores_csv, to_html
from gsc_core.report.pdf import to_pdf
from gsc_core.report.schema import report_json
from gsc_core.run import class_names, decisions, marks
from gsc_core.run.decisions import Decision
from gsc_core.run.stored import Run
from gsc_core.sentences.decision import standing_sentence
from gsc_core.sentences.run import answer
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import release_policy, report_images
from pages.parts.report.share import share
from pages.parts.shared import links
from pages.parts.shared.download import logged
from pages.parts.shared.job import job_progress
from pages.parts.shared.run import chosen_run, load
from pages.parts.shared.text import plain

HEIGHT = 900


class Asked(NamedTuple):
    """Which report: all that it is made of, as versions, so that it is made again when one changes.

    `lacking` is how many images have no short-circuited channels yet.
    """

    path: str
    version: int
    decision: int
    policy: int
    marks: int
    class_names: int
    lacking: int
    images: bool


def render() -> None:
    """Show the run that the address asks for."""
    run = chosen_run("report")
    if run is None:
        return
    st.title("Report for a colleague", anchor=False)
    st.markdown(
        "One file that opens anywhere and is safe to pass on: the answer first, its limits second, "
        "then images and figures."
    )
    _preview(run)


@st.fragment
def _preview(run: Run) -> None:
    """The switch, the downloads and the report, in which an error stays one sentence."""
    try:
        st.markdown(plain(answer(run)))
        st.caption(plain(standing_sentence(run, decisions.current(run))))
        _report_of(run)
    except GscError as error:
        st.error(plain(str(error)))
        st.page_link(links.to("thresholds"), label="Thresholds", query_params={"run": run.id})


def _report_of(run: Run) -> None:
    decision = decisions.current(run)
    images = st.toggle(
        "With images",
        value=True,
        key="report_images",
        bind="query-params",
        help="Without images, no download contains a thumbnail or a file name: for "
        "confidential data.",
    )
    lacking = len(report_images.missing(run, decision)) if images else 0
    if lacking:
        _channels(run, decision, lacking)
    versions = (
        *(run.version, decisions.version(run)),
        *(release_policy.version(), marks.version(run), class_names.version(run)),
    )
    asked = Asked(str(run.path), *versions, lacking, images)
    page = _html(asked)
    _downloads(asked, page, run.id)
    share(run, page)
    st.iframe(framed(page, HEIGHT - 16), height=HEIGHT, alt="Preview of the report")


@st.fragment
def _channels(run: Run, decision: Decision, lacking: int) -> None:
    """Offer what the report lacks; while a worker makes it, how far it is.

    It redraws alone: what redraws the downloads withdraws those that are just asked for.
    """
    try:
        job = report_images.asked(run, decision)
    except GscError as error:
        st.error(plain(str(error)))
        return
    if job is not None:
        job_progress(job.id, "report_job", aside=True)
        return
    if not acting.permits(Action.START):
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Show where the model looked",
            key="report_channels",
            help="The short-circuited channels of each image: what the prediction relied on "
            "most, and where in the image that is.",
            on_click=_ask,
            args=(run, decision),
        )
        st.caption(
            f"For {lacking} of the most informative images; takes about ten seconds.",
            width="content",
        )


def _ask(run: Run, decision: Decision) -> None:
    try:
        report_images.ask(run, decision)
    except GscError as error:
        st.toast(plain(str(error)))


def _downloads(asked: Asked, page: str, run_id: str) -> None:
    name = f"gsc-audit-{run_id}"
    without_pdf = missing("typst")
    # A download redraws nothing: that would withdraw the files the other buttons still offer.
    with st.container(horizontal=True):
        st.download_button(
            "Report (HTML)",
            logged(lambda: page, "run", run_id, f"{name}.html"),
            file_name=f"{name}.html",
            mime="text/html",
            type="primary",
            key="report_html",
            on_click="ignore",
            icon=":material/download:",
        )
        st.download_button(
            "Report (PDF)",
            logged(partial(as_pdf, asked), "run", run_id, f"{name}.pdf"),
            file_name=f"{name}.pdf",
            mime="application/pdf",
            key="report_pdf",
            on_click="ignore",
            disabled=without_pdf is not None,
            help=without_pdf or "The same report, to print.",
        )
        st.download_button(
            "Figures (JSON)",
            logged(partial(as_json, asked), "run", run_id, f"{name}.json"),
            file_name=f"{name}.json",
            mime="application/json",
            key="report_json",
            on_click="ignore",
            help="The same content as data, for a program.",
        )
        names = "the file names and " if asked.images else ""
        st.download_button(
            "Scores (CSV)",
            logged(partial(as_csv, asked), "run", run_id, f"{name}-scores.csv"),
            file_name=f"{name}-scores.csv",
            mime="text/csv",
            key="report_csv",
            on_click="ignore",
            help=f"One row per image, with {names}every detector's outlier score.",
        )


@st.cache_data(max_entries=16, show_spinner="Writing the report…")
def _report(asked: Asked) -> Report:
    run = load(asked.path, asked.version)
    return report_of(run, decisions.current(run), images=asked.images)


@st.cache_data(max_entries=16, show_spinner=False)
def _html(asked: Asked) -> str:
    return to_html(_report(asked))


@st.cache_data(max_entries=4, show_spinner=False)
def as_pdf(asked: Asked) -> bytes:
    """The report to print; made when somebody asks for it."""
    return to_pdf(_report(asked))


def as_json(asked: Asked) -> str:
    """The report as data; made when somebody asks for it."""
    return report_json(_report(asked))


@st.cache_data(max_entries=2, show_spinner=False)
def as_csv(asked: Asked) -> bytes:
    """All scores, for a spreadsheet; made when somebody asks for them."""
    return scores_csv(load(asked.path, asked.version), files=asked.images)


# On a cold server Streamlit may run this file itself as an old-style page: start at the entry.
if __name__ == "__main__":
    from app import main

    main()
