"""GSC for many settings on the same batch: what they have in common is computed once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from gsc_core.ablation.grid import Trial
from gsc_core.detectors.base import Detector, Representation
from gsc_core.detectors.catalogue import find
from gsc_core.detectors.gsc import GSC

_BATCHES = 2  # calibration images and surrogates are read in turn
_LARGEST = 1 << 21  # values; logits of more are computed again


class Memory:
    """Logits after each intervention, for the batches at hand."""

    def __init__(self) -> None:
        self._held: list[tuple[Representation, dict[tuple[object, ...], Tensor]]] = []

    def get(
        self, batch: Representation, what: tuple[object, ...], compute: Callable[[], Tensor]
    ) -> Tensor:
        """What was computed for this very batch before, else `compute()`."""
        if batch.logits.numel() > _LARGEST:
            return compute()
        results = next((results for held, results in self._held if held is batch), None)
        if results is None:
            results = {}
            self._held = [*self._held, (batch, results)][-_BATCHES:]
        if what not in results:
            results[what] = compute()
        return results[what]

    def forget(self) -> None:
        """Let go of every batch."""
        self._held = []


@dataclass(eq=False)
class Cut(GSC):
    """GSC that shares the logits after the short-circuit with the settings that cut alike."""

    memory: Memory = field(default_factory=Memory, repr=False)

    def logits_after(self, batch: Representation) -> Tensor:
        """All logits `[B,K]` after the short-circuit, by the chosen update."""
        compute = super().logits_after
        return self.memory.get(batch, self._what(), lambda: compute(batch))

    def _what(self) -> tuple[object, ...]:
        """All that the logits after the short-circuit depend on."""
        if not self.share:
            return (0.0, self.update)
        settings = (self.share, self.granularity, self.ranking, self.seed)
        return (*settings, self.intervention, self.percentile, self.update)


def detector_of(trial: Trial, memory: Memory) -> Detector:
    """The detector of a trial; GSC always learns its direction, which can be taken back later."""
    if trial.settings is None:
        return find(trial.detector).configured({})
    detector = Cut.configured({**trial.settings, "direction": "learned"})
    detector.memory = memory
    vars(detector)["name"] = trial.detector  # scores are kept by the detector's name
    return detector
