"""What an audit needs: the models and sets that are ready, and what is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.errors.questions import Question
from gsc_core.jobs.database import Readiness, StoredModel, StoredSet
from gsc_core.workspace import imagesets, models
from gsc_core.workspace.catalogue import catalogue
from gsc_core.workspace.demo import is_of_demo
from pages.parts.shared import links
from pages.parts.shared.text import plain

_DEMO = "Demo: "
GSC_AUTO, AUTO_ENSEMBLE = "gsc-auto", "auto-ensemble"


@dataclass(frozen=True)
class Parts:
    """Ready models and sets by their role, the newest first and those of the demo last.

    `looked_at` are those to come. `unready` has the newest of those that are there but not ready,
    by role; a model's is "model".
    """

    models: tuple[StoredModel, ...]
    known: tuple[StoredSet, ...]
    strangers: tuple[StoredSet, ...]
    calibration: tuple[StoredSet, ...]
    looked_at: tuple[StoredModel | StoredSet, ...]
    unready: Mapping[str, StoredModel | StoredSet] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether an audit can be put together."""
        return bool(self.models and self.known and self.strangers)

    @property
    def own_begun(self) -> bool:
        """Whether a person has added anything of their own: the demo's is not a default then."""
        ready = (self.models, self.known, self.strangers, self.calibration)
        every = [*(record for records in ready for record in records), *self.looked_at]
        return not all(is_of_demo(record) for record in [*every, *self.unready.values()])

    def coming(self, role: str) -> tuple[StoredModel | StoredSet, ...]:
        """Those of a role that are still being looked at."""
        return tuple(record for record in self.looked_at if _role(record) == role)


def parts(*, own: bool = False) -> Parts:
    """What the workspace holds now; only the user's `own` leaves out what came with the demo."""
    added, sets = models.list_models(), imagesets.list_sets()
    if own:
        added = [each for each in added if not is_of_demo(each)]
        sets = [each for each in sets if not is_of_demo(each)]
    added, sets = sorted(added, key=is_of_demo), sorted(sets, key=is_of_demo)
    ready = [each for each in sets if each.readiness is Readiness.READY]
    every: list[StoredModel | StoredSet] = [*added, *sets]
    unready = [each for each in reversed(every) if each.readiness is not Readiness.READY]
    return Parts(
        models=tuple(each for each in added if each.readiness is Readiness.READY),
        known=tuple(each for each in ready if each.role == "id"),
        strangers=tuple(each for each in ready if each.role == "ood"),
        calibration=tuple(each for each in ready if each.role == "calibration"),
        looked_at=tuple(each for each in every if each.readiness is Readiness.WAITING),
        unready={_role(each): each for each in unready},
    )


@dataclass(frozen=True)
class Step:
    """One of the things an audit needs, and the page where it is added; `role` as in `Parts`."""

    done: bool
    title: str
    about: str
    address: str
    role: str


def steps(found: Parts) -> tuple[Step, ...]:
    """Show the three things an audit needs, each with the way to where it is added."""
    every = (
        Step(bool(found.models), "A model", "your classifier, a file", "models", "model"),
        Step(bool(found.known), "Familiar images", "what it was made for", "image-sets", "id"),
        Step(
            bool(found.strangers),
            "Unfamiliar images",
            "of any other kind",
            "image-sets",
            "ood",
        ),
    )
    for step in every:
        added = found.unready.get(step.role)
        if step.done or added is None:
            icon = ":material/check:" if step.done else ":material/add:"
            text = f"**{step.title}**: {step.about}"
            st.page_link(links.to(step.address), label=text, icon=icon)
        else:
            state, icon = _state(added)
            st.page_link(
                links.to(step.address),
                label=f"**{step.title}**: {plain(added.name)} {state}",
                icon=icon,
                query_params={"model" if step.role == "model" else "set": added.id},
            )
    if found.looked_at and not found.complete:
        st.caption("What you added is being checked, which takes up to a minute.")
    return every


def followed(found: Parts) -> None:
    """Run the page again when what is being looked at is ready, or refused."""
    if found.looked_at:
        st.fragment(_looking, run_every=2)(found.looked_at)


def _looking(before: tuple[StoredModel | StoredSet, ...]) -> None:
    try:
        now = {each.id for each in parts().looked_at}
    except GscError as error:
        st.error(plain(str(error)))
        return
    if now != {each.id for each in before}:
        st.rerun(scope="app")


def _role(record: StoredModel | StoredSet) -> str:
    return record.role if isinstance(record, StoredSet) else "model"


def _state(record: StoredModel | StoredSet) -> tuple[str, str]:
    """What keeps it from being used, and an icon for that."""
    if record.readiness is Readiness.WAITING:
        return "is being checked", ":material/hourglass_top:"
    if Question.read(record.question) is not None:
        return "needs an answer", ":material/help:"
    return "cannot be used as it is", ":material/close:"


def labels(records: Sequence[StoredModel | StoredSet]) -> dict[str, str]:
    """A name for each id, no two alike: equal ones are numbered from the oldest on.

    Those of the demo say so first: lists have no groups.
    """
    found: dict[str, str] = {}
    for each in reversed(records):
        size = f", {each.images:,} images" if isinstance(each, StoredSet) else ""
        named = is_of_demo(each) and "demo" not in each.name.lower()
        name = f"{_DEMO}{each.name}" if named else each.name
        numbered = (f"{name}{f' ({n})' if n > 1 else ''}{size}" for n in count(1))
        found[each.id] = next(name for name in numbered if name not in found.values())
    return {each.id: found[each.id] for each in records}


def detector_title(name: str) -> str:
    """What the form calls a detector."""
    title = catalogue().detector(name).title
    return f"{title} (recommended)" if name == AUTO_ENSEMBLE else title
