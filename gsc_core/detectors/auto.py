"""GSC that sets itself: what is left open is chosen on surrogate outliers, from ID images alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from torch import Tensor

from gsc_core.detectors.base import Calibration, Detector, Excused, Fit, Need, Representation, knob
from gsc_core.detectors.facts import AUTO, Family, Paper
from gsc_core.detectors.gsc import GSC
from gsc_core.detectors.readout import ReadOut, Scale
from gsc_core.detectors.selection import read, read_at_once, select
from gsc_core.detectors.short_circuit import RANKINGS, candidates, detector_of
from gsc_core.evaluation.selection import NOTHING, Selection, ShortCircuit

_MIN_TO_CHOOSE = 20  # calibration images, and surrogates; from fewer a choice is chance


@dataclass(eq=False)
class AutoGSC(Detector):
    """One short-circuit chosen by adaptive selection, read as the mean of several readings.

    Scores are higher for OOD. A knob that is not `auto` (or 0) is not chosen but taken as it is;
    with all of them set nothing is searched. `selection_` tells what was chosen from, `cut_` is the
    fitted GSC that cuts (None where cutting nothing was best), `capped_` whether pooled features
    are cut off before they are read.
    """

    layer: str = knob(
        AUTO,
        "where to cut: the audit's layer, the pooled feature, or not at all",
        choices=(AUTO, "none", "pooled", "split"),
    )
    granularity: str = knob(
        AUTO, "short-circuit single values or whole channels", choices=(AUTO, "element", "channel")
    )
    ranking: str = knob(
        AUTO, "what makes a coordinate important to the prediction", choices=(AUTO, *RANKINGS)
    )
    share: float = knob(
        0.0,
        "share of the coordinates to short-circuit; 0 leaves it open",
        low=0.0,
        high=1.0,
    )
    intervention: str = knob(
        AUTO,
        "set the chosen coordinates to zero, or cap them at a usual value",
        choices=(AUTO, "zero", "truncate"),
    )
    cap: str = knob(
        AUTO, "cap unusually strong pooled features before reading", choices=(AUTO, "yes", "no")
    )

    name: ClassVar[str] = "gsc-auto"
    title: ClassVar[str] = "Gradient Short-Circuit that tunes itself"
    about: ClassVar[str] = (
        "Chooses where and how much to short-circuit on surrogate images made from your own "
        "familiar images; recommended."
    )
    paper: ClassVar[Paper | None] = GSC.paper
    family: ClassVar[Family] = Family.SHORT_CIRCUIT
    explains: ClassVar[bool] = True
    needs: ClassVar[Need] = Need.LOGITS | Need.FEATURES | Need.FEATURE_MAP | Need.GRADIENT
    fitted_with: ClassVar[Fit] = Fit.IMAGES | Fit.SURROGATES

    selection_: Selection | None = field(default=None, init=False, repr=False)
    short_circuit_: ShortCircuit = field(default=NOTHING, init=False, repr=False)
    cut_: GSC | None = field(default=None, init=False, repr=False)
    capped_: bool = field(default=True, init=False, repr=False)
    read_out_: ReadOut = field(default=ReadOut(None), init=False, repr=False)
    scale_: Scale | None = field(default=None, init=False, repr=False)

    def fit(self, calibration: Calibration) -> Self:
        """Choose what is left open, and learn the levels and the scale of the readings."""
        self.selection_ = None
        self.read_out_ = ReadOut.of(calibration.network.linear, calibration.features)
        options = self._options(calibration)
        self.short_circuit_, self.capped_ = options[0], self.cap == "yes" and self.read_out_.caps
        if len(options) > 1 or (self.cap == AUTO and self.read_out_.caps):
            self._require_surrogates(calibration)
            capped = None if self.cap == AUTO else self.capped_
            self.selection_ = select(calibration, options, self.read_out_, capped)
            best = self.selection_.chosen
            self.short_circuit_, self.capped_ = best.short_circuit, best.capped
        self.cut_ = detector_of(self.short_circuit_)
        if self.cut_ is not None:
            self.cut_.fit(calibration)
        self.scale_ = Scale.of(read(calibration.sample, self.cut_, self.read_out_))
        return self

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]`; higher = more likely OOD."""
        assert self.scale_ is not None, "fit() comes first"
        readings = read_at_once(batch, self.cut_, self.read_out_)
        return self.scale_.mean(readings, self.read_out_.columns(self.capped_)).detach()

    def logits_after(self, batch: Representation) -> Tensor | None:
        """Logits `[B,K]` after the short-circuit; None where nothing is cut."""
        return None if self.cut_ is None else self.cut_.after(batch)[0]

    def _options(self, calibration: Calibration) -> list[ShortCircuit]:
        """The candidates, each with what is set put in its place."""
        set_ = {
            name: value
            for name, value in self.settings().items()
            if name in ShortCircuit.model_fields and value not in (AUTO, 0.0)
        }
        options: dict[ShortCircuit, None] = {}
        for option in candidates(calibration.network):
            if self.layer in (AUTO, option.layer):
                whole = option.layer == "none"
                options[option if whole else _checked(option, set_)] = None
        if not options:
            raise Excused(f"this network has no feature to cut at layer={self.layer}")
        return list(options)

    def _require_surrogates(self, calibration: Calibration) -> None:
        surrogates = calibration.surrogates
        n = 0 if surrogates is None else min(len(calibration.sample), len(surrogates))
        if n < _MIN_TO_CHOOSE:
            raise Excused(
                f"needs at least {_MIN_TO_CHOOSE} calibration images to choose on; there are {n}"
            )

    def frozen(self) -> dict[str, Any]:
        """The settings with which another `AutoGSC` cuts and reads the same without a search."""
        assert self.scale_ is not None, "fit() comes first"
        cut = self.short_circuit_.model_dump()
        return {**cut, "cap": "yes" if self.capped_ else "no"}


def _checked(candidate: ShortCircuit, set_: dict[str, Any]) -> ShortCircuit:
    """The candidate with some values replaced; a pooled feature has single values alone."""
    values = candidate.model_dump() | set_
    if candidate.layer == "pooled":
        values["granularity"] = "element"
    return ShortCircuit.model_validate(values)
