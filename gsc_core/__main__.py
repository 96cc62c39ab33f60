"""`python -m gsc_core …` is `gsc …`."""

from gsc_core.cli.app import main

main()
