"""Published reports on disk: who opens one, until when, and what is left behind."""

import multiprocessing
import os
import re
import stat
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gsc_core.errors import GscError
from gsc_core.workspace import history, shares
from gsc_core.workspace.cleanup import tidy

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PAGE = '<!doctype html><title>Report</title><p>ä 🚦\n</p><img src="data:,">'


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    for name in ("demo", "other"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    return tmp_path


def files(home: Path) -> list[Path]:
    return sorted((home / "shares").iterdir())


def test_what_was_published_is_opened_word_for_word(home):
    new = shares.publish("demo", PAGE, days=7, now=NOW)
    found = shares.opened(new.token, NOW)
    assert found is not None
    assert found.page == PAGE
    assert found.share == new.share
    assert found.share.title == "Demo: road signs"
    assert found.share.with_images
    assert not shares.publish("demo", "<p>&lt;img src=x&gt;", days=1, now=NOW).share.with_images


@pytest.mark.parametrize("days", [1, 7, 90])
def test_it_ends_to_the_second(home, days):
    token = shares.publish("demo", PAGE, days=days, now=NOW).token
    end = NOW + timedelta(days=days)
    assert shares.opened(token, end - timedelta(seconds=1)) is not None
    assert shares.opened(token, end) is None
    assert shares.shared("demo", end - timedelta(seconds=1))
    assert not shares.shared("demo", end)


@pytest.mark.parametrize("days", [0, -1, 91, 10**6])
def test_another_time_is_refused(home, days):
    with pytest.raises(GscError, match="1 to 90 days"):
        shares.publish("demo", PAGE, days=days)
    assert not (home / "shares").exists()


@pytest.mark.parametrize("run_id", ["gone", "../runs/demo", ""])
def test_a_run_that_is_not_there_is_refused(home, run_id):
    with pytest.raises(GscError):
        shares.publish(run_id, PAGE, days=1)
    assert not (home / "shares").exists()


def test_a_revoked_address_leads_nowhere_and_the_others_stay(home):
    first, second = (shares.publish("demo", PAGE, days=7, now=NOW) for _ in range(2))
    shares.revoke(first.share.id)
    shares.revoke(first.share.id)  # by a second browser
    assert shares.opened(first.token, NOW) is None
    assert shares.opened(second.token, NOW) is not None
    assert [share.id for share in shares.shared("demo", NOW)] == [second.share.id]
    assert len(files(home)) == 1


@pytest.mark.parametrize("wrong", ["", "..", "../runs/demo", "a" * 63, "A" * 64, "a" * 64 + "\n"])
def test_only_an_id_is_revoked(home, wrong):
    with pytest.raises(GscError, match="no such shared report"):
        shares.revoke(wrong)


def test_the_disk_does_not_tell_the_address(home):
    new = shares.publish("demo", PAGE, days=7, now=NOW)
    (file,) = files(home)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert re.fullmatch(r"[\w-]{43}", new.token)
    for path in home.rglob("*"):
        assert new.token not in path.name
        assert not path.is_file() or new.token.encode() not in path.read_bytes()
    assert shares.opened(new.share.id, NOW) is None  # what the disk does tell opens nothing
    assert shares.opened(new.share.id[:43], NOW) is None
    assert shares.publish("demo", PAGE, days=7, now=NOW).token != new.token


def test_every_single_letter_of_the_token_counts(home):
    token = shares.publish("demo", PAGE, days=7, now=NOW).token
    for i, letter in enumerate(token):
        other = "A" if letter != "A" else "B"
        assert shares.opened(token[:i] + other + token[i + 1 :], NOW) is None
    for near in (
        token[:-1],
        token + "A",
        token + "\n",
        " " + token,
        token + "\0",
        token.swapcase(),
    ):
        assert shares.opened(near, NOW) is None


@pytest.mark.slow
@given(st.one_of(st.text(), st.from_regex(r"(\.\./)*[\w./%-]*(\x00|\n)?", fullmatch=True)))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_else_opens_anything(home, token):
    if not (home / "shares").is_dir():
        shares.publish("demo", PAGE, days=7, now=NOW)
    assert shares.opened(token, NOW) is None
    assert len(files(home)) == 1


def test_no_path_is_made_of_a_token_that_is_none(home, monkeypatch):
    monkeypatch.setattr(shares, "_path", lambda _: pytest.fail("a path was made"))
    for token in ("../../runs/demo/metrics", "a" * 42, "a" * 44, "ä" * 43, "/etc/passwd", "\0"):
        assert shares.opened(token, NOW) is None


def test_the_list_is_the_runs_own_and_newest_first(home):
    ids = [
        shares.publish("demo", PAGE, days=7, now=NOW + timedelta(hours=i)).share.id
        for i in range(3)
    ]
    foreign = shares.publish("other", PAGE, days=7, now=NOW)
    assert [share.id for share in shares.shared("demo", NOW)] == ids[::-1]
    assert shares.shared("other", NOW) == (foreign.share,)


def test_a_deleted_run_takes_its_shares_along(home):
    gone, stays = (shares.publish(run, PAGE, days=7) for run in ("demo", "other"))
    history.delete_run("demo")
    (home / "runs" / "demo").mkdir()  # the demo runs again, under the same name
    assert shares.opened(gone.token) is None
    assert shares.opened(stays.token) is not None
    assert [file.stem for file in files(home)] == [stays.share.id]


def test_a_run_removed_by_hand_is_shared_no_more(home):
    token = shares.publish("demo", PAGE, days=7).token
    (home / "runs" / "demo").rmdir()
    assert shares.opened(token) is None
    assert not shares.shared("demo")
    shares.prune()
    assert not files(home)


def test_what_has_expired_is_removed_by_the_next_who_publishes_and_by_a_worker(home):
    shares.publish("demo", PAGE, days=1, now=NOW)
    second = shares.publish("demo", PAGE, days=7, now=NOW + timedelta(days=2))
    assert [file.stem for file in files(home)] == [second.share.id]
    third = shares.publish("demo", PAGE, days=90)  # by the true clock, as the worker goes
    old = shares.publish("demo", PAGE, days=1, now=datetime(2020, 1, 1, tzinfo=UTC))
    half, fresh = (home / "shares" / f"{letter}.share.part" for letter in "ab")
    for part in (half, fresh):
        part.touch()
    os.utime(half, (1e9, 1e9))
    tidy()
    left = {file.name.split(".")[0] for file in files(home)}
    assert third.share.id in left
    assert "b" in left
    assert not left & {old.share.id, "a"}


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"\xff\n", b"[]\npage", b"{}\npage", b'{"id": 1'])
def test_a_damaged_share_is_as_if_there_were_none(home, content):
    new = shares.publish("demo", PAGE, days=7, now=NOW)
    files(home)[0].write_bytes(content)
    assert shares.opened(new.token, NOW) is None
    assert shares.shared("demo", NOW) == ()
    shares.prune(NOW)


def test_a_share_under_another_name_is_damaged(home):
    """Else it could be opened and would never be listed, nor revoked with its run."""
    first, second = (shares.publish("demo", PAGE, days=7, now=NOW) for _ in range(2))
    folder = home / "shares"
    (folder / f"{first.share.id}.share").replace(folder / f"{second.share.id}.share")
    assert shares.opened(second.token, NOW) is None
    assert shares.shared("demo", NOW) == ()


def test_a_share_that_names_a_place_outside_is_damaged(home):
    new = shares.publish("demo", PAGE, days=7, now=NOW)
    elsewhere = new.share.model_copy(update={"run": "../runs/demo"})
    files(home)[0].write_text(f"{elsewhere.model_dump_json()}\n{PAGE}")
    assert shares.opened(new.token, NOW) is None
    shares.prune(NOW)


def test_a_disk_that_refuses_is_one_sentence(home):
    (home / "shares").write_text("a file where the folder should be")
    with pytest.raises(GscError, match="cannot be written"):
        shares.publish("demo", PAGE, days=7)
    assert shares.shared("demo") == ()


def publish_many(number: int) -> list[str]:
    page = f"<p>{number}</p>" * 20_000
    return [shares.publish("demo", page, days=7).token for _ in range(20)]


@pytest.mark.slow
def test_several_processes_publish_at_once(home):
    with ProcessPoolExecutor(3, multiprocessing.get_context("fork")) as processes:
        outputs = list(processes.map(publish_many, range(3)))
    for number, tokens in enumerate(outputs):
        for token in tokens:
            found = shares.opened(token)
            assert found is not None
            assert found.page == f"<p>{number}</p>" * 20_000
    assert len(shares.shared("demo")) == len(files(home)) == 60
