"""What keeps a worker from taking the machine with it.

On Linux the kernel ends a process when memory runs out; a worker offers itself before the app, and
asks for no more than there is, so that most often one job fails with a sentence. Its starter puts
it behind itself: somebody waits for the app, and a worker has the time that the app leaves.
"""

import math
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gsc_core.jobs.configuration import MB, configuration

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
        _lower(resource.RLIMIT_DATA, worker_memory())


def put_behind(pid: int, niceness: int, *, idle_disk: bool) -> None:
    """Give a process just started a lower priority than ours, as far as the system lets us.

    `niceness` counts from ours, up to 19. With `idle_disk` it has the disk when nobody else wants
    it. On Linux both belong to a thread, and go over to those that it starts later.
    """
    priority = min(19, os.getpriority(os.PRIO_PROCESS, 0) + niceness)
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, priority)
    # A desktop's Linux shares the processor among sessions, whatever is nice inside of one.
    with suppress(OSError):
        if os.getsid(pid) == pid:
            Path(f"/proc/{pid}/autogroup").write_text(str(niceness), encoding="ascii")
    if idle_disk and (ionice := shutil.which("ionice")):
        command = [ionice, "-c", "3", "-p", str(pid)]
        subprocess.run(command, stderr=subprocess.DEVNULL, check=False)  # noqa: S603 - our words


def cores() -> int:
    """Processor cores this process may use: those given to it, or its group's quota if less."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    return min([len(os.sched_getaffinity(0)), *map(math.ceil, _quotas())])


def memory() -> int:
    """Bytes of memory that this process may use: the machine's, or its control group's if less."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_group_limits()])


def worker_memory() -> int:
    """Bytes of memory that a worker may use: as the operator set it, and no more than there is."""
    limit = configuration().worker_memory_mb
    return memory() if limit is None else min(limit * MB, memory())


def _lower(kind: int, limit: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(kind, (limit, limit))


def _group_limits() -> Iterator[int]:
    """Bytes that this process's control groups allow."""
    for folder in _groups("memory"):
        for file in ("memory.max", "memory.limit_in_bytes"):
            text = _read(folder / file)
            if text.isdigit():  # "max" is none
                yield int(text)


def _quotas() -> Iterator[float]:
    """Cores' worth of time that this process's control groups allow."""
    for folder in _groups("cpu"):
        now = _read(folder / "cpu.max").split()
        before = [_read(folder / f"cpu.cfs_{part}_us") for part in ("quota", "period")]
        for quota, period in filter(_both_given, (now, before)):
            yield int(quota) / int(period)


def _both_given(numbers: list[str]) -> bool:
    """Whether there is a quota and a period; none is "max" today and was -1 before."""
    return len(numbers) == 2 and all(part.isdigit() and int(part) for part in numbers)


def _groups(controller: str) -> Iterator[Path]:
    """The folders of the control groups this process is in, and of those around them."""
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root = _GROUPS
        elif controller in controllers.split(","):
            root = _GROUPS / controller
        else:
            continue
        group = Path(path.lstrip("/"))
        yield from (root / folder for folder in (group, *group.parents))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
