"""How the model's file became a network, where a person should know of it."""

from __future__ import annotations

from gsc_core.audit.checks.base import Evidence
from gsc_core.run.document import ModelCheck


def opening(evidence: Evidence) -> ModelCheck | None:
    """What was chosen, concluded, left out or changed; nothing where the file was as needed."""
    notes = evidence.classifier.notes
    return ModelCheck(name="opening", outcome="fine", sentence=" ".join(notes)) if notes else None
