"""Owners take turns: simulated with the real queue, and compared with a plain round robin."""

import random
from collections import Counter, deque

import pytest

from gsc_core.jobs import queue
from gsc_core.jobs.database import Job, Kind, Lane, State
from gsc_core.team import acting
from gsc_core.team.roles import ALONE, Person, Role
from gsc_core.team.settings import QuotaError


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))


def person(name: str) -> Person:
    return Person(name, Role.AUDITOR)


def submit(owner: str | None, title: str = "") -> Job:
    with acting.acting_as(ALONE if owner is None else person(owner)):
        return queue.submit(Kind.AUDIT, title or f"of {owner}", title or "run", {})


def served() -> Job | None:
    """Take the next job and end it."""
    job = queue.claim(Lane.AUDIT, 1)
    if job is not None:
        queue.end(job.id, State.DONE)
    return job


def test_who_asks_for_much_waits_for_who_asks_for_little():
    for number in range(5):
        submit("ann", f"a{number}")
    submit("bob", "b0")
    submit("cleo", "c0")
    submit("bob", "b1")
    order = [job.title for job in iter(served, None)]
    assert order == ["a0", "b0", "c0", "a1", "b1", "a2", "a3", "a4"]


def test_one_persons_jobs_keep_their_order():
    for number in range(6):
        submit(None, f"{number}")
    assert [job.title for job in iter(served, None)] == [f"{number}" for number in range(6)]


def test_a_late_comer_does_not_wait_for_all_that_was_there():
    for number in range(20):
        submit("ann", f"a{number}")
    assert served() is not None
    late = submit("bob", "b0")
    assert queue.position(late) == 0
    assert [served().title for _ in range(2)] == ["b0", "a1"]


def test_deleting_what_was_done_is_no_way_to_the_front():
    submit("ann", "a0")
    served()
    with queue.session() as db:
        for job in queue.jobs():
            db.delete(job)
    submit("ann", "a1")
    submit("bob", "b0")
    assert served().title == "b0"


def test_what_was_interrupted_goes_on_first():
    submit("ann", "a0")
    submit("bob", "b0")
    taken = queue.claim(Lane.AUDIT, 1)
    queue.take_back(Lane.AUDIT)  # its worker was killed
    again = queue.claim(Lane.AUDIT, 2)
    assert (taken.title, again.title, again.attempts) == ("a0", "a0", 2)


def test_a_clock_that_is_set_back_changes_no_turn(monkeypatch):
    submit("ann", "a0")
    served()
    submit("bob", "b0")
    served()
    monkeypatch.setattr("time.time", lambda: 5.0)
    submit("bob", "b1")
    submit("ann", "a1")
    assert [served().title for _ in range(2)] == ["a1", "b1"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_simulation_is_as_fair_as_a_round_robin(seed):
    """While both wait, no owner is served twice before another is once."""
    draw = random.Random(seed)
    owners = ["ann", "bob", "cleo", "dan"]
    waiting: dict[str, deque[str]] = {owner: deque() for owner in owners}
    since: Counter[tuple[str, str]] = Counter()  # how often one was served while another waited
    for step in range(150):
        for owner in draw.choices(owners, weights=[8, 2, 1, 1], k=draw.randint(0, 2)):
            title = f"{owner}-{step}-{len(waiting[owner])}"
            submit(owner, title)
            waiting[owner].append(title)
        promised = [job for job in queue.jobs(states=(State.QUEUED,)) if queue.position(job) == 0]
        job = served()
        if job is None:
            continue
        assert [job.title] == [first.title for first in promised], "the page says what happens"
        owner = job.owner
        assert waiting[owner].popleft() == job.title, "an owner's jobs keep their order"
        for other in owners:
            since[other, owner] = since[other, owner] + 1 if waiting[other] else 0
            since[owner, other] = 0
            assert since[other, owner] <= 1 or other == owner


def test_a_person_and_all_may_have_so_many_jobs(monkeypatch):
    monkeypatch.setenv("GSC_USER_JOBS", "2")
    monkeypatch.setenv("GSC_TOTAL_JOBS", "3")
    first = submit("ann", "a0")
    submit("ann", "a1")
    with pytest.raises(QuotaError, match=r"2 of your jobs are waiting .*you may have 2"):
        submit("ann", "a2")
    submit("bob", "b0")
    with pytest.raises(QuotaError, match=r"3 jobs are waiting .* allowed being 3"):
        submit("cleo", "c0")
    with acting.acting_as(person("ann")):
        queue.cancel(first.id)
        submit("ann", "a2")
        with pytest.raises(QuotaError):
            queue.retry(first.id)
    assert len(queue.jobs(states=(State.QUEUED,))) == 3
