"""Where the project, its tests and the real images beside it lie."""

import os
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
DATA = ROOT.parent / "shared" / "data"
IMPORTABLE = os.pathsep.join(map(str, (ROOT, TESTS / "support")))
"""PYTHONPATH of a process that a test starts."""
