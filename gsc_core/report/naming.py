"""What a detector is called in a report: by its title, as its short name means nothing to most."""

from gsc_core.detectors import find
from gsc_core.errors import GscError

SPELT_OUT = {
    "ash": "Activation shaping",
    "dice": "Directed sparsification",
    "fdbd": "Fast decision boundary detector",
    "gen": "Generalised entropy",
    "klmatching": "Kullback-Leibler matching",
    "nci": "Neural collapse inspired detector",
    "nnguide": "Nearest neighbour guidance",
    "odin": "Out-of-distribution detector for neural networks",
    "react": "Rectified activations",
    "scale": "Activation scaling",
    "she": "Simplified Hopfield energy",
    "vim": "Virtual-logit matching",
    "vra": "Variational rectified activation",
}
"""Detectors whose title is an acronym, by the names that their papers spell out."""


def title_of(detector: str) -> str:
    """Its title in words, or those of its parts; the name itself of one that nobody knows."""
    titles = []
    for part in detector.split("+"):
        try:
            titles.append(SPELT_OUT.get(part) or find(part).title)
        except GscError:
            return detector
    return ", with ".join(titles)


def called(detector: str) -> str:
    """The title, with the short name in brackets where that is another word."""
    title = title_of(detector)
    return title if title.lower() == detector.lower() else f"{title} ({detector})"


def about(detector: str) -> str:
    """What it does, in a sentence; empty for one that this version does not know."""
    try:
        return find(detector).about
    except GscError:
        return ""
