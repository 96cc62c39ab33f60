"""A page of the app through Streamlit's own test runner, and the words on it."""

import json
import re
from functools import cache

from browser import PATIENCE
from places import ROOT
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

# Streamlit asks every installed distribution whether it brings components: a server once, its test
# runner for each page that is opened, which takes longer than most of our pages.
manifest_scanner.scan_component_manifests = cache(manifest_scanner.scan_component_manifests)


def opened(page: str, **query: str) -> AppTest:
    """`pages/<page>.py` as the app shows it at an address with this query."""
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom pages import {page}\n{page}.render()"
    )
    app = AppTest.from_string(script, default_timeout=PATIENCE)
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def words(app: AppTest) -> str:
    """All text that is not in a table or chart, without the escapes of Markdown."""
    kinds = (
        "title",
        "header",
        "subheader",
        "markdown",
        "caption",
        "error",
        "warning",
        "info",
        "success",
    )
    parts = [part.value for kind in kinds for part in getattr(app, kind)]
    return re.sub(r"[\\\u2060]", "", "\n".join(parts)).replace("\N{NO-BREAK SPACE}", " ")


def tiles(app: AppTest) -> list[dict]:
    """What the grid is told of each image that it shows; none where there is no grid."""
    grids = (json.loads(grid.proto.json) for grid in app.get("bidi_component"))
    return [tile for grid in grids for tile in grid["tiles"]]
