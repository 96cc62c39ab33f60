"""Sessions without a browser: they speak the protocol of Streamlit's own page.

Twenty browsers on the cores of the server time one another. These cost it next to nothing, so that
what is timed is the app.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

_STREAM = "/_stcore/stream"
_TO_CONNECT_S = 60


@dataclass(frozen=True)
class View:
    """A page as a session got it: seconds until its script had run, bytes, and what it raised."""

    seconds: float
    size: int
    raised: tuple[str, ...]


def all_at_once(address: str, page: str, sessions: int) -> list[View]:
    """So many new sessions on a page at the same time; all stay until the last one is served."""
    with ThreadPoolExecutor(1) as apart:  # playwright has a loop in the thread of its caller
        return apart.submit(asyncio.run, _all_at_once(address, page, sessions)).result()


async def _all_at_once(address: str, page: str, sessions: int) -> list[View]:
    async with AsyncExitStack() as stack:
        return await asyncio.gather(*(_view(stack, address, page) for _ in range(sessions)))


async def _view(stack: AsyncExitStack, address: str, page: str) -> View:
    begun = time.monotonic()
    connection: ClientConnection = await stack.enter_async_context(
        connect(
            address.replace("http", "ws", 1) + _STREAM,
            origin=Origin(address),
            subprotocols=[Subprotocol("streamlit")],
            max_size=None,
            open_timeout=_TO_CONNECT_S,
        )
    )
    asked = BackMsg()
    asked.rerun_script.page_name = page
    await connection.send(asked.SerializeToString())
    size, raised = 0, []
    async for frame in connection:
        assert isinstance(frame, bytes)
        size += len(frame)
        message = ForwardMsg()
        message.ParseFromString(frame)
        if message.delta.new_element.HasField("exception"):
            raised.append(message.delta.new_element.exception.message)
        if message.WhichOneof("type") == "script_finished":
            break
    return View(time.monotonic() - begun, size, tuple(raised))
