"""A grid of images that is read by eye and steered by keys: open one, select one or many.

The browser's part is in `browser`, which the server hands out as files: the app's content security
policy lets no other script run.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.images.thumbnails import thumbnail
from pages.parts.shared.browser_part import browser_part
from pages.parts.shared.pictures import version_of

_FILES = Path(__file__).parent / "browser"

Sizes = Literal["small", "medium", "large"]


@dataclass(frozen=True)
class Size:
    """How wide a tile is at least, in pixels, and how many are on a page: as many bytes of any."""

    title: str
    side: int
    on_a_page: int


SIZES: Mapping[str, Size] = {
    "small": Size("Small", 96, 96),
    "medium": Size("Medium", 148, 48),
    "large": Size("Large", 240, 24),
}


@dataclass(frozen=True)
class GridTile:
    """One image: its row, two short lines under it, what it is in words, where it leads.

    state: `missed` and `alarm` have a coloured edge, with `badge` in words; `mark` is what a
    person said of it.
    """

    row: int
    path: Path
    name: str
    first: str
    second: str
    alt: str
    query: Mapping[str, str]
    state: Literal["", "missed", "alarm"] = ""
    badge: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Answer:
    """What was done: the row that was opened, and those selected; None where nothing was said."""

    opened: int | None
    selected: frozenset[int] | None


def image_grid(
    tiles: Sequence[GridTile],
    *,
    key: str,
    size: Size,
    label: str,
    selected: Sequence[int] | None,
    generation: str,
) -> Answer:
    """Show the tiles, and give what was done with them; `selected` None lets none be selected.

    The selection in the browser holds until `generation` is another: then it is `selected` again.
    """
    data = {
        "label": label,
        "size": size.side,
        "selectable": selected is not None,
        "selected": [*(selected or ())],
        "generation": generation,
        "tiles": [_as_data(tile, size.side) for tile in tiles],
    }
    grid = browser_part("image_grid", _FILES, "grid.js", "grid.css")
    said = grid(key=key, data=data, on_selected_change=_heard, on_opened_change=_heard)
    return _checked(said, [tile.row for tile in tiles], generation)


def _heard() -> None:
    """Without a function that hears of it, a browser's value does not come."""


def _checked(said: Mapping[str, Any], rows: Sequence[int], generation: str) -> Answer:
    """What a browser says may be anything: only rows that it was shown are taken from it."""
    opened, value = said.get("opened"), said.get("selected")
    selected = None
    if isinstance(value, Mapping) and value.get("generation") == generation:
        picked = value.get("rows")
        if isinstance(picked, list) and all(type(row) is int for row in picked):
            selected = frozenset(picked).intersection(rows)
    is_row = type(opened) is int and opened in rows
    return Answer(opened if is_row else None, selected)


def _as_data(tile: GridTile, side: int) -> dict[str, Any]:
    src, lost = "", ""
    try:
        src = _thumbnail(str(tile.path), version_of(tile.path), side)
    except GscError as error:
        lost = str(error)
    return {
        "row": tile.row,
        "src": src,
        "lost": lost,
        "name": tile.name,
        "first": tile.first,
        "second": tile.second,
        "alt": tile.alt,
        "href": f"?{urlencode(tile.query)}",
        "state": tile.state,
        "badge": tile.badge,
        "mark": tile.mark,
    }


@st.cache_data(max_entries=4096, show_spinner=False)
def _thumbnail(path: str, version: int, side: int) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(thumbnail(Path(path), side)).decode()
