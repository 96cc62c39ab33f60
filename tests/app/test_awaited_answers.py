"""What a browser asked for is sent to it, although the page starts anew at that moment."""

import pytest
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime import app_session

from pages.parts.entry.awaited_answers import lose_no_answers


@pytest.fixture
def queue(monkeypatch):
    """A new session's, in a server that has called `lose_no_answers`."""
    monkeypatch.setattr(app_session, "ForwardMsgQueue", app_session.ForwardMsgQueue)
    lose_no_answers()
    return app_session.ForwardMsgQueue()


def waiting(queue) -> list[str]:
    """Put one of each kind into the queue; their kinds."""
    addresses, drawn, finished = ForwardMsg(), ForwardMsg(), ForwardMsg()
    addresses.file_urls_response.response_id = "1"
    drawn.delta.new_element.text.body = "of the run before"
    drawn.metadata.delta_path.append(0)
    finished.script_finished = ForwardMsg.FINISHED_SUCCESSFULLY
    for message in (drawn, addresses, finished):
        queue.enqueue(message)
    return [message.WhichOneof("type") for message in (drawn, addresses, finished)]


def test_a_run_that_starts_drops_what_the_one_before_drew_and_no_answer(queue):
    waiting(queue)
    queue.clear(retain_lifecycle_msgs=True)
    sent = [message.WhichOneof("type") for message in queue.flush()]
    assert sorted(sent) == ["file_urls_response", "script_finished"]


def test_a_fragment_that_starts_sends_each_answer_once(queue):
    kinds = waiting(queue)
    queue.clear(retain_lifecycle_msgs=True, fragment_ids_this_run=["another"])
    assert [message.WhichOneof("type") for message in queue.flush()] == kinds


def test_what_was_sent_is_gone(queue):
    waiting(queue)
    queue.flush()
    assert queue.is_empty()


def test_later_elements_still_replace_earlier_ones(queue):
    waiting(queue)
    queue.clear(retain_lifecycle_msgs=True)
    for body in ("first", "second"):
        drawn = ForwardMsg()
        drawn.delta.new_element.text.body = body
        drawn.metadata.delta_path.append(0)
        queue.enqueue(drawn)
    sent = [message.delta.new_element.text.body for message in queue.flush()]
    assert [body for body in sent if body] == ["second"]
