"""Python in a process of its own: for what a test's process has loaded, or set, already."""

import os
import subprocess
import sys
from pathlib import Path

from places import ROOT


def said_by_python(*arguments: str | Path, cwd: Path = ROOT) -> str:
    """What a Python with these arguments prints, started in `cwd`; it must end well."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
