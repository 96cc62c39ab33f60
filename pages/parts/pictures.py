"""A grid of small pictures with captions, each of which may lead to a page of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.images.thumbnails import thumbnail
from pages.parts import links
from pages.parts.text import plain

MOST = 48  # thumbnails a page


@dataclass(frozen=True)
class Tile:
    """A picture, what stands under it, what it shows for who cannot see it, where a click leads.

    `link` is an address and its query, such as `("images", {"run": "demo", "image": "3"})`.
    """

    path: Path
    caption: str
    alt: str
    link: tuple[str, Mapping[str, str]] | None = None


def picture_grid(tiles: Sequence[Tile]) -> None:
    """Show the tiles side by side, as many as fit in a row; a lost picture is a sentence."""
    with st.container(horizontal=True, gap="small"):
        for tile in tiles[:MOST]:
            with st.container(width=148, gap="xxsmall"):
                _show(tile)


def _show(tile: Tile) -> None:
    try:
        version = tile.path.stat().st_mtime_ns if tile.path.exists() else 0
        st.image(_thumbnail(str(tile.path), version), alt=tile.alt, width="stretch")
    except GscError as error:
        st.caption(plain(str(error)))
    if tile.link is None:
        st.caption(plain(tile.caption))
    else:
        address, query = tile.link
        st.page_link(links.to(address), label=plain(tile.caption), query_params=dict(query))


@st.cache_data(max_entries=4096, show_spinner=False)
def _thumbnail(path: str, version: int) -> bytes:
    return thumbnail(Path(path))
