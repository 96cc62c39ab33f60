"""What keeps a worker from taking the machine with it: limits that it sets for itself at its start.

On Linux the kernel ends a process when memory runs out; a worker offers itself before the app, and
asks for no more than there is, so that most often one job fails with a sentence.
"""

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_READY_TO_DIE = 800  # of 1000; the app has 0
_GROUPS = Path("/sys/fs/cgroup")


def limit_worker() -> None:
    """Limit this process and what it starts; elsewhere than on Linux only its core dumps."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux":
        return
    readiness = Path("/proc/self/oom_score_adj")
    with suppress(OSError):  # some containers have none
        if int(readiness.read_text(encoding="ascii")) < _READY_TO_DIE:  # lowering it is refused
            readiness.write_text(str(_READY_TO_DIE), encoding="ascii")
    # CUDA reserves addresses by the terabyte, which count as data
    if not Path("/dev/nvidiactl").exists():
        _lower(resource.RLIMIT_DATA, memory())


def memory() -> int:
    """Bytes of memory that this process may use: the machine's, or its control group's if less."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_group_limits()])


def _lower(kind: int, limit: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(kind, (limit, limit))


def _group_limits() -> Iterator[int]:
    """Limits of the control groups this process is in, and of those around them."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, file = _GROUPS, "memory.max"
        elif "memory" in controllers.split(","):
            root, file = _GROUPS / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = Path(path.lstrip("/"))
        for folder in (group, *group.parents):
            text = _read(root / folder / file)
            if text.isdigit():  # "max" is none
                yield int(text)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError:
        return ""
