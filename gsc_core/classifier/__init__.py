"""A user's checkpoint to a Classifier: formats, architectures, preprocessing, split.

What needs torch is imported from its own module, such as `load`.
"""

from gsc_core.classifier.preprocessing import Preprocessing
from gsc_core.classifier.spec import ModelSpec

__all__ = ["ModelSpec", "Preprocessing"]
