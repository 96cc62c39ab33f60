"""Where the network is cut: what share of it lies behind."""

from __future__ import annotations

from gsc_core.audit.checks.base import Evidence
from gsc_core.evaluation.counts import percent
from gsc_core.run.document import ModelCheck

_MUCH = 0.5  # of the operations


def cut(evidence: Evidence) -> ModelCheck:
    """Warns where most of the network lies behind the cut, or where there is no cut at all."""
    split = evidence.network.split
    if split is None:
        return ModelCheck(
            name="cut",
            outcome="warning",
            sentence="The network cannot be cut at any layer, so detectors that need a feature map "
            "are left out.",
        )
    where = f"The network is cut at {split.name}: {percent(split.behind, 1)} of its operations"
    if split.linear:
        return ModelCheck(
            name="cut",
            outcome="fine",  # which layer separates best depends on the network
            sentence=f"{where} come after it, all of them linear, so all images of a class have "
            "the same gradient there.",
        )
    if split.behind > _MUCH:
        return ModelCheck(
            name="cut",
            outcome="warning",
            sentence=f"{where} come after it, so gradients are computed through most of it: a "
            "deeper layer would take less time.",
        )
    return ModelCheck(name="cut", outcome="fine", sentence=f"{where} come after it.")
