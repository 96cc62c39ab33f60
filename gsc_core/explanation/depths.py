"""At which depth of the network one image is unlike the familiar ones."""

from __future__ import annotations

from gsc_core.classifier.network import Network
from gsc_core.detectors.base import Representation
from gsc_core.detectors.layers import Layers
from gsc_core.explanation.result import DepthReading


def depths(
    image: Representation, network: Network, layers: Layers, calibration_row: int | None = None
) -> tuple[DepthReading, ...]:
    """How unusual a batch of one image is at each stage, the earliest first.

    A calibration image, named by its row in the calibration, is measured without itself, as the
    others are: its own mark on mean and covariance would make it look usual. Empty where a distance
    is not a number.
    """
    assert layers.familiar_ is not None and layers.fusion_ is not None, "fit() comes first"
    distances = (
        layers.by_stage(image)[0] if calibration_row is None else layers.familiar_[calibration_row]
    )
    if not bool(distances.isfinite().all()):
        return ()
    at_most = (layers.familiar_ <= distances).double().mean(dim=0)
    numbers = zip(
        network.stages, (100 * at_most).tolist(), layers.fusion_.weights.tolist(), strict=True
    )
    return tuple(
        DepthReading(layer=stage.name, percentile=percentile, weight=weight)
        for stage, percentile, weight in numbers
    )
