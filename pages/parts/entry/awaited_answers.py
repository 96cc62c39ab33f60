"""Answers that a browser waits for reach it, also when the page is drawn anew at that moment.

When a page's script starts, Streamlit drops what the session was about to send: it is of the run
before. Among that can be the addresses to which the browser was to upload a file. Nobody asks for
them twice, so a file that is chosen just after something else on the page would never arrive, and
nothing would say so.
"""

from streamlit.runtime import app_session
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue

_ANSWERS = frozenset({"file_urls_response", "backend_operation_response"})


class PatientQueue(ForwardMsgQueue):
    """A session's queue to its browser, which no new run empties of answers."""

    def clear(
        self,
        retain_lifecycle_msgs: bool = False,
        fragment_ids_this_run: list[str] | None = None,
    ) -> None:
        """Forget what waits, but no answer when a run starts (`retain_lifecycle_msgs`)."""
        waiting = self._queue if retain_lifecycle_msgs else []
        answers = [each for each in waiting if each.WhichOneof("type") in _ANSWERS]
        super().clear(retain_lifecycle_msgs, fragment_ids_this_run)
        left = {id(each) for each in self._queue}
        self._queue += [each for each in answers if id(each) not in left]


def lose_no_answers() -> None:
    """Give every session from now on such a queue."""
    app_session.ForwardMsgQueue = PatientQueue  # type: ignore[attr-defined]
