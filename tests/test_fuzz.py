"""What is fuzzed for hours (`benchmarks/fuzz`) reads its seeds, and 150 changes of them, here."""

import random
from pathlib import Path

import pytest

from benchmarks.fuzz.targets import TARGETS, Target, changed
from gsc_core.errors import GscError

CHANGES = 150


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_what_becomes_of_them_are_read_or_refused(name):
    target, chance = TARGETS[name], random.Random(0)
    seeds = target.seeds()
    for seed in seeds:
        target.try_one(seed)
    for _ in range(CHANGES):
        data = chance.choice(seeds)
        for _ in range(chance.randrange(1, 4)):
            data = changed(data, chance)
        target.try_one(data)


@pytest.mark.parametrize("name", TARGETS)
def test_at_least_one_seed_passes(name, tmp_path):
    """Else nothing behind the first check would be fuzzed."""

    def passes(number: int, seed: bytes) -> bool:
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            TARGETS[name].read(seed, folder)
        except GscError:
            return False
        return True

    assert any(passes(number, seed) for number, seed in enumerate(TARGETS[name].seeds()))


def test_a_fault_would_be_found():
    def raises(data: bytes, folder: Path) -> None:
        raise KeyError("x")

    def escapes(data: bytes, folder: Path) -> None:
        (folder / ".." / "x").write_bytes(data)

    with pytest.raises(KeyError):
        Target("x", tuple, raises).try_one(b"")
    with pytest.raises(AssertionError, match="outside"):
        Target("x", tuple, escapes).try_one(b"")
