"""Class names that somebody gives a run where they are missed; its model learns them too."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from gsc_core import imagenet
from gsc_core.classifier.metadata import class_names_in
from gsc_core.jobs.database import StoredModel
from gsc_core.run import class_names
from gsc_core.run.stored import Run
from gsc_core.team import acting
from gsc_core.team.journal import Event
from gsc_core.team.roles import Action
from gsc_core.workspace import models, runs


def read_names(content: bytes, file: str) -> tuple[str, ...]:
    """Names in a file (text or JSON, by its name) that was uploaded. Raises SpecError."""
    return class_names_in(content, Path(file))


def are_imagenets(run: Run) -> bool:
    """Whether the model has as many classes as ImageNet-1k, whose names could be its."""
    return class_names.classes_of(run) == imagenet.CLASSES


def give(run: Run, names: Sequence[str] | None) -> StoredModel | None:
    """Name the classes of a run in the name of who acts; None means ImageNet-1k's names.

    The run's model in the workspace gets them as well, where it has none and the person may change
    it: it is given back then. Raises GscError as `class_names.store` does, and NotAllowedError.
    """
    acting.ensure(Action.MARK, runs.owner(run.id))
    made = imagenet.class_names() if names is None else tuple(names)
    class_names.store(run, made)
    acting.record(Event.CHANGED, "run", run.id, runs.title(run.id), f"{len(made):,} classes named")
    model = _model_without_names(run)
    if model is not None:
        models.name_classes(model.id, io.BytesIO("\n".join(made).encode()))
    return model


def _model_without_names(run: Run) -> StoredModel | None:
    """The run's model, where it is in the workspace and its classes lack names."""
    digest = run.provenance.model_sha256
    for stored in models.list_models():
        checkpoint = models.spec_of(stored).checkpoint
        is_it = digest is not None and checkpoint is not None and checkpoint.parent.name == digest
        if is_it and stored.facts and models.facts_of(stored).class_names is None:
            return stored if acting.permits(Action.CHANGE, stored.owner) else None
    return None
