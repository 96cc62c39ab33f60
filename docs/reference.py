"""The API reference of the public names, from their docstrings: `make docs` writes `docs/api`."""

import sys
from pathlib import Path

import pdoc

import gsc_core


def write(into: Path) -> None:
    """Write the reference as HTML into a folder."""
    for name in gsc_core.__all__:  # they are imported when used, and pdoc looks for what is there
        setattr(gsc_core, name, getattr(gsc_core, name))
    pdoc.render.configure(docformat="google", footer_text=f"GSC Audit {gsc_core.__version__}")
    pdoc.pdoc("gsc_core", output_directory=into)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).with_name("api"))
