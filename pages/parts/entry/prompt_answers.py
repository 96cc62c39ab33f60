"""Small answers leave at once, instead of waiting until the browser has confirmed the one before.

Streamlit binds its socket without naming TCP, so asyncio does not see that it is one and leaves
Nagle's algorithm on (uvicorn's issue 3149): the second of two small pieces waits for the browser's
delayed acknowledgement, 40 ms on Linux. Every file of a page, of which there are some hundred, and
many of the messages that draw it, come in two pieces.
"""

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

_OPEN = Path("/dev/fd")  # what this process has open, on Linux and macOS


def answer_at_once() -> None:
    """Turn Nagle's algorithm off where this process listens; connections made later inherit it."""
    for number in [int(each.name) for each in _OPEN.iterdir()] if _OPEN.is_dir() else ():
        with suppress(OSError):  # closed by now, as is what listed the folder
            _send_at_once(number)


def _send_at_once(number: int) -> None:
    if not stat.S_ISSOCK(os.fstat(number).st_mode):
        return
    with socket.socket(fileno=os.dup(number)) as each:
        of_network = each.family in (socket.AF_INET, socket.AF_INET6)
        if of_network and each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
