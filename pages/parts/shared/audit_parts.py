"""What an audit needs: the models and sets that are ready, and what is missing."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import streamlit as st

from gsc_core.jobs.database import Readiness, StoredModel, StoredSet
from gsc_core.workspace import imagesets, models
from gsc_core.workspace.catalogue import catalogue
from gsc_core.workspace.demo import is_of_demo
from pages.parts.shared import links

GSC_AUTO, AUTO_ENSEMBLE = "gsc-auto", "auto-ensemble"


@dataclass(frozen=True)
class Parts:
    """Ready models and sets by their role, the newest first; `looked_at` counts those to come."""

    models: tuple[StoredModel, ...]
    known: tuple[StoredSet, ...]
    strangers: tuple[StoredSet, ...]
    calibration: tuple[StoredSet, ...]
    looked_at: int

    @property
    def complete(self) -> bool:
        """Whether an audit can be put together."""
        return bool(self.models and self.known and self.strangers)


def parts(*, own: bool = False) -> Parts:
    """What the workspace holds now; only the user's `own` leaves out what came with the demo."""
    added, sets = models.list_models(), imagesets.list_sets()
    if own:
        added = [each for each in added if not is_of_demo(each)]
        sets = [each for each in sets if not is_of_demo(each)]
    ready = [each for each in sets if each.readiness is Readiness.READY]
    readiness = [*(each.readiness for each in added), *(each.readiness for each in sets)]
    return Parts(
        models=tuple(each for each in added if each.readiness is Readiness.READY),
        known=tuple(each for each in ready if each.role == "id"),
        strangers=tuple(each for each in ready if each.role == "ood"),
        calibration=tuple(each for each in ready if each.role == "calibration"),
        looked_at=readiness.count(Readiness.WAITING),
    )


@dataclass(frozen=True)
class Step:
    """One of the things an audit needs, and the page where it is added."""

    done: bool
    title: str
    about: str
    address: str


def steps(found: Parts) -> tuple[Step, ...]:
    """Show the three things an audit needs; those that are missing lead to where they are added."""
    every = (
        Step(bool(found.models), "A model", "your classifier, a file", "models"),
        Step(bool(found.known), "Familiar images", "what it was made for", "image-sets"),
        Step(
            bool(found.strangers),
            "Unfamiliar images",
            "what it was never meant to see",
            "image-sets",
        ),
    )
    for step in every:
        text = f"**{step.title}**: {step.about}"
        if step.done:
            st.markdown(f":green[:material/check_circle:] {text}")
        else:
            icon = ":material/radio_button_unchecked:"
            st.page_link(links.to(step.address), label=text, icon=icon)
    if found.looked_at and not found.complete:
        st.caption("What you added is being checked, which takes up to a minute.")
    return every


def labels(records: Sequence[StoredModel | StoredSet]) -> dict[str, str]:
    """A name for each id, no two alike: equal ones are numbered from the oldest on."""
    found: dict[str, str] = {}
    for each in reversed(records):
        size = f", {each.images:,} images" if isinstance(each, StoredSet) else ""
        numbered = (f"{each.name}{f' ({n})' if n > 1 else ''}{size}" for n in count(1))
        found[each.id] = next(name for name in numbered if name not in found.values())
    return {each.id: found[each.id] for each in records}


def detector_title(name: str) -> str:
    """What the form calls a detector."""
    title = catalogue().detector(name).title
    return f"{title} (recommended)" if name == AUTO_ENSEMBLE else title
