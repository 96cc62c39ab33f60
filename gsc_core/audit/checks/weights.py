"""How the file of weights was read, where a person should know of it."""

from __future__ import annotations

from gsc_core.audit.checks.base import Evidence
from gsc_core.run.document import ModelCheck


def weights(evidence: Evidence) -> ModelCheck | None:
    """What was chosen, concluded or left out when the file became a network."""
    notes = evidence.classifier.notes
    return ModelCheck(name="weights", outcome="fine", sentence=" ".join(notes)) if notes else None
