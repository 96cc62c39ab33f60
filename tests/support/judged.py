"""A run held against a policy that is written in the test; the interval of a loss in pairs."""

from pathlib import Path

import numpy as np

from gsc_core.evaluation.intervals import Interval
from gsc_core.release import intervals
from gsc_core.release.judge import judge
from gsc_core.release.policy import read_policy
from gsc_core.release.verdict import Verdict
from gsc_core.run import decisions
from gsc_core.run.stored import Run


def judged(folder: Path, policy: str, decision=None) -> Verdict:
    run = Run.load(folder)
    return judge(run, decision or decisions.default(run), read_policy(policy))


def lost(worse: int, better: int, n: int) -> Interval:
    before = np.zeros(n, dtype=bool)
    after = np.zeros(n, dtype=bool)
    before[:worse] = True
    after[worse : worse + better] = True
    return intervals.lost(before, after)
