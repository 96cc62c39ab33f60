"""Choose model, images and detectors, see what it will take, and start."""

from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from gsc_core.audit.spec import DetectorSpec
from gsc_core.errors import GscError
from gsc_core.jobs import queue
from gsc_core.jobs.database import Kind, Lane, StoredModel, StoredSet
from gsc_core.workspace import audits, models
from gsc_core.workspace.audits import LONGEST_TITLE, Workload
from gsc_core.workspace.catalogue import catalogue
from gsc_core.workspace.history import free_title
from gsc_core.workspace.models import ModelFacts
from pages.parts.new_audit.choices import (
    calibration_of,
    further_settings,
    label_order,
    one_of,
    strangers_of,
)
from pages.parts.new_audit.detectors import chosen_detectors
from pages.parts.shared import links
from pages.parts.shared.audit_parts import Parts, followed, parts, steps
from pages.parts.shared.first_use import first_use
from pages.parts.shared.once import again, once
from pages.parts.shared.text import duration, plain

IN_TURN = tuple(kind for kind in Kind if kind.lane is Lane.AUDIT)
FEW = 100  # calibration images under which thresholds are rough


@dataclass(frozen=True)
class Draft:
    """What is chosen so far."""

    title: str
    model: StoredModel
    facts: ModelFacts
    known: StoredSet
    calibration: StoredSet | float
    strangers: tuple[StoredSet, ...]
    detectors: tuple[DetectorSpec, ...]
    settings: dict[str, Any]

    @property
    def work(self) -> Workload:
        """How many images it takes."""
        apart = self.calibration
        share = apart.images if isinstance(apart, StoredSet) else apart
        return Workload.of(self.known.images, [each.images for each in self.strangers], share)


def render() -> None:
    """Show the steps, or what is missing."""
    st.title("New audit", anchor=False)
    try:
        found = parts()
        if not found.complete:
            _missing(found)
            return
        st.markdown(
            "Choose the model, the images and the detectors. The defaults are a good start."
        )
        first_use()
        left, right = st.columns([5, 3], gap="large")
        with left:
            draft = _draft(found)
        with right, st.container(border=True):
            if draft is None:
                _not_yet()
            else:
                _start(draft)
        followed(found)
    except GscError as error:
        st.error(plain(str(error)))


def _missing(found: Parts) -> None:
    st.markdown("An audit needs three things. Add what is missing, then come back:")
    with st.container(border=True):
        steps(found)
    followed(found)
    st.caption("No files at hand? The demo brings its own model and images.")
    st.page_link(links.to(""), label="Home, with the demo", icon=":material/home:")


def _draft(found: Parts) -> Draft | None:
    """What is chosen; None as long as the model or its images are not."""
    st.header("1. Model", anchor=False)
    model = one_of("Model", "audit_model", found.models, found, "model")
    st.header("2. Familiar images", anchor=False)
    known = one_of(
        "Images like those the model was made for",
        "audit_id_set",
        found.known,
        found,
        "id",
        help="The in-distribution (ID) set. Use fresh images, not those it was trained on.",
    )
    if known is not None and not known.labels:
        st.caption(
            "These images have no labels: the audit cannot say how often they are classified "
            "correctly, and detectors that learn from classes are left out."
        )
    order = label_order() if known is not None and known.labels else None
    calibration = calibration_of(found.calibration)
    st.header("3. Unfamiliar images", anchor=False)
    strangers = strangers_of(found)
    if model is None or known is None:
        return None
    facts = models.facts_of(model)
    st.header("4. Detectors", anchor=False)
    detectors = chosen_detectors()
    _catalogue()
    settings = further_settings(facts) | {"label_order": order}
    st.header("5. Title", anchor=False)
    usual = free_title(f"{model.name} on {known.name}")
    title = st.text_input(
        "What to call this audit",
        placeholder=usual,
        max_chars=LONGEST_TITLE,
        key="audit_title",
        bind="query-params",
    )
    return Draft(title or usual, model, facts, known, calibration, strangers, detectors, settings)


def _not_yet() -> None:
    """In place of the estimate, as long as there is nothing to estimate."""
    st.header("What will happen", anchor=False)
    st.markdown(
        "Choose a model and familiar images first. What you added is listed as soon as it has "
        "been checked; the demo's own come last in each list."
    )
    with st.container(horizontal=True):
        for address, label in (("models", "Add a model"), ("image-sets", "Add images")):
            st.page_link(links.to(address), label=label, icon=":material/add:")


def _catalogue() -> None:
    with st.expander("What each detector does, reads and costs", key="audit_catalogue"):
        rows = catalogue().detectors
        table = pd.DataFrame(
            {
                "Detector": [row.title for row in rows],
                "Family": [row.family.value for row in rows],
                "What it does": [row.about for row in rows],
                "Known to fail on": [row.fails_on or "–" for row in rows],
                "Reads": [", ".join(row.reads) for row in rows],
                "Learns from": [", ".join(row.fitted_with) or "nothing" for row in rows],
                "Extra passes": [row.extra_passes for row in rows],
                "Paper": [row.paper for row in rows],
            }
        ).set_index("Detector")
        st.dataframe(
            table,
            key="audit_catalogue_table",
            height=420,
            column_config={
                "Family": st.column_config.TextColumn(
                    help="What it goes by: two of one family tend to err on the same images."
                ),
                "What it does": st.column_config.TextColumn(width="large"),
                "Extra passes": st.column_config.NumberColumn(
                    format="%.1f", help="Beyond the one pass that all detectors share."
                ),
            },
            alt="Every detector: its family, what it does, where it is known to fail, what it "
            "reads and learns from, and what it costs",
        )


def _start(draft: Draft) -> None:
    st.header("What will happen", anchor=False)
    work = draft.work
    names = audits.scored(draft.detectors)
    seconds = audits.estimate(draft.facts.seconds_per_image, work, names)
    st.markdown(
        f"**About {duration(seconds)}** for {work.calibration + work.test:,} images and "
        f"{len(names)} detectors on this machine."
    )
    st.markdown(
        f"- {work.calibration:,} familiar images teach the detectors what is usual "
        "(calibration).\n"
        f"- {work.test:,} others, familiar and unfamiliar, are scored (test).\n"
        "- It runs in the background: you can close this page."
    )
    if work.calibration < FEW:
        st.warning(f"{work.calibration:,} calibration images are few: use {FEW} or more.")
    before = len(queue.jobs(kinds=IN_TURN, states=queue.WAITING))
    if before:
        st.caption(f"{before} ahead of it in the queue.")
    if not draft.strangers:
        st.info("Choose at least one set of unfamiliar images.")
    if not names:
        st.info("Choose at least one detector.")
    ready = bool(draft.strangers and names)
    if st.button(
        "Start the audit", key="audit_start", type="primary", disabled=not ready, width="stretch"
    ):
        run_id = once("audit_start", lambda: _submitted(draft))
        st.switch_page(links.to("runs"), query_params={"run": run_id})
    else:
        again("audit_start")


def _submitted(draft: Draft) -> str:
    spec = audits.specification(
        models.spec_of(draft.model),
        draft.known,
        draft.strangers,
        draft.calibration,
        draft.detectors,
        **draft.settings,
    )
    return audits.submit_audit(spec, draft.title, draft.work.total)


# On a cold server Streamlit may run this file itself as an old-style page: start at the entry.
if __name__ == "__main__":
    from app import main

    main()
