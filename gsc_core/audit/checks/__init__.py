"""What is checked about a model, on images it should know, before anything is scored.

Each check is a function in a file of its own and one entry in `CHECKS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gsc_core.audit.checks.accuracy import accuracy
from gsc_core.audit.checks.alternatives import alternatives
from gsc_core.audit.checks.base import Check, Evidence
from gsc_core.audit.checks.class_order import class_order
from gsc_core.audit.checks.cut import cut
from gsc_core.audit.checks.inputs import inputs
from gsc_core.audit.checks.opening import opening
from gsc_core.audit.checks.outputs import outputs
from gsc_core.audit.checks.predictions import confidence, logits, one_class
from gsc_core.audit.inputs import ImageLabels
from gsc_core.classifier.load import Classifier
from gsc_core.classifier.network import Network
from gsc_core.images import ImageFile
from gsc_core.run.document import ModelCheck

CHECKS: tuple[Check, ...] = (
    opening,
    cut,
    outputs,
    inputs,
    logits,
    class_order,
    accuracy,
    alternatives,
    one_class,
    confidence,
)


@dataclass
class Examination:
    """Runs every check on the calibration images once the network has seen them.

    Attributes:
        labels: the class of each image, and how labels were matched with classes.
        results: what the checks that apply have said.
    """

    classifier: Classifier
    network: Network
    labels: ImageLabels
    results: tuple[ModelCheck, ...] = ()

    def __call__(self, images: Sequence[ImageFile], logits: Tensor) -> None:
        """Check the logits `[N,K]` of these images; raises SpecError where a check has to ask."""
        evidence = Evidence(
            classifier=self.classifier,
            network=self.network,
            images=tuple(images),
            logits=logits.cpu(),
            labels=torch.tensor([self.labels.indices[image.sha256] for image in images]),
            label_rule=self.labels.rule,
            label_order=self.labels.order,
            other_orders={
                order: torch.tensor([indices[image.sha256] for image in images])
                for order, indices in self.labels.others.items()
            },
        )
        self.results = tuple(result for check in CHECKS if (result := check(evidence)) is not None)


__all__ = ["CHECKS", "Check", "Evidence", "Examination"]
