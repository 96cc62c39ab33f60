"""What an audit knows of its model before it scores anything, and what a check makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from gsc_core.classifier.load import Classifier
from gsc_core.classifier.network import Network
from gsc_core.images import ImageFile
from gsc_core.images.class_orders import LabelOrder
from gsc_core.run.document import ModelCheck


@dataclass(frozen=True)
class Evidence:
    """The model and what it says of the calibration images.

    Attributes:
        classifier: the model as it was opened.
        network: the same, cut in two on its device.
        images: calibration images that could be read.
        logits: `[N,K]` of these images, in their order.
        labels: `[N]` class indices, −1 unknown.
        label_rule: in words, how the labels were matched with the classes.
        label_order: the order that was taken; None where no label has a class.
        other_orders: `[N]` class indices by each other order that the labels allow; none where
            the order was asked for.
    """

    classifier: Classifier
    network: Network
    images: tuple[ImageFile, ...]
    logits: Tensor
    labels: Tensor
    label_rule: str
    label_order: LabelOrder | None = None
    other_orders: Mapping[LabelOrder, Tensor] = field(default_factory=dict)


Check = Callable[[Evidence], ModelCheck | None]
"""Looks at one thing: None where it does not apply, a SpecError where the audit has to ask."""
