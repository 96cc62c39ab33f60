"""What each part of GSC brings on one model: all its settings measured from one pass.

What needs torch is imported from its own module, such as `run`.
"""

from gsc_core.ablation.settings import BASES, Base
from gsc_core.ablation.table import Ablation, Facts, ImagesUsed, read_ablation, write_ablation

__all__ = [
    "BASES",
    "Ablation",
    "Base",
    "Facts",
    "ImagesUsed",
    "read_ablation",
    "write_ablation",
]
