"""What is written to a terminal: names that came from others are shown on it and never steer it.

A file name may hold what moves the cursor, hides a line or renames the window, and may come from an
archive that somebody else made.
"""

from __future__ import annotations

import sys
import unicodedata
from typing import Any

from rich import text as rich_text

_LAYOUT = frozenset("\n\t")
_STEERING = frozenset({"Cc", "Cs", "Zl", "Zp"})  # controls, halves of characters, other line ends
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of what follows: `gnp.exe` looks like `exe.png`."""


def shown(text: str) -> str:
    r"""The text with its control characters written out.

    Each as JSON writes it, so that JSON stays what it was.

    >>> print(shown("a\x1b[2Jb.png"))
    a\u001b[2Jb.png
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_written_out(c) if _steers(c) else c for c in text)


def write(text: str) -> None:
    """Write to standard output."""
    sys.stdout.write(shown(text))


def write_error(text: str) -> None:
    """Write to standard error, at once."""
    sys.stderr.write(shown(text))
    sys.stderr.flush()


class Text(rich_text.Text):
    """A text of rich's with its control characters written out."""

    def __init__(self, text: str = "", *args: Any, **options: Any) -> None:
        super().__init__(shown(text), *args, **options)


def _steers(character: str) -> bool:
    if character in _LAYOUT:
        return False
    return character in _TURNING or unicodedata.category(character) in _STEERING


def _written_out(character: str) -> str:
    return f"\\u{ord(character):04x}"  # all of them have four digits
