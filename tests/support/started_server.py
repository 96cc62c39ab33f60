"""The app as Streamlit starts it, with a witness in its process that tells what it is like.

    python tests/support/started_server.py PORT

Prints one line of JSON once the server answers, and ends it.
"""

import gc
import json
import os
import signal
import socket
import sys
import threading
import urllib.request
from http.client import HTTPConnection

from states import until
from streamlit.runtime import app_session
from streamlit.web.cli import main


def _tell(port: int) -> None:
    try:
        print(json.dumps(_observed(port)), flush=True)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)


def _observed(port: int) -> dict[str, bool | str | int]:
    until(lambda: _answers(port))
    visitor = HTTPConnection("127.0.0.1", port)  # one that comes after the start
    visitor.request("GET", "/_stcore/health")
    visitor.getresponse().read()
    return {
        "at_once": _sends_at_once(_other_end(visitor.sock)),
        "queue": app_session.ForwardMsgQueue.__name__,
        "left_out": gc.get_freeze_count(),
        "looked_at": len(gc.get_objects()),
    }


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health") as answer:
            return answer.status == 200
    except OSError:
        return False


def _other_end(visitor: socket.socket) -> socket.socket:
    """The server's, of a connection to it."""
    opened = [each for each in gc.get_objects() if isinstance(each, socket.socket)]
    (end,) = [each for each in opened if _peer(each) == visitor.getsockname()]
    return end


def _peer(one: socket.socket) -> object:
    try:
        return one.getpeername()
    except OSError:  # it is closed, or listens
        return None


def _sends_at_once(connection: socket.socket) -> bool:
    return bool(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))


if __name__ == "__main__":
    threading.Thread(target=_tell, args=(int(sys.argv[1]),), daemon=True).start()
    main(["run", "app.py", "--server.port", sys.argv[1]])
