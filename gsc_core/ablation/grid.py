"""Which settings an ablation compares: one factor at a time around two bases, and curves over k."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gsc_core.ablation.settings import (
    BASES,
    BETTER,
    CURVE,
    FULL_METHOD,
    LAYER,
    PAPER,
    PAPER_ROWS,
    PUBLISHED,
    REFERENCE,
    Base,
    Settings,
)
from gsc_core.classifier.split import Split, choose, default_split
from gsc_core.detectors.gsc import GSC
from gsc_core.evaluation.counts import percent

SHARES = (0.0, 0.01, 0.05, 0.1, 0.2, 0.5)
RANKINGS = ("gradient", "attribution", "activation", "random")
GRANULARITIES = ("element", "channel")
READINGS: Mapping[str, Settings] = {
    "drop of softmax": {"reading": "drop", "confidence": "softmax"},
    "drop of energy": {"reading": "drop", "confidence": "energy"},
    "drop of logit": {"reading": "drop", "confidence": "logit"},
    "drop of softmax of the class before": {"reading": "drop", "confidence": "predicted"},
    "relative drop": {"reading": "relative_drop", "confidence": "softmax"},
    "relative drop of energy": {"reading": "relative_energy"},
    "change of the logits": {"reading": "logit_change"},
    "residual logit": {"reading": "residual_logit"},
    "energy left": {"reading": "energy"},
    "softmax left": {"reading": "softmax"},
}
REFERENCES: Mapping[str, str] = {
    "gradnorm": "GradNorm only",
    "energy": "no short-circuit: energy",
    "maxlogit": "no short-circuit: largest logit",
    "msp": "no short-circuit: max softmax",
}


@dataclass(frozen=True)
class Layer:
    """A layer at which the network is cut, and whether it is the deep or the shallow one."""

    name: str
    depth: str
    shape: tuple[int, ...] = ()
    linear: bool = False

    @classmethod
    def of(cls, split: Split, depth: str) -> Layer:
        """The layer of a split."""
        return cls(split.name, depth, split.shape, split.linear)


@dataclass(frozen=True)
class Trial:
    """One row of the ablation: this level of this factor around this base.

    settings are all knobs of the GSC detector; None for a reference, which is `detector`. against
    is the row it is compared with, None for itself: at the same layer, or `across` the layers at
    the deep one.
    """

    base: str
    factor: str
    level: str
    detector: str
    settings: Settings | None = field(default=None, hash=False)
    against: Trial | None = None
    across: bool = False

    @property
    def title(self) -> str:
        """What a row that is compared with this one says it is compared with."""
        if self.factor in (PAPER, REFERENCE):
            return self.level
        return next(base.title for base in BASES if base.name == self.base)

    @property
    def published_direction(self) -> bool:
        """Whether a larger drop means unfamiliar, whatever surrogate outliers say."""
        return self.settings is not None and self.settings["direction"] == "published"


def layers_of(
    candidates: list[Split], deep: str | None, names: Sequence[str] | None
) -> list[Layer]:
    """The layers to compare: those named, else the audit's and one two blocks before it.

    Raises SpecError for a name that no layer has.
    """
    if names is not None:
        depths = ["deep"] if len(names) == 1 else ["shallow"] * (len(names) - 1) + ["deep"]
        named = [choose(candidates, name) for name in names]
        return [Layer.of(split, d) for split, d in zip(named, depths, strict=True) if split]
    split = choose(candidates, deep) if deep else default_split(candidates)
    if split is None:
        return []
    alike = [
        candidate
        for candidate in candidates
        if candidate.block and len(candidate.shape) == len(split.shape)
    ]
    before = [
        candidate for candidate in alike if candidates.index(candidate) < candidates.index(split)
    ]
    shallow = before[-2:][:1]
    return [*(Layer.of(candidate, "shallow") for candidate in shallow), Layer.of(split, "deep")]


def trials(layer: Layer) -> list[Trial]:
    """Every row for a layer; rows of one setting share its detector.

    The full curves over k and the references are measured at the deep layer alone. A row is
    compared with its base at its own layer; the base at another layer with itself at the deep one;
    references with the better base; rows of the paper with its full method, and that with the
    softmax whose drop it reads.
    """
    rows: list[Trial] = []
    for base in BASES:
        own = _itself(base)
        rows.append(replace(own, factor=LAYER, level=layer.depth, against=own, across=True))
        rows += [
            _trial(base, factor, level, changes, own) for factor, level, changes in _one_at_a_time()
        ]
        if layer.depth == "deep":
            rows += [_trial(base, CURVE, level, changes, own) for level, changes in _curves()]
    rows += [row for row, depth in _of_paper() if depth == layer.depth]
    if layer.depth == "deep":
        rows += [replace(row, against=_itself(BETTER)) for row in _references().values()]
    return rows


def _itself(base: Base) -> Trial:
    return _trial(base, "direction", "learned", {"direction": "learned"})


def _references() -> dict[str, Trial]:
    return {key: Trial(REFERENCE, REFERENCE, name, key) for key, name in REFERENCES.items()}


def _of_paper() -> Iterator[tuple[Trial, str]]:
    """The rows of the paper's ablation, all in the published direction, each with its depth."""
    published = {"direction": "published"}
    full = _trial(PUBLISHED, PAPER, FULL_METHOD, published, _references()["msp"])
    for level, of_paper in PAPER_ROWS.items():
        if level == FULL_METHOD:
            yield full, of_paper.depth
        elif of_paper.settings is None:
            yield Trial(PUBLISHED.name, PAPER, level, "gradnorm", against=full), of_paper.depth
        else:
            row = _trial(PUBLISHED, PAPER, level, {**of_paper.settings, **published}, full)
            yield replace(row, across=True), of_paper.depth


def _one_at_a_time() -> Iterator[tuple[str, str, Settings]]:
    """Factor, level and what it changes; one level of each factor is the base itself."""
    for share in SHARES:
        yield "share", percent(share), {"share": share}
    for granularity in GRANULARITIES:
        yield "granularity", granularity, {"granularity": granularity}
    for ranking in RANKINGS:
        yield "ranking", ranking, {"ranking": ranking}
    for intervention in ("zero", "truncate"):
        yield "intervention", intervention, {"intervention": intervention}
    for update, name in (("first_order", "first order"), ("exact", "computed again")):
        yield "update", name, {"update": update}
    for level, changes in READINGS.items():
        yield "reading", level, changes
    for direction in ("learned", "published"):
        yield "direction", direction, {"direction": direction}


def _curves() -> Iterator[tuple[str, Settings]]:
    for granularity in GRANULARITIES:
        for ranking in RANKINGS:
            for share in SHARES:
                what = {"granularity": granularity, "ranking": ranking}
                yield f"{granularity}, {ranking}", {**what, "share": share}


def _trial(
    base: Base, factor: str, level: str, changes: Settings, against: Trial | None = None
) -> Trial:
    settings = _knobs(base, changes)
    return Trial(base.name, factor, level, _name(base, settings), settings, against)


def _name(base: Base, settings: Settings) -> str:
    """The setting in words, the same for settings that score alike.

    With nothing short-circuited the choice of coordinates does not matter. The published and the
    learned direction are one measurement, read in two directions.
    """
    shown = dict(settings)
    if not shown["share"]:
        shown |= {key: _knobs(base, {})[key] for key in ("granularity", "ranking", "intervention")}
    reading = shown["reading"].replace("_", " ")
    if shown["reading"] in ("drop", "relative_drop"):
        reading += f" of {shown['confidence']}"
    return (
        f"{percent(shown['share'])} {shown['granularity']} {shown['ranking']}, "
        f"{shown['intervention']}, {shown['update'].replace('_', ' ')}, {reading}"
    )


def _knobs(base: Base, changes: Settings) -> dict[str, Any]:
    """All knobs of a base with some changed, in their usual order."""
    return GSC.configured({**base.settings, **changes}).settings()
