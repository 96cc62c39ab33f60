"""Whether the network gives logits and not probabilities, by its outputs on images."""

from __future__ import annotations

from gsc_core.audit.checks.base import Evidence
from gsc_core.classifier.programs.ending import may_be_bounded
from gsc_core.classifier.programs.scale import Scale, probabilities_refused, scale_of
from gsc_core.errors import SpecError
from gsc_core.run.document import ModelCheck


def outputs(evidence: Evidence) -> ModelCheck:
    """Raises SpecError for probabilities; warns of log-probabilities, which have no energy."""
    source = evidence.classifier.source
    bounded = may_be_bounded(evidence.classifier.program)
    match scale := scale_of(evidence.logits, bounded=bounded):
        case Scale.LOGITS:
            return ModelCheck(
                name="outputs", outcome="fine", sentence="The outputs have the range of logits."
            )
        case Scale.LOG_PROBABILITIES:
            return ModelCheck(
                name="outputs",
                outcome="warning",
                sentence="The outputs are log-probabilities, that is, logits minus a constant "
                "for each image: softmax scores are the same, but the energy is 0 for every "
                "image, and detectors that use how large the logits are lose that: export the "
                "model without its log-softmax.",
            )
        case _:
            raise SpecError(probabilities_refused(scale, source, "the calibration images"))
