"""Uploads on disk: what came is given back, limits hold, and nothing outlives its session."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gsc_core.errors import GscError, SpecError
from gsc_core.team.settings import QuotaError
from gsc_core.workspace.upload_spool import SEEN_AFTER_S, Departures, UploadLimits, UploadSpool

KILLED = """
import os, signal, sys
from pathlib import Path
from gsc_core.workspace.upload_spool import UploadLimits, UploadSpool
spool = UploadSpool(Path(sys.argv[1]), UploadLimits.configured())
spool.let_in("s", True)
with spool.receiving("s", "f") as write:
    write(b"12345")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def spool(tmp_path: Path) -> UploadSpool:
    spool = UploadSpool(tmp_path / "uploads", UploadLimits(session_bytes=100, total_bytes=150))
    for session in ("ann", "bob"):
        spool.let_in(session, True)
    return spool


def sent(spool: UploadSpool, session: str, file: str, content: bytes) -> None:
    with spool.receiving(session, file) as write:
        for at in range(0, len(content), 7):
            write(content[at : at + 7])


def files(tmp_path: Path) -> list[Path]:
    return [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_session_is_told_that_a_file_of_its_own_is_on_its_way(spool, monkeypatch):
    """From its first byte until the page has read it, or could have for some seconds."""
    with spool.receiving("ann", "1") as write:
        write(b"1")
        assert (spool.arriving("ann"), spool.arriving("bob")) == (True, False)
    assert spool.arriving("ann"), "its page may not know yet"
    spool.opened("ann", "1")
    assert not spool.arriving("ann")
    sent(spool, "ann", "2", b"2")
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + SEEN_AFTER_S + 1)
    assert not spool.arriving("ann"), "the browser gave it up"
    with pytest.raises(QuotaError), spool.receiving("bob", "3") as write:
        write(b"x" * 101)
    assert not spool.arriving("bob")


def test_what_came_is_read_from_its_start_again_and_again(spool):
    sent(spool, "ann", "1", b"0123456789")
    stream = spool.opened("ann", "1", "digits.txt")
    assert stream is not None
    assert stream.name == "digits.txt"
    assert stream.read(4) + stream.read() == b"0123456789"
    assert stream.read() == b""
    assert stream.seek(-3, os.SEEK_END) == 7
    assert stream.read() == b"789"
    stream.seek(1)
    assert stream.seek(1, os.SEEK_CUR) == 2
    assert stream.read(2) == b"23"
    with pytest.raises(ValueError, match="no place -1"):
        stream.seek(-1)
    assert spool.opened("bob", "1") is None
    assert spool.opened("ann", "2") is None


def test_a_thousand_uploads_hold_no_files_open(spool, tmp_path):
    spool = UploadSpool(tmp_path / "many", UploadLimits.configured())
    spool.let_in("ann", True)
    for number in range(1000):
        sent(spool, "ann", str(number), b"x")
    before = len([*Path("/proc/self/fd").iterdir()])
    streams = [spool.opened("ann", str(number)) for number in range(1000)]
    assert [stream.read() for stream in streams if stream] == [b"x"] * 1000
    assert len([*Path("/proc/self/fd").iterdir()]) == before


def test_a_session_and_all_together_have_a_limit(spool, tmp_path):
    sent(spool, "ann", "1", bytes(90))
    with pytest.raises(QuotaError, match="Your uploads are more than 0 MB"):
        sent(spool, "ann", "2", bytes(11))
    sent(spool, "ann", "3", bytes(10))
    with pytest.raises(QuotaError, match="All uploads together are more than"):
        sent(spool, "bob", "1", bytes(51))
    sent(spool, "bob", "1", bytes(50))
    assert spool.room("ann") == spool.room("bob") == 0
    spool.drop("ann", "1")
    assert (spool.room("ann"), spool.room("bob")) == (90, 50 - 50 + 50)
    assert sum(path.stat().st_size for path in files(tmp_path)) == 60


def test_a_file_that_is_sent_again_takes_the_place_of_the_first(spool, tmp_path):
    sent(spool, "ann", "1", bytes(90))
    sent(spool, "ann", "1", b"new")
    stream = spool.opened("ann", "1")
    assert stream is not None and stream.read() == b"new"
    assert spool.room("ann") == 97
    assert len(files(tmp_path)) == 1


def test_what_breaks_off_leaves_nothing(spool, tmp_path):
    with pytest.raises(ConnectionError), spool.receiving("ann", "1") as write:
        write(bytes(60))
        raise ConnectionError
    assert not files(tmp_path)
    assert spool.room("ann") == 100


def test_the_end_of_a_session_removes_its_files_and_its_right(spool, tmp_path):
    sent(spool, "ann", "1", bytes(10))
    sent(spool, "bob", "1", bytes(20))
    spool.release("ann")
    assert not spool.may_send("ann")
    assert [path.stat().st_size for path in files(tmp_path)] == [20]
    assert spool.room("bob") == 80
    spool.let_in("bob", False)  # logged out
    assert not spool.may_send("bob")
    assert not files(tmp_path)


def test_a_session_that_ends_while_it_sends_leaves_nothing(spool, tmp_path):
    with pytest.raises(QuotaError, match="session has ended"), spool.receiving("ann", "1") as write:
        write(bytes(60))
        spool.release("ann")
    assert not files(tmp_path)
    assert spool.room("bob") == 100


def test_a_closed_spool_leaves_no_folder(spool, tmp_path):
    sent(spool, "ann", "1", bytes(10))
    spool.close()
    assert not list(tmp_path.iterdir())


def test_what_a_killed_server_left_goes_and_a_living_ones_stays(spool, tmp_path):
    sent(spool, "ann", "1", bytes(10))
    within = tmp_path / "uploads"
    subprocess.run([sys.executable, "-c", KILLED, str(within)], check=False)
    assert sorted(path.stat().st_size for path in files(tmp_path)) == [5, 10]
    UploadSpool(within, UploadLimits.configured()).remove_abandoned()
    assert [path.stat().st_size for path in files(tmp_path)] == [10]


def test_a_disk_that_refuses_is_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    spool = UploadSpool(tmp_path / "file", UploadLimits.configured())
    spool.let_in("ann", True)
    with pytest.raises(SpecError, match="cannot be written"):
        sent(spool, "ann", "1", b"x")


def test_who_stays_away_for_long_has_left():
    departures, here = Departures(10), {"ann", "bob"}
    assert departures.ended(["ann", "bob"], here.__contains__, 0) == []
    here.remove("ann")
    assert departures.ended(["ann", "bob"], here.__contains__, 5) == []
    here.add("ann")  # a short break of the network
    assert departures.ended(["ann", "bob"], here.__contains__, 14) == []
    here.remove("ann")
    assert departures.ended(["ann", "bob"], here.__contains__, 16) == []
    assert departures.ended(["ann", "bob"], here.__contains__, 25.9) == []
    assert departures.ended(["ann", "bob"], here.__contains__, 26) == ["ann"]
    assert departures.ended(["bob"], here.__contains__, 99) == []


def test_the_operator_sets_the_limits(monkeypatch):
    assert UploadLimits.configured() == UploadLimits(4_000_000_000, 20_000_000_000)
    monkeypatch.setenv("GSC_UPLOAD_SESSION_MB", "7")
    monkeypatch.setenv("GSC_UPLOAD_TOTAL_MB", " 9 ")
    assert UploadLimits.configured() == UploadLimits(7_000_000, 9_000_000)
    monkeypatch.setenv("GSC_UPLOAD_TOTAL_MB", "a lot")
    with pytest.raises(GscError, match="GSC_UPLOAD_TOTAL_MB is 'a lot': set it to a whole number"):
        UploadLimits.configured()


def test_all_sessions_of_a_person_share_their_limit(tmp_path):
    spool = UploadSpool(tmp_path / "own", UploadLimits(10, 100))
    for session in ("one", "two"):
        spool.let_in(session, True, "ann@example.org")
    spool.let_in("other", True, "bob@example.org")
    with spool.receiving("one", "f") as write:
        write(b"x" * 8)
    assert [spool.room(session) for session in ("one", "two", "other")] == [2, 2, 10]
    with pytest.raises(QuotaError), spool.receiving("two", "f") as write:
        write(b"x" * 3)
    spool.release("one")
    assert spool.room("two") == 10


def test_a_session_whose_login_has_ended_sends_no_more(tmp_path):
    spool = UploadSpool(tmp_path / "own", UploadLimits.configured())
    spool.let_in("one", True, "ann@example.org", time.time() + 1000)
    assert spool.may_send("one")
    spool.let_in("one", True, "ann@example.org", time.time() - 1)
    assert not spool.may_send("one")


def test_another_person_in_a_session_does_not_get_the_first_ones_files(tmp_path):
    spool = UploadSpool(tmp_path / "own", UploadLimits.configured())
    spool.let_in("one", True, "ann@example.org")
    with spool.receiving("one", "f") as write:
        write(b"x")
    spool.let_in("one", True, "bob@example.org")
    assert spool.opened("one", "f") is None
    assert spool.may_send("one")
