"""One pass: preprocessed images in, everything the detectors read out."""

from __future__ import annotations

import torch
from torch import Tensor

from gsc_core.classifier.network import Network
from gsc_core.detectors.base import Need, Representation
from gsc_core.images.shapes import shapes
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
    profile = Need.LAYERS in needs and bool(network.stages)
    with watch.phase(FORWARD):
        feature, means = network.profiled_body(images) if profile else (network.body(images), ())

    def rest(feature: Tensor) -> tuple[Tensor, Tensor | None, tuple[Tensor, ...]]:
        with watch.phase(FORWARD):
            if profile:
                return network.profiled_head(feature)
            return *network.head_and_features(feature), ()

    gradient = None
    if Need.GRADIENT in needs and network.split is not None:
        with torch.enable_grad():
            leaf = feature.detach().requires_grad_()
            logits, features, further = rest(leaf)
            predicted = logits.gather(1, logits.argmax(dim=1, keepdim=True))
            with watch.phase("gradient at the split"):
                gradient = network.gradient(predicted, leaf)
    else:
        with torch.no_grad():
            logits, features, further = rest(feature)
    keep_map = network.split is not None and bool(needs & (Need.FEATURE_MAP | Need.GRADIENT))
    keep_features = Need.FEATURES in needs and features is not None
    return Representation(
        logits=logits.detach(),
        features=features.detach() if keep_features and features is not None else None,
        feature_map=feature.detach().float() if keep_map else None,
        gradient=None if gradient is None else gradient.float(),
        images=images if Need.IMAGES in needs else None,
        layers=torch.cat([*means, *further], dim=1) if profile else None,
        shapes=shapes(images) if Need.SHAPES in needs else None,
    )
