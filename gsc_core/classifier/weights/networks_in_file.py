"""Which networks' weights a file holds: plain and averaged ones, students and teachers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch

from gsc_core.classifier.weights.weight_names import Table, is_average
from gsc_core.errors import SpecError
from gsc_core.errors.questions import Answer, Question, Setting

PLAIN, EMA = "plain", "ema"
_SHARE = 0.5  # of the names that the best prefix gives, to be weights of the same network


@dataclass(frozen=True)
class NetworkWeights:
    """Weights of one network in a file.

    Attributes:
        prefix: what their names begin with in the file, without the last dot; may be empty.
        table: by the names without it.
    """

    prefix: str
    table: Table

    @property
    def label(self) -> str:
        """How a person names them: by what their names begin with."""
        return self.prefix or PLAIN

    @property
    def averaged(self) -> bool:
        """Whether they are an average over training, by their name."""
        return is_average(self.prefix)

    def answers(self, choice: str) -> bool:
        """Whether a person means these by `plain`, `ema` or a name."""
        kind = EMA if self.averaged else PLAIN
        return choice in (self.prefix, kind)


def networks_in(table: Table, expected: Collection[str]) -> list[NetworkWeights]:
    """Every part of the file whose names, less a prefix, are those of the architecture."""
    votes: Counter[str] = Counter()
    for key in table:
        parts = key.split(".")
        for at in range(len(parts)):
            if ".".join(parts[at:]) in expected:
                votes[".".join(parts[:at])] += 1
    if not votes:
        return [NetworkWeights("", table)]
    least = _SHARE * max(votes.values())
    prefixes = sorted(prefix for prefix, number in votes.items() if number >= least)
    return [NetworkWeights(prefix, _under(prefix, prefixes, table)) for prefix in prefixes]


def outside(networks: Sequence[NetworkWeights], table: Table) -> Table:
    """What belongs to none of these networks."""
    prefixes = [network.prefix for network in networks]
    if "" in prefixes:
        return {}
    return {k: v for k, v in table.items() if not any(k.startswith(f"{p}.") for p in prefixes)}


def select(networks: Sequence[NetworkWeights], choice: str | None, name: str) -> NetworkWeights:
    """The one that is meant.

    Raises SpecError where several differ and none was chosen, or there is no such one.
    """
    options = [one for one in networks if choice is None or one.answers(choice)]
    if not options:
        raise SpecError.asking(
            Question(
                doubt=f"{name} has no weights {choice!r}, but {_named(networks)}",
                answers=_offered(networks),
            )
        )
    if all(_equal(options[0].table, other.table) for other in options[1:]):
        return options[0]
    raise SpecError.asking(
        Question(
            doubt=f"{name} holds several weights for one network, {_named(networks)}, which differ",
            answers=_offered(options),
        )
    )


def _under(prefix: str, prefixes: Sequence[str], table: Table) -> Table:
    """What is under the prefix, and under no longer one of them."""
    start = f"{prefix}." if prefix else ""
    longer = tuple(f"{p}." for p in prefixes if p != prefix and p.startswith(start))
    own = (key for key in table if key.startswith(start) and not key.startswith(longer))
    return {key.removeprefix(start): table[key] for key in own}


def _equal(one: Table, other: Table) -> bool:
    return one.keys() == other.keys() and all(
        one[key].shape == other[key].shape and torch.equal(one[key], other[key]) for key in one
    )


def _named(networks: Sequence[NetworkWeights]) -> str:
    described = (f"{n.label} (an average, EMA)" if n.averaged else n.label for n in networks)
    return " and ".join(described)


def _offered(networks: Sequence[NetworkWeights]) -> tuple[Answer, ...]:
    kinds = [EMA if network.averaged else PLAIN for network in networks]
    words = kinds if len(set(kinds)) == len(kinds) else [network.label for network in networks]
    return tuple(Answer.of(Setting.WEIGHTS, word) for word in words)
