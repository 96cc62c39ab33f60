"""What was found out about a classifier that was added."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from gsc_core.classifier import Preprocessing
from gsc_core.run.document import ModelCheck

MAX_IMAGES = 6  # that are named and shown
CHECKED_IMAGES = 30  # whose mean and spread are compared with those of the training


class SplitFacts(BaseModel):
    """A layer at which the network can be cut; see `gsc_core.classifier.split.Split`."""

    model_config = ConfigDict(frozen=True)

    name: str
    shape: tuple[int, ...]
    linear: bool
    default: bool


class Prediction(BaseModel):
    """What the classifier calls an image, and how sure it is (softmax, 0 to 1).

    `file` is the image's path; without class names `class_name` is the number of the class.
    """

    model_config = ConfigDict(frozen=True)

    file: str
    class_name: str
    confidence: float


class ModelFacts(BaseModel):
    """What was found in a classifier.

    Attributes:
        source: the file's name, or what else it was made from.
        input_size: height and width of what the network sees.
        preprocessing: as it will be done; its `source` tells whether it is `assumed`.
        splits: in the order of execution.
        notes: how the file was read, where a person should know of it.
        checks: what could be checked on images without labels.
        seconds_per_image: of one forward pass in batches of eight, on `device`.
    """

    model_config = ConfigDict(frozen=True)

    sha256: str
    source: str
    architecture: str | None
    num_classes: int
    class_names: tuple[str, ...] | None
    parameters: int
    input_size: tuple[int, int]
    preprocessing: Preprocessing
    splits: tuple[SplitFacts, ...]
    seconds_per_image: float
    predictions: tuple[Prediction, ...] = ()
    device: str = ""
    notes: tuple[str, ...] = ()
    checks: tuple[ModelCheck, ...] = ()
