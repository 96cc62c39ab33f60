"""The image under the pointer on the map, fetched when somebody stays on its point."""

import base64
from pathlib import Path

import streamlit as st
from streamlit.components.v2.get_bidi_component_manager import get_bidi_component_manager
from streamlit.components.v2.manifest_scanner import ComponentConfig, ComponentManifest
from streamlit.components.v2.types import ComponentRenderer

from gsc_core import __version__
from gsc_core.errors import GscError
from gsc_core.images.thumbnails import thumbnail
from gsc_core.run import gallery
from gsc_core.run.stored import Run

_NAME, _KEY = "map_hover", "images_map_hover"
_SIDE = 148


@st.fragment
def image_under_pointer(run: Run, chart: str) -> None:
    """Show the image of the point that is pointed at on the chart of this key; redraws alone."""
    state = st.session_state.get(_KEY)
    row = None if state is None else state.get("row")
    image = _image(run, row) if isinstance(row, int) else None
    _component()(
        data={"chart": chart, "run": f"{run.id}/", "row": row, "image": image},
        key=_KEY,
        on_row_change=lambda: None,
        height="content",
    )


def _image(run: Run, row: int) -> str | None:
    """A small JPEG as an address; None for an image that is gone or a row that is none."""
    try:
        (one,) = gallery.run_images(run, [row])
        path = gallery.image_path(run, one.role, one.set, one.file)
        return _small(str(path), path.stat().st_mtime_ns)
    except (GscError, OSError):
        return None


@st.cache_data(max_entries=4096, show_spinner=False)
def _small(path: str, version: int) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(thumbnail(Path(path), _SIDE)).decode()}"


def _component() -> ComponentRenderer:
    """The component; its script is a file, since the policy of the pages lets no other run."""
    manager = get_bidi_component_manager()
    name = f"gsc_audit.{_NAME}"
    if manager.get_component_asset_root(name) is None:
        manifest = ComponentManifest(
            "gsc_audit", __version__, [ComponentConfig(_NAME, asset_dir="assets")]
        )
        manager.register_from_manifest(manifest, Path(__file__).parent)
    return st.components.v2.component(name, js="hover.js")
