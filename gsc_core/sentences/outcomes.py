"""What refusing flagged images gains, in sentences."""

from gsc_core.evaluation.counts import between, in_1000, parted
from gsc_core.evaluation.selective import Selective


def refusing_sentence(found: Selective) -> str:
    """What leaving out flagged images does to the classifier's names, in counts of 1,000."""
    after, before = in_1000(found.passing), in_1000(found.accuracy)
    flagged = parted(found.accepted)[1]
    text = (
        f"Of 1,000 accepted familiar images, {after} are classified correctly (95 % interval "
        f"{between(found.low, found.high)})"
    )
    if after == before:
        return f"{text}, as many as when none is flagged; {flagged} of 1,000 are flagged."
    return (
        f"{text}, instead of {before} when none is flagged; the price is that {flagged} of 1,000 "
        "are flagged."
    )


def area_sentence(found: Selective) -> str:
    """The area under the risk-coverage curve, and what it would be by chance."""
    return (
        "As more and more images are flagged, the highest scores first, on average "
        f"{in_1000(found.area)} of 1,000 accepted images are classified wrongly; if images were "
        f"flagged at random, {parted(found.accuracy)[1]} would be."
    )
