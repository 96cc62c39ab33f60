"""One pass: preprocessed images in, everything the detectors read out."""

from __future__ import annotations

import torch
from torch import Tensor

from gsc_core.classifier.network import Network
from gsc_core.detectors.base import Need, Representation
from gsc_core.stopwatch import Stopwatch

FORWARD = "the network's forward pass"


def represent(
    network: Network, images: Tensor, needs: Need, watch: Stopwatch | None = None
) -> Representation:
    """Run `images [B,3,H,W]` through the network once and keep what `needs` names.

    The body runs without a graph. Only when a gradient is needed does the head run with one, and
    the gradient of the predicted logit then costs the head alone: in evaluation mode no image
    influences another, so the gradient of the batch's sum is each image's own.
    """
    watch = watch or Stopwatch()
    with watch.phase(FORWARD):
        feature = network.body(images)
    gradient = None
    if Need.GRADIENT in needs and network.split is not None:
        with torch.enable_grad():
            leaf = feature.detach().requires_grad_()
            with watch.phase(FORWARD):
                logits, features = network.head_and_features(leaf)
            predicted = logits.gather(1, logits.argmax(dim=1, keepdim=True))
            with watch.phase("gradient at the split"):
                gradient = network.gradient(predicted, leaf)
    else:
        with torch.no_grad(), watch.phase(FORWARD):
            logits, features = network.head_and_features(feature)
    keep_map = network.split is not None and bool(needs & (Need.FEATURE_MAP | Need.GRADIENT))
    keep_features = Need.FEATURES in needs and features is not None
    return Representation(
        logits=logits.detach(),
        features=features.detach() if keep_features and features is not None else None,
        feature_map=feature.detach().float() if keep_map else None,
        gradient=None if gradient is None else gradient.float(),
        images=images if Need.IMAGES in needs else None,
    )
