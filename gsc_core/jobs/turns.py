"""Whose job comes next: owners take turns, and each owner's jobs keep their order."""

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence

from gsc_core.jobs.database import Job


def in_turn(queued: Sequence[Job], served: Mapping[str, float]) -> list[Job]:
    """Queued jobs, given the oldest first, in the order in which they are to be taken.

    `served` is larger, the later an owner's job was taken last; who is missing had no turn yet. A
    job that was interrupted goes on first: its owner had that turn already.
    """
    interrupted = [job for job in queued if job.started is not None]
    waiting: dict[str, deque[Job]] = defaultdict(deque)
    for job in queued:
        if job.started is None:
            waiting[job.owner or ""].append(job)
    # Sorting is stable: of owners who had no turn yet, the one who waits longest comes first.
    owners = deque(sorted(waiting, key=lambda owner: served.get(owner, 0.0)))
    order = interrupted
    while owners:
        owner = owners.popleft()
        order.append(waiting[owner].popleft())
        if waiting[owner]:
            owners.append(owner)
    return order
