"""What a detector is called in words, as its short name means nothing to most."""

from gsc_core.run.stored import Run

SPELT_OUT = {
    "actsub": "Activation subspaces",
    "adascale": "Adaptive scaling",
    "ash": "Activation shaping",
    "cadref": "Class-aware decoupled relative features",
    "dice": "Directed sparsification",
    "fdbd": "Fast decision boundary detector",
    "gen": "Generalised entropy",
    "klmatching": "Kullback-Leibler matching",
    "lts": "Logit scaling",
    "nci": "Neural collapse inspired detector",
    "neco": "Neural collapse based detector",
    "nnguide": "Nearest neighbour guidance",
    "odin": "Out-of-distribution detector for neural networks",
    "optfs": "Optimal feature shaping",
    "ras": "Ranked activation shift",
    "react": "Rectified activations",
    "scale": "Activation scaling",
    "she": "Simplified Hopfield energy",
    "vim": "Virtual-logit matching",
    "vra": "Variational rectified activation",
}
"""Detectors whose title is an acronym, by the names that their papers spell out."""


def title_of(run: Run, detector: str) -> str:
    """Its title in words, or those of its parts; its name where the run does not describe it."""
    parts = [(part, run.record(part)) for part in detector.split("+")]
    titles = [SPELT_OUT.get(name) or (record.title if record else None) for name, record in parts]
    known = [title for title in titles if title is not None]
    return ", with ".join(known) if len(known) == len(parts) else detector


def called(run: Run, detector: str) -> str:
    """The title, with the short name in brackets where that is another word."""
    title = title_of(run, detector)
    return title if title.lower() == detector.lower() else f"{title} ({detector})"


def about(run: Run, detector: str) -> str:
    """What it does, in a sentence; empty for one that the run does not describe."""
    record = run.record(detector)
    return "" if record is None else record.about
