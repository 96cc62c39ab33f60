"""The result of one run: what its decision does, all detectors in a table, the scores behind."""

import pandas as pd
import streamlit as st

from gsc_core.run.stored import Run
from gsc_core.sentences.checks import warnings_of
from gsc_core.sentences.run import assumption, subject
from pages.parts.images.order import set_name
from pages.parts.results.checks import check_list, check_warnings
from pages.parts.results.confidence import confidence
from pages.parts.results.decision import decision
from pages.parts.results.disagreement import gallery
from pages.parts.results.gate import release_gate
from pages.parts.results.mistakes import mistake_links
from pages.parts.results.scores import scores
from pages.parts.results.selection import own_choices
from pages.parts.results.sets import noticed
from pages.parts.results.table import table
from pages.parts.shared import links
from pages.parts.shared.class_names import ask_for_names
from pages.parts.shared.figures import figures_of
from pages.parts.shared.first_use import first_use
from pages.parts.shared.run import chosen_run
from pages.parts.shared.text import plain


def render() -> None:
    """Show the run that the address asks for, else the newest of one's own, else the demo."""
    run = chosen_run("results", titled=True)
    if run is None:
        return
    st.caption(f"{plain(subject(run))}{_warned(run)}")
    shown = figures_of(run)
    deciding = decision(shown)
    first_use()
    mistake_links(shown)
    ask_for_names(run)
    release_gate(run)
    noticed(run)
    _doubts(shown)
    table(shown)
    scores(shown, deciding)
    own_choices(run)
    confidence(shown)
    gallery(shown)
    _basis(shown)
    _next(run)


def _warnings(run: Run) -> list[str]:
    """What not to trust."""
    warnings = [assumed] if (assumed := assumption(run)) else []
    if run.inverted:
        names = ", ".join(sorted(run.inverted))
        verb, it = ("points", "it") if len(run.inverted) == 1 else ("point", "them")
        warnings.append(
            f"{names} {verb} the wrong way on this model: do not base an alarm on {it}."
        )
    return warnings


def _warned(run: Run) -> str:
    """That there are warnings further down, for the line at the top; empty where there are none."""
    count = len(warnings_of(run)) + len(_warnings(run))
    if not count:
        return ""
    some = "1 warning" if count == 1 else f"{count} warnings"
    return f" · **{some}, below the images**"


def _doubts(run: Run) -> None:
    """The warnings, and the detectors that are missing, by name."""
    check_warnings(run)
    for warning in _warnings(run):
        st.warning(plain(warning))
    if run.excused:
        names = ", ".join(run.excused)
        st.caption(plain(f"Left out: {names}. The reason is below the table."))


def _basis(run: Run) -> None:
    st.header("What this rests on", anchor=False)
    if run.id_accuracy is not None:
        text = f"Of 1,000 familiar images {1000 * run.id_accuracy:.0f} are classified correctly"
        after = [f"{1000 * s:.0f} after {name}" for name, s in run.id_accuracy_after.items()]
        text += f"; with the short-circuit applied, {', '.join(after)}." if after else "."
        st.markdown(plain(text))
    check_list(run)
    _counts(run)


@st.fragment
def _counts(run: Run) -> None:
    """How many images, by which settings; drawn when opened."""
    title = "Images, settings and provenance"
    with st.expander(title, key="results_basis", on_change="rerun", bind="query-params") as section:
        if not section.open:
            return
        counts = {set_name(name): images.model_dump() for name, images in run.images.items()}
        st.dataframe(
            pd.DataFrame.from_dict(counts, orient="index").rename_axis("Set"),
            key="results_counts",
            alt="How many images of each set were scored, broken and duplicated.",
            column_config={
                "scored": "Scored",
                "without_class": st.column_config.NumberColumn(
                    "Without a class",
                    help="Familiar images whose label is not a class of the model, or that have "
                    "none: they do not count for the accuracy.",
                ),
                "broken": "Broken",
                "duplicates": st.column_config.NumberColumn(
                    "Duplicates", help="Byte-for-byte copies of another image: scored once."
                ),
            },
        )
        recorded = {"settings": run.settings, "provenance": run.provenance}
        st.json({name: each.recorded() for name, each in recorded.items()}, expanded=False)


def _next(run: Run) -> None:
    st.header("What next", anchor=False)
    steps = {
        "thresholds": ("Set the alarm", ":material/tune:"),
        "images": ("Look at the images", ":material/photo_library:"),
        "report": ("Make a report", ":material/description:"),
    }
    with st.container(horizontal=True, gap="medium"):
        for address, (text, icon) in steps.items():
            st.page_link(links.to(address), label=text, icon=icon, query_params={"run": run.id})


# On a cold server Streamlit may run this file itself as an old-style page: start at the entry,
# where configuration (and login) is. As a module, `render` is handed to st.Page by app.py.
if __name__ == "__main__":
    from app import main

    main()
