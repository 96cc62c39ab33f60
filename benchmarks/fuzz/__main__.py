"""Fuzz one reader with atheris, which is installed for it: `pip install atheris`.

    python -m benchmarks.fuzz zip --seconds 600

Ends with libFuzzer's figures, or with the bytes that made a reader fail in a file `crash-…`. The
suite has each reader read the seeds and changes of them (`tests/test_fuzz.py`).
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

_SECONDS_A_FILE, _MEMORY_MB, _MOST_BYTES = 60, 8192, 2**17
_FOLLOWED = ["gsc_core", "zipfile", "tomllib", "csv", "json", "PIL", "python_multipart"]


def main() -> None:
    """Fuzz until the time is over, or something was found."""
    import atheris  # noqa: PLC0415 - only for this

    with atheris.instrument_imports(include=_FOLLOWED):
        from benchmarks.fuzz.targets import TARGETS, changed  # noqa: PLC0415 - what is followed
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=600)
    asked = parser.parse_args()
    target = TARGETS[asked.target]
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(target.seeds()):
            (Path(corpus) / str(number)).write_bytes(seed)

        def mutated(data: bytes, most: int, seed: int) -> bytes:
            chance = random.Random(seed)
            if chance.random() < 0.5:
                return changed(data, chance)[:most]
            other: bytes = atheris.Mutate(data, most)
            return other

        limits = (f"-max_total_time={asked.seconds}", f"-timeout={_SECONDS_A_FILE}")
        sizes = (f"-rss_limit_mb={_MEMORY_MB}", f"-max_len={_MOST_BYTES}")
        atheris.Setup(
            [sys.argv[0], corpus, *limits, *sizes, "-print_final_stats=1"],
            target.try_one,
            custom_mutator=mutated,
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
