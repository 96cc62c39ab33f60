"""The one list of detectors, and how a person names them.

>>> from gsc_core import CATALOGUE
>>> [detector.name for detector in CATALOGUE][:3]
['gsc-auto', 'auto-ensemble', 'gsc']
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from gsc_core.detectors.actsub import ActSub
from gsc_core.detectors.adascale import AdaSCALE
from gsc_core.detectors.ash import ASH
from gsc_core.detectors.auto import AutoGSC
from gsc_core.detectors.auto_ensemble import AutoEnsemble
from gsc_core.detectors.base import Detector
from gsc_core.detectors.cadref import CADRef
from gsc_core.detectors.dice import DICE
from gsc_core.detectors.energy import Energy
from gsc_core.detectors.ensemble import Ensemble, ensemble_of
from gsc_core.detectors.entropy import Entropy
from gsc_core.detectors.facts import DetectorFacts, named
from gsc_core.detectors.fdbd import FDBD
from gsc_core.detectors.gen import GEN
from gsc_core.detectors.gmm import GMM
from gsc_core.detectors.gradnorm import GradNorm
from gsc_core.detectors.gsc import GSC
from gsc_core.detectors.gsc_drop import DropGSC
from gsc_core.detectors.gsc_energy import EnergyGSC
from gsc_core.detectors.klmatching import KLMatching
from gsc_core.detectors.knn import KNN
from gsc_core.detectors.layers import Layers
from gsc_core.detectors.lts import LTS
from gsc_core.detectors.mahalanobis import Mahalanobis
from gsc_core.detectors.maxlogit import MaxLogit
from gsc_core.detectors.msp import MSP
from gsc_core.detectors.nci import NCI
from gsc_core.detectors.neco import NECO
from gsc_core.detectors.nnguide import NNGuide
from gsc_core.detectors.odin import ODIN
from gsc_core.detectors.optfs import OptFS
from gsc_core.detectors.ras import RAS
from gsc_core.detectors.react import ReAct
from gsc_core.detectors.rmd import RMD
from gsc_core.detectors.scale import SCALE
from gsc_core.detectors.she import SHE
from gsc_core.detectors.vim import ViM
from gsc_core.detectors.vra import VRA
from gsc_core.errors import SpecError
from gsc_core.run.detector_names import current_name

CATALOGUE: tuple[type[Detector], ...] = (
    AutoGSC,
    AutoEnsemble,
    GSC,
    DropGSC,
    EnergyGSC,
    Layers,
    MSP,
    MaxLogit,
    Energy,
    Entropy,
    GEN,
    KLMatching,
    ODIN,
    GradNorm,
    ReAct,
    VRA,
    ASH,
    SCALE,
    LTS,
    OptFS,
    RAS,
    ActSub,
    AdaSCALE,
    DICE,
    KNN,
    NNGuide,
    ViM,
    FDBD,
    NCI,
    Mahalanobis,
    RMD,
    NECO,
    CADRef,
    SHE,
    GMM,
)
"""Every detector, ours first. A new detector is one class and one line here."""

PREFERRED: tuple[type[Detector], ...] = (AutoEnsemble, AutoGSC)
"""Those that decide first, before the others in the order of the catalogue; see `in_preference`."""


def in_preference(names: Iterable[str]) -> list[str]:
    """Detectors in the order in which they are trusted to decide before an OOD image is seen.

    Those named with `+`, which are not in the catalogue, come last, as they came.

    >>> from gsc_core.detectors.catalogue import in_preference
    >>> in_preference(["energy", "gsc-auto", "auto-ensemble"])
    ['auto-ensemble', 'gsc-auto', 'energy']
    """
    order = [detector.name for detector in (*PREFERRED, *CATALOGUE)]
    return sorted(names, key=lambda name: order.index(name) if name in order else len(order))


def find(name: str) -> type[Detector]:
    """The detector of that name, or of several with `+` between: the mean of their ranks.

    One that was renamed is there by its former name too, and then goes by that: a run has the names
    it was made with. Raises SpecError with the nearest names.
    """
    if "+" in name:
        return _ensemble(name)
    kind = named(name, {detector.name: detector for detector in CATALOGUE})
    return kind if kind.name == name else _called(name, kind)


@cache
def _called(name: str, kind: type[Detector]) -> type[Detector]:
    """The same detector by its former name."""
    return type(kind.__name__, (kind,), {"name": name, "title": f"{kind.title} ({kind.name})"})


def _ensemble(name: str) -> type[Detector]:
    parts = [find(part.strip()) for part in name.split("+")]
    if len(set(parts)) < len(parts) or any(issubclass(part, Ensemble) for part in parts):
        raise SpecError(f"{name!r} must name different single detectors, joined by +.")
    return ensemble_of(parts)


def parse_detectors(text: str) -> list[Detector]:
    """Detectors named like `gsc,energy,knn:k=10`, or `all` of them with their usual settings.

    A former name gives the detector by its name of today.
    Raises SpecError for an unknown detector or setting, a value out of its limits, and a detector
    named twice: scores are kept under its name.
    """
    if text.strip() == "all":
        return [detector() for detector in CATALOGUE]
    items = [item.strip() for item in text.split(",") if item.strip()]
    if not items:
        raise SpecError("No detector is named; name some, such as gsc,energy, or all.")
    if "all" in items:
        raise SpecError("all names every detector already; name no other with it.")
    detectors = [_parse(item) for item in items]
    names = [detector.name for detector in detectors]
    for name in names:
        if names.count(name) > 1:
            raise SpecError(f"Detector {name} is named twice; name each once.")
    return detectors


def _parse(item: str) -> Detector:
    name, *settings = (part.strip() for part in item.split(":"))
    values: dict[str, str] = {}
    for setting in settings:
        knob, equals, value = (part.strip() for part in setting.partition("="))
        if not equals or knob in values:
            raise SpecError(f"{setting!r} in {item!r} must be one knob=value, each knob once.")
        values[knob] = value
    return find(current_name(name)).configured(values)


def facts_of(detector: type[Detector]) -> DetectorFacts:
    """All that may be said of a detector without running it."""
    paper = detector.paper
    parts = detector.parts if issubclass(detector, Ensemble) else ()
    return DetectorFacts(
        name=detector.name,
        title=detector.title,
        about=detector.about,
        family=detector.family,
        fails_on=detector.fails_on,
        paper=f"{paper.venue} {paper.year}, {paper.url}" if paper else "no single paper",
        reads=tuple(str(need.name).lower().replace("_", " ") for need in detector.needs),
        fitted_with=tuple(str(part.name).lower() for part in detector.fitted_with),
        extra_passes=detector.extra_forwards,
        settings=detector.knobs(),
        explains=detector.explains,
        searches=issubclass(detector, AutoGSC | AutoEnsemble),
        parts=tuple(part.name for part in parts),
    )
