"""A page for a colleague: preview and download."""

from functools import partial

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.report import Report, framed, report_of, scores_csv, to_html
from gsc_core.workspace import decision_words, decisions, runs
from gsc_core.workspace.runs import StoredRun
from pages.parts import links
from pages.parts.run import chosen_run, load
from pages.parts.text import plain

HEIGHT = 900


def render() -> None:
    """Show the run that the address asks for."""
    run = chosen_run("report")
    if run is None:
        return
    st.header("Report for a colleague", anchor=False)
    st.markdown(
        "One file that opens anywhere: the answer first, its limits second, then pictures and "
        "figures. It holds no scripts and loads nothing."
    )
    _preview(run)


@st.fragment
def _preview(run: StoredRun) -> None:
    """The switch, the downloads and the report, in which an error stays one sentence."""
    try:
        st.caption(plain(decision_words.standing_sentence(decisions.standing(run))))
        _report_of(run)
    except GscError as error:
        st.error(plain(str(error)))
        st.page_link(links.to("thresholds"), label="Thresholds", query_params={"run": run.id})


def _report_of(run: StoredRun) -> None:
    images = st.toggle(
        "With pictures",
        value=True,
        key="report_images",
        bind="query-params",
        help="Without them the report holds no thumbnail and no file name: for confidential data.",
    )
    key = (str(run.path), runs.version(run.path), decisions.version(run.id))
    page = _html(*key, images)
    name = f"gsc-audit-{run.id}"
    # A download redraws nothing: that would withdraw the files the other buttons still offer.
    with st.container(horizontal=True):
        st.download_button(
            "Report (HTML)",
            page,
            file_name=f"{name}.html",
            mime="text/html",
            type="primary",
            key="report_html",
            on_click="ignore",
            icon=":material/download:",
        )
        st.download_button(
            "Figures (JSON)",
            partial(as_json, *key, images),
            file_name=f"{name}.json",
            mime="application/json",
            key="report_json",
            on_click="ignore",
            help="The same content for a program.",
        )
        st.download_button(
            "Scores (CSV)",
            partial(as_csv, *key[:2]),
            file_name=f"{name}-scores.csv",
            mime="text/csv",
            key="report_csv",
            on_click="ignore",
            help="One row a picture, with every detector's outlier score and the file names.",
        )
    st.iframe(framed(page, HEIGHT - 16), height=HEIGHT, alt="Preview of the report")


@st.cache_data(max_entries=16, show_spinner="Writing the report…")
def _report(path: str, version: int, decision_version: int, images: bool) -> Report:
    run = load(path, version)
    return report_of(run, decisions.current(run), images=images)


@st.cache_data(max_entries=16, show_spinner=False)
def _html(path: str, version: int, decision_version: int, images: bool) -> str:
    return to_html(_report(path, version, decision_version, images))


def as_json(path: str, version: int, decision_version: int, images: bool) -> str:
    """The report as data; made when somebody asks for it."""
    return _report(path, version, decision_version, images).model_dump_json(indent=1)


@st.cache_data(max_entries=2, show_spinner=False)
def as_csv(path: str, version: int) -> bytes:
    """All scores, for a spreadsheet; made when somebody asks for them."""
    return scores_csv(load(path, version))


# On a cold server Streamlit may run this file itself as an old-style page: start at the entry.
if __name__ == "__main__":
    from app import main

    main()
