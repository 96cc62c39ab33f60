"""Parts of a page that run in the browser: a script of our own, and its style.

The server hands both out as files, since the policy of the pages lets no other script run.
"""

from pathlib import Path

import streamlit as st
from streamlit.components.v2.get_bidi_component_manager import get_bidi_component_manager
from streamlit.components.v2.manifest_scanner import ComponentConfig, ComponentManifest
from streamlit.components.v2.types import ComponentRenderer

_VERSION = "1"


def browser_part(name: str, folder: Path, js: str, css: str | None = None) -> ComponentRenderer:
    """The part of this name whose files lie in `folder`.

    Known to the server at hand: a test has one of its own.
    """
    package = f"gsc-audit-{name.replace('_', '-')}"
    manager = get_bidi_component_manager()
    full = f"{package}.{name}"
    if manager.get_component_asset_root(full) is None:
        manifest = ComponentManifest(package, _VERSION, [ComponentConfig(name, folder.name)])
        manager.register_from_manifest(manifest, folder.parent)
    return st.components.v2.component(full, css=css, js=js)
