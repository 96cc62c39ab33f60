"""A folder that appears whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gsc_core.errors import ImageError
from gsc_core.files import refusal


@contextmanager
def folder_written_aside(into: Path) -> Iterator[Path]:
    """Give a temporary folder beside `into`; rename it to `into` when the block ends well.

    When the block fails nothing is left. Raises ImageError when `into` already holds something, the
    disk is full, or the folder cannot be written.
    """
    try:
        if into.exists() and (not into.is_dir() or any(into.iterdir())):
            raise ImageError(f"{into} already holds something: choose an empty folder.")
        into.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".part-", dir=into.parent))
    except OSError as error:
        raise ImageError(refusal(into, error)) from error
    try:
        yield part
        part.chmod(0o755)  # mkdtemp makes it readable for its owner alone
        if into.exists():
            into.rmdir()
        part.replace(into)
    except OSError as error:
        raise ImageError(refusal(into, error)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
