"""Classifiers that many tests open, opened once a process.

A network changes nothing of its program (`classifier/test_network.py` holds that), so one program
serves many audits. What cannot be opened is tried, and refused, each time.
"""

from collections.abc import Callable
from hashlib import file_digest
from typing import NamedTuple

from gsc_core.classifier.load import Classifier
from gsc_core.classifier.spec import ModelSpec

MOST = 8  # classifiers that stay in memory


class Opened(NamedTuple):
    """What a classifier depends on; its folder is no part of it."""

    name: str
    sha256: str
    asked: str

    @classmethod
    def of(cls, spec: ModelSpec) -> "Opened | None":
        """None for a folder, a list of names of its own, or a library's weights."""
        file = spec.checkpoint
        names_in_a_file = spec.class_names not in (None, "imagenet")
        if spec.pretrained or names_in_a_file or file is None or not file.is_file():
            return None
        try:
            with file.open("rb") as opened:
                digest = file_digest(opened, "sha256").hexdigest()
        except OSError:
            return None
        return cls(file.name, digest, spec.model_dump_json(exclude={"checkpoint"}))


def opening_once(open_: Callable[[ModelSpec], Classifier]) -> Callable[[ModelSpec], Classifier]:
    """`open_`, which gives the classifier that it gave before for a file of the same bytes."""
    opened: dict[Opened, Classifier] = {}

    def once(spec: ModelSpec) -> Classifier:
        key = Opened.of(spec)
        if key is None:
            return open_(spec)
        classifier = opened.pop(key, None) or open_(spec)
        opened[key] = classifier  # the last used is the last to go
        if len(opened) > MOST:
            del opened[next(iter(opened))]
        return classifier

    return once
