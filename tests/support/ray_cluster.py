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
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = f"--head --block --port={port} --num-cpus=2 --object-store-memory=200000000"
    options += " --include-dashboard=false --disable-usage-stats --node-ip-address=127.0.0.1"
    with subprocess.Popen(
        [sys.executable, "-c", _START, "start", *options.split()],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": IMPORTABLE, "OMP_NUM_THREADS": "1"} | dict(variables),
    ) as head:
        try:
            assert head.stdout is not None
            assert any("Ray runtime started" in line for line in iter(head.stdout.readline, ""))
            yield f"127.0.0.1:{port}"
        finally:
            with suppress(ProcessLookupError):  # asked to end, it would drain for half a minute
                os.killpg(head.pid, signal.SIGKILL)


def processes(title: str) -> list[int]:
    """Ids of the processes of a cluster whose title, as Ray sets it, holds this."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes()
            if words.startswith(b"ray::") and title.encode() in words:
                found.append(int(folder.name))
    return found
