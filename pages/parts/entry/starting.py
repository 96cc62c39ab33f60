"""What the first visitor would wait for, done before the server answers: imports, the first query.

The libraries below the pages take seconds to import. Whoever comes meanwhile waits in the server's
queue: two visits that import at once can each be given half-made modules, since Python rather
breaks a circle of imports than let two threads wait for each other for ever.

What the imports made is here to stay, so the garbage collector leaves it out from then on:
Streamlit has it look at everything whenever a page's script ends, and meanwhile no other runs.
"""

import gc
import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

from gsc_core.jobs.database import DATABASE_FILE
from gsc_core.jobs.home import home
from gsc_core.workspace.catalogue import catalogue

_NEWEST = 12  # about what a page lists
_LOG = logging.getLogger(__name__)


def get_ready(pages: Iterable[str]) -> None:
    """Import the modules of pages and ask the index what the newest runs say.

    What goes wrong is logged and no more: the server starts, and tells it to whoever meets it.
    """
    try:
        with ThreadPoolExecutor(1) as beside:
            listed = beside.submit(catalogue)  # by a process of its own
            for name in pages:
                import_module(name)
            _look_at_runs()
            listed.result()
        gc.collect()
        gc.freeze()
    # Whatever it is, it is worse to have no server that could show it.
    except Exception:
        _LOG.exception("The app is not ready for its first visitor")


def _look_at_runs() -> None:
    from gsc_core.workspace.history import history, summary  # noqa: PLC0415 - heavy

    if (home() / DATABASE_FILE).exists():  # no workspace is made before somebody asks for one
        for entry in history()[:_NEWEST]:
            summary(entry)
