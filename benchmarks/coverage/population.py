"""Scores of images without end, whose metrics are known, to draw small samples from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from gsc_core.evaluation.metrics import Floats

FINE = 20_000  # levels by which scores without ties are integrated

Function = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Shape:
    """How ID and OOD scores are distributed: quantiles of chances, and chances of scores."""

    id_quantile: Function
    ood_quantile: Function
    id_below: Function
    ood_below: Function


def normal(shift: float) -> Shape:
    """ID ~ N(0, 1), OOD ~ N(shift, 1)."""
    return Shape(ndtri, lambda u: ndtri(u) + shift, ndtr, lambda x: ndtr(x - shift))


def skewed(shift: float) -> Shape:
    """ID and OOD exponential, of another scale: long tails to the right."""
    scale = np.exp(shift)
    return Shape(
        lambda u: -np.log1p(-u),
        lambda u: -np.log1p(-u) * scale,
        lambda x: -np.expm1(-np.maximum(x, 0)),
        lambda x: -np.expm1(-np.maximum(x, 0) / scale),
    )


def mixed(shift: float) -> Shape:
    """Some OOD images score like ID, the others far above: what is wrong is rare and wholly so."""
    alike = 2 * (1 - ndtr(shift))
    inner = 1e-12

    def quantile(chance: Floats) -> Floats:
        near = ndtri(np.clip(chance / alike, inner, 1 - inner))
        return np.where(chance < alike, near, 30 + chance)

    def below(score: Floats) -> Floats:
        return np.where(score < 30, alike * ndtr(score), np.clip(score - 30, alike, 1))

    return Shape(ndtri, quantile, ndtr, below)


SHAPES: dict[str, Callable[[float], Shape]] = {"normal": normal, "skewed": skewed, "mixed": mixed}


@dataclass(frozen=True, eq=False)
class Population:
    """A shape, and the edges `[L-1]` of the levels to which scores are tied (None: not at all)."""

    shape: Shape
    edges: Floats | None

    def draw(self, rng: np.random.Generator, n: int, m: int) -> tuple[Floats, Floats]:
        """Scores of n ID and m OOD images."""
        pair = self.shape.id_quantile(rng.random(n)), self.shape.ood_quantile(rng.random(m))
        if self.edges is None:
            return pair
        of_id, of_ood = (np.searchsorted(self.edges, scores).astype(float) for scores in pair)
        return of_id, of_ood

    def truth(self, n: int, m: int) -> dict[str, float]:
        """The metrics of all images; average precision with n ID images for m OOD images."""
        edges = _edges(self.shape, FINE) if self.edges is None else self.edges
        of_id, of_ood = (
            np.diff(np.concatenate([[0], below(edges), [1]]))
            for below in (self.shape.id_below, self.shape.ood_below)
        )
        id_below, ood_below = np.cumsum(of_id), np.cumsum(of_ood)
        id_above, ood_above = 1 - id_below + of_id, 1 - ood_below + of_ood
        if self.edges is None:
            fpr = float(self.shape.ood_below(self.shape.id_quantile(np.array(0.95))))
            reverse = float(1 - self.shape.id_below(self.shape.ood_quantile(np.array(0.05))))
        else:
            fpr = float(ood_below[np.argmax(id_below >= 0.95 - 1e-12)])
            reverse = float(id_above[np.flatnonzero(ood_above >= 0.95 - 1e-12)[-1]])
        tiny = 1e-300
        return {
            "fpr95": fpr,
            "fpr95_ood_positive": reverse,
            "auroc": _auroc(of_id, of_ood),
            "aupr_in": float(
                of_id @ (n * id_below / np.maximum(n * id_below + m * ood_below, tiny))
            ),
            "aupr_out": float(
                of_ood @ (m * ood_above / np.maximum(m * ood_above + n * id_above, tiny))
            ),
            "detection_error": float(0.5 - 0.5 * max(0, (id_below - ood_below).max())),
        }


def population(shape: str, auroc: float, levels: int | None = None) -> Population:
    """The shape whose AUROC is this, tied to some levels that hold equally much, or not tied."""

    def excess(shift: float) -> float:
        made = SHAPES[shape](shift)
        edges = _edges(made, levels or FINE)
        cells = [
            np.diff(np.concatenate([[0], below(edges), [1]]))
            for below in (made.id_below, made.ood_below)
        ]
        return _auroc(*cells) - auroc

    made = SHAPES[shape](float(brentq(excess, 0.02, 9 if shape == "skewed" else 6, xtol=1e-6)))
    return Population(made, _edges(made, levels) if levels else None)


def _edges(shape: Shape, levels: int) -> Floats:
    """Scores between levels that hold equally much of ID and OOD together."""
    chance = np.linspace(1e-5, 1 - 1e-5, 4000 if levels < FINE else FINE)
    scores = np.unique(np.concatenate([shape.id_quantile(chance), shape.ood_quantile(chance)]))
    below = (shape.id_below(scores) + shape.ood_below(scores)) / 2
    return np.unique(np.interp(np.arange(1, levels) / levels, below, scores))


def _auroc(of_id: Floats, of_ood: Floats) -> float:
    return float(of_ood @ (np.cumsum(of_id) - of_id / 2))
