"""Where everything lies that is kept: the folder GSC_HOME."""

import os
from pathlib import Path

HOME = "GSC_HOME"


def home() -> Path:
    """The workspace: the folder in GSC_HOME, or `.gsc` where the program runs."""
    return Path(os.environ.get(HOME) or ".gsc").absolute()
