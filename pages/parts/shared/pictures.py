"""A grid of small images with captions, each of which may lead to a page of its own."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st
from PIL import Image

from gsc_core.errors import GscError
from gsc_core.images.thumbnails import thumbnail
from pages.parts.shared import links
from pages.parts.shared.text import plain

MOST = 48  # thumbnails a page
SIDE = 148  # pixels of a tile: two fit beside each other on a phone
_LETTERS = 19  # of a caption, which is to stay on one line


@dataclass(frozen=True)
class Tile:
    """An image, what stands under it, its description, where a click leads.

    `link` is an address and its query, such as `("images", {"run": "demo", "image": "3"})`.
    """

    path: Path
    caption: str
    alt: str
    link: tuple[str, Mapping[str, str]] | None = None


def picture_grid(tiles: Sequence[Tile]) -> None:
    """Show the tiles side by side, as many as fit in a row; a lost image is a sentence."""
    with st.container(horizontal=True, gap="small"):
        for tile in tiles[:MOST]:
            with st.container(width=SIDE, gap="xxsmall"):
                _show(tile)


def _show(tile: Tile) -> None:
    with st.container(
        height=SIDE, border=False, horizontal_alignment="center", vertical_alignment="center"
    ):
        try:
            data, width = _thumbnail(str(tile.path), version_of(tile.path))
            st.image(data, alt=tile.alt, width=width)
        except GscError as error:
            st.caption(plain(_short(str(error), 4 * _LETTERS)))
    caption = plain(_short(tile.caption, _LETTERS))
    if tile.link is None:
        st.caption(caption)
    else:
        address, query = tile.link
        st.page_link(links.to(address), label=caption, query_params=dict(query))


def _short(text: str, letters: int) -> str:
    """The text, or its beginning and end: in a list of file names the ends differ."""
    end = letters // 2
    return text if len(text) <= letters else f"{text[: letters - end - 1]}…{text[-end:]}"


def version_of(path: Path) -> int:
    """A number that changes with an image's file: a part of the key of a cached thumbnail."""
    try:
        return path.stat().st_mtime_ns
    except (OSError, ValueError):  # gone, or a name no disk can hold: the thumbnail says which
        return 0


@st.cache_data(max_entries=4096, show_spinner=False)
def _thumbnail(path: str, version: int) -> tuple[bytes, int]:
    """The image as JPEG, and the width at which it fits into a tile; enlarged when smaller."""
    data = thumbnail(Path(path))
    with Image.open(io.BytesIO(data)) as image:
        return data, max(1, round(SIDE * image.width / max(image.size)))
