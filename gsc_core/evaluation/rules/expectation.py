"""What rules share that expect so many OOD images where the classifier will work (prevalence)."""

import math

from gsc_core.evaluation.counts import about
from gsc_core.evaluation.effects import Effect
from gsc_core.evaluation.rules.base import FEW, Control

_LEAST = 0.1  # OOD images in 1,000 that can be asked for
CONTROL = Control(
    field="prevalence",
    key="strangers",
    label="Of 1,000 images, how many are unfamiliar?",
    scale=1000,
    low=_LEAST,
    high=1000 - _LEAST,
    step=1.0,
    start=10.0,
    help="What you expect where the classifier will be used (prevalence). The rarer unfamiliar "
    "images are, the larger the share of false alarms.",
)


def words(prevalence: float) -> str:
    """What one expects: `10 unfamiliar images in 1,000`."""
    number = f"{1000 * prevalence:.6g}"
    return f"{number} unfamiliar {'image' if number == '1' else 'images'} in 1,000"


def fewest(id_weight: float) -> tuple[int, int]:
    """How many calibration images, and OOD images of each set, it takes to weigh them.

    `id_weight` is what all ID images weigh, all OOD images weighing 1. A share is known no finer
    than by one image. So one ID image must not weigh more than all OOD images do, nor one OOD image
    more than all ID images.
    """
    return max(FEW, math.ceil(id_weight - 1e-9)), max(FEW, math.ceil(1 / id_weight - 1e-9))


def stream(prevalence: float) -> int:
    """The number of images spoken of: 1,000, or as many more as it takes to have 10 OOD ones."""
    return int(10 ** max(3, math.ceil(1 - math.log10(prevalence) - 1e-9)))


def alarms(prevalence: float, effect: Effect) -> str:
    """How many of a stream of images with so many OOD ones are accepted and flagged."""
    images = stream(prevalence)
    ood = images * prevalence
    missed = ood * effect.ood_share
    false = (images - ood) * (1 - effect.id.share)
    return (
        f"Of {images:,} images with {_many(ood, 'unfamiliar image')} among them, expect "
        f"{_many(ood - missed, 'unfamiliar image')} and {_many(false, 'familiar image')} to be "
        f"flagged, and {_many(missed, 'unfamiliar image')} to be accepted."
    )


def _many(number: float, what: str) -> str:
    count = about(number)
    return f"{count} {what}" if count in ("1", "fewer than 1") else f"{count} {what}s"
