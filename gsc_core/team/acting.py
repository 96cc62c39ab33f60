"""Who acts now, and whether they may: asked where a thing is done, not where a button is drawn."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from gsc_core.errors import GscError
from gsc_core.team import journal
from gsc_core.team.journal import Entry, Event
from gsc_core.team.roles import ALONE, Action, Person, refusal

EXPIRED = "Your login has expired: log in again."


class NotAllowedError(GscError):
    """The person who asks may not do this."""


class _Asking:
    """How this process learns who acts: the app asks its login, everything else acts alone."""

    who: Callable[[], Person] = staticmethod(lambda: ALONE)


_given: ContextVar[Person | None] = ContextVar("given", default=None)


def ask_for_person(who: Callable[[], Person]) -> None:
    """Let a server say who acts in the thread at hand."""
    _Asking.who = staticmethod(who)


@contextmanager
def acting_as(person: Person) -> Iterator[None]:
    """Act for a person where the thread at hand does not tell: a download, a test."""
    token = _given.set(person)
    try:
        yield
    finally:
        _given.reset(token)


def current() -> Person:
    """Who acts."""
    return _given.get() or _Asking.who()


def permits(action: Action, owner: str | None = None) -> bool:
    """Whether who acts may do this to a record with that owner: what to draw."""
    person = current()
    return time.time() < person.until and person.may(action, owner)


def ensure(action: Action, owner: str | None = None) -> Person:
    """Who acts, if they may do this to a record with that owner.

    Raises NotAllowedError, and the attempt is logged.
    """
    person = current()
    if time.time() >= person.until:
        raise NotAllowedError(EXPIRED)
    if not person.may(action, owner):
        record(Event.REFUSED, detail=action)
        raise NotAllowedError(refusal(person, action, owner))
    return person


def record(
    event: Event, what: str = "", subject: str = "", name: str = "", detail: str = ""
) -> None:
    """Log what who acts has done; see `journal.Entry`. Raises SpecError when the disk refuses."""
    person = current()
    journal.append(
        Entry(
            event=event,
            person=person.name,
            role=person.role,
            what=what,
            subject=subject,
            name=name,
            detail=detail,
        )
    )
