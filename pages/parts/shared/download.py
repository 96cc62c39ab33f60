"""Downloads: what is asked for is made then, if the person still may, and logged."""

from collections.abc import Callable

from gsc_core.team import acting
from gsc_core.team.journal import Event
from gsc_core.team.roles import Action


def logged(
    make: Callable[[], str | bytes], what: str, subject: str, file: str
) -> Callable[[], str | bytes]:
    """A function for a download button that makes the file in the name of who sees the button.

    A download runs in a thread that knows no visitor.
    """
    person = acting.current()

    def made() -> str | bytes:
        with acting.acting_as(person):
            acting.ensure(Action.SEE)
            content = make()
            acting.record(Event.DOWNLOADED, what, subject, file)
            return content

    return made
