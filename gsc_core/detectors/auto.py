"""GSC that sets itself: what is left open is chosen on surrogate outliers, from ID images alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from gsc_core.detectors.base import Calibration, Detector, Excused, Fit, Need, Representation, knob
from gsc_core.detectors.facts import AUTO, Family, Paper
from gsc_core.detectors.fusion import Fusion, as_shares
from gsc_core.detectors.gsc import GSC
from gsc_core.detectors.readout import ReadOut
from gsc_core.detectors.selection import read, read_at_once, select
from gsc_core.detectors.short_circuit import RANKINGS, candidates, detector_of
from gsc_core.errors import SpecError
from gsc_core.evaluation.selection import NOTHING, Selection, ShortCircuit

Read = Callable[[Representation, GSC | None, ReadOut], Tensor]

MEAN = "mean"  # weights: as earlier versions read
_EVENLY = 0.5
_MIN_TO_CHOOSE = 20  # calibration images, and surrogates; from fewer a choice is chance


@dataclass(eq=False)
class AutoGSC(Detector):
    """One short-circuit chosen by adaptive selection, read as a weighted mean of several readings.

    Scores are higher for OOD. A knob that is not `auto` (or 0) is not chosen but taken as it is;
    with all of them set nothing is searched. `selection_` tells what was chosen from, `cut_` is the
    fitted GSC that cuts (None where cutting nothing was best). The readings are of what the
    short-circuit leaves and of what was there before it, each as it is and with pooled features cut
    off; what surrogates show of them is drawn half-way to a plain mean, since they differ little.
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
        AUTO,
        "cap unusually strong pooled features before reading, or read them both ways",
        choices=(AUTO, "both", "yes", "no"),
    )
    weights: str = knob(
        AUTO,
        "how much each reading counts, numbers with / between; mean: those after the cut, all "
        "alike; auto: learned from surrogates",
        former=MEAN,
    )

    name: ClassVar[str] = "gsc-auto"
    title: ClassVar[str] = "Gradient Short-Circuit that tunes itself"
    about: ClassVar[str] = (
        "Chooses where and how much to short-circuit on surrogate images made from familiar images."
    )
    paper: ClassVar[Paper | None] = GSC.paper
    family: ClassVar[Family] = Family.SHORT_CIRCUIT
    explains: ClassVar[bool] = True
    needs: ClassVar[Need] = Need.LOGITS | Need.FEATURES | Need.FEATURE_MAP | Need.GRADIENT
    fitted_with: ClassVar[Fit] = Fit.IMAGES | Fit.SURROGATES

    selection_: Selection | None = field(default=None, init=False, repr=False)
    short_circuit_: ShortCircuit = field(default=NOTHING, init=False, repr=False)
    cut_: GSC | None = field(default=None, init=False, repr=False)
    read_out_: ReadOut = field(default=ReadOut(None), init=False, repr=False)
    fusion_: Fusion | None = field(default=None, init=False, repr=False)
    _columns: Tensor | None = field(default=None, init=False, repr=False)
    _cap: str = field(default="both", init=False, repr=False)

    def __post_init__(self) -> None:
        """Raises SpecError for weights that are not numbers."""
        if self.weights not in (AUTO, MEAN):
            _numbers(self.weights)

    def fit(self, calibration: Calibration) -> Self:
        """Choose what is left open, and learn the levels, scales and weights of the readings."""
        self.selection_ = None
        self.read_out_ = ReadOut.of(calibration.network.linear, calibration.features)
        options = self._options(calibration)
        self.short_circuit_, self._cap = options[0], self._settled_cap()
        if len(options) > 1 or (self.cap == AUTO and self.read_out_.caps):
            self._require_surrogates(calibration)
            capped = {"yes": self.read_out_.caps, "no": False}.get(self.cap)
            self.selection_ = select(calibration, options, self.read_out_, capped)
            best = self.selection_.chosen
            self.short_circuit_ = best.short_circuit
            if self.weights == MEAN and self.cap == AUTO:
                self._cap = "yes" if best.capped else "no"
        self.cut_ = detector_of(self.short_circuit_)
        if self.cut_ is not None:
            self.cut_.fit(calibration)
        self.fusion_ = self._fused(calibration)
        return self

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]`; higher = more likely OOD."""
        assert self.fusion_ is not None, "fit() comes first"
        return self.fusion_(self._readings(batch, read_at_once)).detach()

    def _settled_cap(self) -> str:
        if self.cap == AUTO:
            return "both"
        return self.cap if self.read_out_.caps or self.cap == "both" else "no"

    def _fused(self, calibration: Calibration) -> Fusion:
        """The readings that count, their scales and weights."""
        sample, surrogates = calibration.sample, calibration.surrogates
        self._columns, self.held_out_ = self._of_cap(sample.logits.device), None
        if self.weights == MEAN:
            return Fusion.of(self._readings(sample), None)
        if self.weights == AUTO:
            readings = self._readings(sample)
            others = None if surrogates is None else self._readings(surrogates)
            self.held_out_ = Fusion.held_out(readings, others, _EVENLY)
            return Fusion.of(readings, others, _EVENLY)
        fusion = Fusion.of(self._readings(sample), None)
        given = _numbers(self.weights)
        if len(given) != len(fusion.weights):
            raise Excused(f"has {len(given)} weights for {len(fusion.weights)} readings here")
        fusion = replace(fusion, weights=fusion.weights.new_tensor(given), learned=True)
        if calibration.tuned_on is not None and surrogates is not None:
            self.held_out_ = fusion.without(
                self._readings(sample),
                self._readings(surrogates),
                calibration.tuned_on[: len(sample)],
                _EVENLY,
            )
        return fusion

    def _of_cap(self, device: torch.device) -> Tensor:
        ways = {"yes": (True,), "no": (False,), "both": (False, True)[: 1 + self.read_out_.caps]}
        columns = [at for capped in ways[self._cap] for at in self.read_out_.columns(capped)]
        return torch.tensor(columns, device=device)  # there, or each batch would wait for them

    def _readings(self, batch: Representation, by: Read = read) -> Tensor:
        """Readings `[B,R]` after the short-circuit and, where there is one, before it."""
        cuts: list[GSC | None] = [self.cut_]
        if self.cut_ is not None and self.weights != MEAN:
            cuts.append(None)
        readings = [by(batch, cut, self.read_out_) for cut in cuts]
        assert self._columns is not None
        return torch.cat([some.index_select(1, self._columns) for some in readings], dim=1)

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
        assert self.fusion_ is not None, "fit() comes first"
        weights = "/".join(map(repr, self.fusion_.weights.tolist()))
        return {
            **self.short_circuit_.model_dump(),
            "cap": self._cap,
            "weights": MEAN if self.weights == MEAN else weights,
        }


def _numbers(text: str) -> list[float]:
    """Weights with the sum 1; raises SpecError where they are none."""
    try:
        given = [float(number) for number in text.split("/")]
    except ValueError:
        given = [math.nan]
    total = sum(given)
    if not (total > 0 and math.isfinite(total) and min(given) >= 0):
        raise SpecError(
            f"weights={text!r} must be {AUTO}, {MEAN}, or numbers from 0 with / between."
        )
    return as_shares(given)


def _checked(candidate: ShortCircuit, set_: dict[str, Any]) -> ShortCircuit:
    """The candidate with some values replaced; a pooled feature has single values alone."""
    values = candidate.model_dump() | set_
    if candidate.layer == "pooled":
        values["granularity"] = "element"
    return ShortCircuit.model_validate(values)
