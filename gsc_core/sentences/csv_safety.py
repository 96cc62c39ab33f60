"""Text for the cells of a table that a spreadsheet opens: nothing in it is computed."""

import pyarrow as pa
import pyarrow.compute as pc

_COMPUTED = "=+\\-@＝＋－＠"  # what spreadsheets compute; full width too
_BEGINS = f"\\A([{_COMPUTED}\t\r\n])"
# Where commas are decimal, a spreadsheet splits at semicolons and begins cells in the middle.
_GOES_ON = f'([;\t\r\n][ "]*)([{_COMPUTED}])'


def harmless(text: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Text in which no cell begins like a formula: an apostrophe stands before one that does.

    Nor does one after a semicolon, tab or line break, wherever the table is split.
    """
    text = text.cast(pa.large_string())  # however the file stores it
    text = pc.replace_substring_regex(text, _GOES_ON, r"\1'\2")
    return pc.replace_substring_regex(text, _BEGINS, r"'\1")
