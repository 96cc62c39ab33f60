"""What each part of GSC brings on one model: all its settings measured from one pass."""

from gsc_core.ablation.grid import BASES, Base, Layer, Trial, layers_of, trials
from gsc_core.ablation.run import ablate
from gsc_core.ablation.table import Ablation, Facts, ImagesUsed, read_ablation, write_ablation

__all__ = [
    "BASES",
    "Ablation",
    "Base",
    "Facts",
    "ImagesUsed",
    "Layer",
    "Trial",
    "ablate",
    "layers_of",
    "read_ablation",
    "trials",
    "write_ablation",
]
