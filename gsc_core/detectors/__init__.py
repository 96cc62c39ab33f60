"""Detectors: one contract, one catalogue, most of them bound from pytorch-ood.

What needs torch is imported from its own module: the contract from `base`, the list from
`catalogue`.
"""

from gsc_core.detectors.facts import DetectorFacts, Knob, Paper

__all__ = ["DetectorFacts", "Knob", "Paper"]
