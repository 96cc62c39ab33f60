"""An image that a source lists, before anybody has looked at it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gsc_core.errors import ImageError
from gsc_core.images.sources.address import BytesAt

MAX_IMAGES = 50_000_000
_FORMULA = ("=", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Listed:
    """Its name in the set, where it lies, and its label, where the source says."""

    name: str
    at: BytesAt
    label: str | None = None


def column_called(wanted: str, names: Sequence[str], source: str) -> str | None:
    """The column of that name, in any case and with spaces around it; None without one.

    Raises ImageError where two could be meant.
    """
    same = [name for name in names if name.strip().casefold() == wanted]
    exact = [name for name in same if name == wanted] or same
    if len(exact) > 1:
        raise ImageError(f"{source} has two columns called {wanted}: keep one of them.")
    return exact[0] if exact else None


def require_names_once(names: Sequence[str], source: str) -> None:
    """Raise ImageError for the first name that is there twice."""
    if len(set(names)) == len(names):
        return
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ImageError(f"{source} lists {quoted(name)} twice: keep one of them.")
        seen.add(name)


def require_text(texts: Iterable[str], source: str) -> None:
    """Raise ImageError for a text that a spreadsheet would run, or that cannot be shown."""
    for text in texts:
        signed = text[:1] in ("+", "-") and not text[1:2].isdigit()
        if text.startswith(_FORMULA) or signed or not text.isprintable():
            raise ImageError(
                f"{source} holds {quoted(text)}, which a spreadsheet could run: write plain names."
            )


def quoted(text: str) -> str:
    """A text from a stranger, short and in ASCII."""
    return ascii(text if len(text) <= 60 else text[:60] + "…")
