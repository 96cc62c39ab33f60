"""Waiting for a state, and never for a time."""

import time
from collections.abc import Callable

from browser import PATIENCE


def until(true: Callable[[], object]) -> None:
    """Look again and again until it is so; fail where it does not come."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)  # what is waited for may need this core
