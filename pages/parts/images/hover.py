"""The image under the pointer on the map, fetched when somebody stays on its point."""

import base64
from pathlib import Path

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.images.thumbnails import thumbnail
from gsc_core.run import gallery
from gsc_core.run.stored import Run
from pages.parts.shared.browser_part import browser_part

FILES = Path(__file__).parent / "browser"
_KEY = "images_map_hover"
_SIDE = 148


@st.fragment
def image_under_pointer(run: Run) -> None:
    """Show the image of the point that is pointed at on the map; redraws alone."""
    state = st.session_state.get(_KEY)
    row = None if state is None else state.get("row")
    image = _image(run, row) if isinstance(row, int) else None
    browser_part("map_hover", FILES, "hover.js", "hover.css")(
        data={"run": f"{run.id}/", "row": row, "image": image},
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
