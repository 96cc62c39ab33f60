"""Text for the cells of a table that a spreadsheet opens: nothing in it is computed."""

import pyarrow as pa
import pyarrow.compute as pc

_LIVE = "\\A([=+\\-@\t\r\n＝＋－＠])"  # how a cell begins that spreadsheets compute; full width too


def harmless(text: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Text in which no cell begins like a formula: an apostrophe stands before one that does."""
    text = text.cast(pa.large_string())  # however the file stores it
    return pc.replace_substring_regex(text, _LIVE, r"'\1")
