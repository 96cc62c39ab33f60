"""Makes `index-2.db`, the index as commit 4fddbf1 writes it; README.md says how to run it."""

import os
import shutil
from pathlib import Path

HOME = Path("/srv/gsc/home")
os.environ |= {"GSC_HOME": str(HOME), "GSC_WORKERS": "elsewhere"}

from gsc_core.errors.questions import Question  # noqa: E402
from gsc_core.jobs import queue  # noqa: E402
from gsc_core.jobs.database import (  # noqa: E402
    Kind,
    Lane,
    Readiness,
    State,
    StoredModel,
    StoredSet,
    session,
)


def main() -> None:
    """A model, two sets, and a job in each state."""
    with session() as db:
        facts = {"num_classes": 3}
        spec = {"checkpoint": str(HOME / "models" / ("ab" * 32) / "small.pt2")}
        db.add(StoredModel(id="0123456789ab", name="small", spec=spec, facts=facts, created=1000.0))
        for role in ("id", "ood"):
            db.add(
                StoredSet(
                    id=f"set-{role}",
                    name=role,
                    role=role,
                    folder=str(HOME / "imagesets" / f"set-{role}" / "pictures"),
                    readiness=Readiness.READY,
                    images=40,
                    created=1001.0,
                )
            )
    for state in (State.DONE, State.FAILED, State.CANCELLED, State.RUNNING, State.QUEUED):
        job = queue.submit(Kind.AUDIT, f"an audit, {state}", f"run-{state}", {"of": state}, 80)
        if state is State.QUEUED:
            continue
        if state is not State.CANCELLED:
            queue.claim(Lane.AUDIT, 7)
        if state is State.CANCELLED:
            queue.cancel(job.id)
        elif state is not State.RUNNING:
            asked = Question(doubt="x", otherwise="y") if state is State.FAILED else None
            queue.end(job.id, state, None if asked is None else "x: y.", asked)
    shutil.copyfile(HOME / "workspace.db", Path(__file__).with_name("index-2.db"))


if __name__ == "__main__":
    main()
