"""`python -m gsc_core …` is `gsc …`."""

from gsc_core.cli import main

main()
