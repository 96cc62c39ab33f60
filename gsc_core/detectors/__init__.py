"""Detectors: one contract, one catalogue, most of them bound from pytorch-ood."""

from gsc_core.detectors.base import (
    Calibration,
    Detector,
    Fit,
    Knob,
    Need,
    Paper,
    Representation,
)
from gsc_core.detectors.catalogue import CATALOGUE, find, parse_detectors
from gsc_core.detectors.gsc import GSC
from gsc_core.detectors.gsc_published import PublishedGSC

__all__ = [
    "CATALOGUE",
    "GSC",
    "Calibration",
    "Detector",
    "Fit",
    "Knob",
    "Need",
    "Paper",
    "PublishedGSC",
    "Representation",
    "find",
    "parse_detectors",
]
