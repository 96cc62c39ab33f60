"""Names of files and classes as they are compared."""

import unicodedata


def composed(text: str) -> str:
    """Text in NFC: macOS stores `é` as two characters, other systems as one."""
    return unicodedata.normalize("NFC", text)
