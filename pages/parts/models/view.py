"""One stored model: what was found in it, or why it does not fit; its name, its end."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import streamlit as st

from gsc_core.classifier.preparation import preparation
from gsc_core.errors import GscError
from gsc_core.errors.questions import Question
from gsc_core.evaluation.counts import number_of, percent
from gsc_core.jobs import queue
from gsc_core.jobs.database import Kind, Readiness, State, StoredModel
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import imagesets, models
from gsc_core.workspace.models import ModelFacts
from pages.parts.models.form import revise_form
from pages.parts.shared import links
from pages.parts.shared.audit_parts import labels
from pages.parts.shared.job import job_progress
from pages.parts.shared.pictures import Tile, picture_grid
from pages.parts.shared.question import NEEDS_ANSWER, asked
from pages.parts.shared.rights import owned_by, to_the_trash
from pages.parts.shared.text import plain

BADGES = {
    Readiness.READY: ("Ready", "green"),
    Readiness.WAITING: ("Being checked", "blue"),
    Readiness.REFUSED: ("Does not fit", "red"),
}
SOURCES = {
    "given": "These values are your own.",
    "file": "These values are stated in the file.",
    "library": "These are the usual values of this architecture.",
}


def model_view(stored: StoredModel) -> None:
    """Everything about one model; progress while a worker looks at it."""
    st.title(plain(stored.name), anchor=False)
    with st.container(horizontal=True, vertical_alignment="center", key="model_state"):
        badge(stored)
        manage(stored)
    if stored.readiness is Readiness.WAITING:
        progress(stored)
    elif stored.readiness is Readiness.REFUSED:
        _refused(stored)
        if acting.permits(Action.CHANGE, stored.owner):
            _revise(stored, expanded=True)
    else:
        _found(stored, models.facts_of(stored))


def _refused(stored: StoredModel) -> None:
    if not acting.permits(Action.CHANGE, stored.owner):
        st.error(plain(stored.sentence or "It cannot be used."))
        return
    if (question := Question.read(stored.question)) is not None:
        asked(question, "model", lambda one: models.answer_model(stored.id, one))
        return
    st.error(plain(stored.sentence or "It cannot be used."))
    st.markdown("Change the settings below and check it again, or delete it and add another.")


def badge(stored: StoredModel) -> None:
    """Its state as a coloured word."""
    text, colour = BADGES[stored.readiness]
    if Question.read(stored.question) is not None:
        text, colour = NEEDS_ANSWER, "orange"
    st.badge(text, color=colour)  # type: ignore[arg-type]


def progress(stored: StoredModel) -> None:
    """How far the check is."""
    job = queue.latest(stored.id, Kind.MODEL)
    if job is None:
        st.warning("It was never checked: delete it and add it again.")
    elif job.state is State.DONE and models.model(stored.id).readiness is not Readiness.WAITING:
        st.rerun()  # it ended between our two looks
    else:
        job_progress(job.id, f"model_job_{stored.id}")


def manage(stored: StoredModel) -> None:
    """Rename and delete, behind a button, for who may; and whose it is."""
    owned_by(stored.owner)
    if not acting.permits(Action.CHANGE, stored.owner):
        return
    with st.popover("Edit", key=f"model_edit_{stored.id}", icon=":material/edit:"):
        name = st.text_input(
            "Name",
            value=stored.name,
            max_chars=models.LONGEST_NAME,
            key=f"model_new_name_{stored.id}",
        )
        if st.button("Save the name", key=f"model_rename_{stored.id}"):
            _done(lambda: models.rename_model(stored.id, name or ""))
        st.divider()
        st.markdown(
            f"{to_the_trash()} Finished audits keep their figures, but once it is gone their "
            "images can no longer be explained."
        )
        if st.button("Delete the model", key=f"model_delete_{stored.id}"):
            _done(lambda: _delete(stored))


def _delete(stored: StoredModel) -> None:
    models.delete_model(stored.id)
    st.query_params.pop("model", None)


def _done(change: Callable[[], None]) -> None:
    try:
        change()
    except GscError as error:
        st.error(plain(str(error)))
        return
    st.rerun()


def _found(stored: StoredModel, facts: ModelFacts) -> None:
    height, width = facts.input_size
    with st.container(horizontal=True, gap="medium", key="model_facts"):
        for label, value, meaning in (
            ("Classes", f"{facts.num_classes:,}", "Kinds of images it distinguishes."),
            ("Input", f"{height} × {width}", "Pixels the network sees of each image."),
            ("Parameters", _count(facts.parameters), "Trained values in the network."),
            ("Speed", _pace(facts), f"One forward pass in batches of eight on {facts.device}."),
        ):
            st.metric(label, value, help=plain(meaning), width="content")
    _next(stored)
    _reading(facts)
    _preprocessing(facts)
    if acting.permits(Action.CHANGE, stored.owner):
        _revise(stored, expanded=False)
    _predictions(facts)
    _splits(facts)
    with st.expander("About the file", key="model_file_facts"):
        lines = [f"{facts.source}, SHA-256 {facts.sha256}"]
        lines += [f"Architecture {facts.architecture}"] if facts.architecture else []
        st.markdown("  \n".join(plain(line) for line in lines))


def _next(stored: StoredModel) -> None:
    if not acting.permits(Action.START):
        return
    if imagesets.list_sets():
        ready = [each for each in models.list_models() if each.readiness is Readiness.READY]
        st.page_link(
            links.to("new-audit"),
            label="Next: audit this model",
            icon=":material/play_arrow:",
            query_params={"audit_model": labels(ready).get(stored.id, "")},
        )
    else:
        st.page_link(
            links.to("image-sets"),
            label="Next: add images",
            icon=":material/add_photo_alternate:",
        )


def _reading(facts: ModelFacts) -> None:
    """What was chosen, concluded or left out when the file became a network."""
    if facts.notes:
        st.header("How the file was read", anchor=False)
        for note in facts.notes:
            st.info(plain(note), icon=":material/info:")


def _preprocessing(facts: ModelFacts) -> None:
    st.header("How an image is prepared", anchor=False)
    st.markdown(plain(preparation(facts.preprocessing)))
    for check in facts.checks:
        if check.outcome == "warning":
            st.warning(plain(check.sentence), icon=":material/warning:")
        else:
            st.caption(plain(check.sentence))
    if facts.preprocessing.source == "assumed":
        st.warning(
            f"These are the usual values of {plain(facts.architecture or 'ImageNet')}, assumed "
            "because the file does not say. If the model was trained with others, every figure is "
            "off: change them below.",
            icon=":material/help:",
        )
    else:
        st.caption(SOURCES[facts.preprocessing.source])


def _predictions(facts: ModelFacts) -> None:
    st.header("How it classifies some images", anchor=False)
    if not facts.predictions:
        st.caption(
            "Add a set of familiar images and check the model again to see how it classifies them."
        )
        return
    st.caption(
        "From the newest set of familiar images. Nonsense here suggests wrong preprocessing."
    )
    if facts.class_names is None:
        st.caption("Class names are not known: give them above to read names instead of numbers.")
    picture_grid(
        [
            Tile(
                Path(each.file),
                f"{each.class_name}, {percent(each.confidence, 0)}",
                f"A familiar image that the model calls {each.class_name}",
            )
            for each in facts.predictions
        ]
    )


def _splits(facts: ModelFacts) -> None:
    st.header("Where GSC can cut the network", anchor=False)
    if not facts.splits:
        st.warning(
            "There is no layer after which everything depends on that layer alone: GSC and other "
            "detectors that read feature maps are left out, the rest can run."
        )
        return
    usual = next((split for split in facts.splits if split.default), facts.splits[-1])
    then = (
        "Everything after it is linear, so the short-circuit is the same for all images of a class."
        if usual.linear
        else "It is the deepest one with something non-linear after it."
    )
    st.markdown(
        f"At {number_of(len(facts.splits), 'layer')}. The usual choice is **{plain(usual.name)}**. "
        f"{then}"
    )
    with st.expander("All layers", key="model_splits"):
        frame = pd.DataFrame(
            {
                "Layer": [split.name for split in facts.splits],
                "Feature": [" × ".join(map(str, split.shape)) for split in facts.splits],
                "Usual choice": ["✓" if split.default else "" for split in facts.splits],
                "Linear after it": ["yes" if split.linear else "no" for split in facts.splits],
            }
        )
        st.dataframe(
            frame,
            hide_index=True,
            key="model_splits_table",
            alt="Layers at which the network can be cut, with the shape of the feature there",
        )


def _revise(stored: StoredModel, *, expanded: bool) -> None:
    with st.expander(
        "Change architecture, weights, preprocessing or class names",
        expanded=expanded,
        key="model_revise",
    ):
        try:
            revise_form(stored)
        except GscError as error:
            st.error(plain(str(error)))


def _count(number: int) -> str:
    for factor, unit in ((1e9, "billion"), (1e6, "million")):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return f"{number:,}"


def _pace(facts: ModelFacts) -> str:
    pace = 1 / facts.seconds_per_image
    return f"{pace:,.0f} images/s" if pace >= 10 else f"{pace:.2g} images/s"
