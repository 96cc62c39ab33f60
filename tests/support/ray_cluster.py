"""A real Ray cluster of two worker processes on loopback, as an operator starts one."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from places import IMPORTABLE

_START = "from ray.scripts.scripts import main; main()"


@contextmanager
def ray_cluster(variables: Mapping[str, str]) -> Iterator[str]:
    """The address of a cluster whose processes have these variables; none of them is left."""
    port = next(port for port in range(20_379, 32_000) if _is_free(port))
    options = f"--head --block --port={port} --num-cpus=2 --object-store-memory=200000000"
    options += " --include-dashboard=false --disable-usage-stats --node-ip-address=127.0.0.1"
    with subprocess.Popen(
        [sys.executable, "-c", _START, "start", *options.split()],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ
        | {"PYTHONPATH": IMPORTABLE, "OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled"}
        | dict(variables),
    ) as head:
        try:
            assert head.stdout is not None
            assert any("Ray runtime started" in line for line in iter(head.stdout.readline, ""))
            yield f"127.0.0.1:{port}"
        finally:
            with suppress(ProcessLookupError):  # asked to end, it would drain for half a minute
                os.killpg(head.pid, signal.SIGKILL)


def _is_free(port: int) -> bool:
    """Whether nobody listens there; the system itself gives out none of these, nor does Ray."""
    with socket.socket() as tried:
        try:
            tried.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


def processes(title: str) -> list[int]:
    """Ids of the processes of a cluster whose title, as Ray sets it, holds this."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes()
            if words.startswith(b"ray::") and title.encode() in words:
                found.append(int(folder.name))
    return found
