"""The log: what is written is read again, whatever is in a name and whoever writes beside it."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from browser import PATIENCE
from places import ROOT

from gsc_core.errors import GscError
from gsc_core.team import journal
from gsc_core.team.journal import JOURNAL_FILE, Entry, Event, Wanted

HOSTILE = "a\nb\r\x1b[2J\u2028\u202e{}\"'\\ \ud800 日本 <script>"

SHOWN = HOSTILE.replace("\ud800", "\\ud800")  # half a letter is none


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def names(**wanted: object) -> list[str]:
    return [entry.name for entry in journal.read(Wanted(**wanted)).entries]


def test_a_hostile_name_stays_one_line_of_plain_letters(home):
    journal.append(Entry(event=Event.ADDED, name=HOSTILE, person="eve\n@example.org"))
    journal.append(Entry(event=Event.DELETED, name="next"))
    content = (home / JOURNAL_FILE).read_bytes()
    assert content.count(b"\n") == 2
    assert all(32 <= byte < 127 or byte == 10 for byte in content)
    assert json.loads(content.splitlines()[0])["name"] == SHOWN
    assert names() == ["next", SHOWN]


def test_a_line_that_was_cut_off_spoils_itself_alone(home):
    journal.append(Entry(event=Event.ADDED, name="first"))
    with (home / JOURNAL_FILE).open("ab") as file:
        file.write(b'{"time": 1, "event": "add')  # here the power went
    journal.append(Entry(event=Event.ADDED, name="second"))
    reading = journal.read()
    assert ([entry.name for entry in reading.entries], reading.damaged) == (["second", "first"], 1)


@pytest.mark.parametrize("damage", [b"", b"\n\n\n", b"\0" * 99, b"\xff\xfe\n[]\n1\n{}\n"])
def test_a_damaged_file_is_read_as_far_as_it_goes(home, damage):
    home.mkdir()
    (home / JOURNAL_FILE).write_bytes(damage)
    journal.append(Entry(event=Event.ADDED, name="after"))
    assert names() == ["after"]


def test_what_was_written_before_stays_byte_for_byte(home):
    journal.append(Entry(event=Event.ADDED, name="first"))
    before = (home / JOURNAL_FILE).read_bytes()
    for number in range(30):
        journal.append(Entry(event=Event.CHANGED, name=f"{number}"))
    assert (home / JOURNAL_FILE).read_bytes().startswith(before)
    assert (home / JOURNAL_FILE).stat().st_mode & 0o777 == 0o600


def test_long_files_are_read_from_their_end():
    for number in range(900):  # some blocks of 64 kB
        journal.append(Entry(event=Event.ADDED, name=f"{number}", detail="é" * 60))
    assert names() == [f"{number}" for number in reversed(range(900))]
    assert len(journal.read(most=7).entries) == 7


@pytest.mark.slow
def test_many_processes_write_whole_lines():
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from gsc_core.team.journal import *\n"
        "for n in range(60): append(Entry(event=Event.ADDED, name=sys.argv[1] + 'x' * 290))"
    )
    running = [subprocess.Popen([sys.executable, "-c", script, str(n)]) for n in range(4)]
    assert [process.wait(PATIENCE) for process in running] == [0] * 4
    reading = journal.read()
    assert (len(reading.entries), reading.damaged) == (240, 0)


def test_a_disk_that_takes_half_a_line_has_none_of_it(home):
    """A limit on the size of files ends the write in the middle, as a full disk does."""
    script = (
        f"import resource, signal, sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from gsc_core.team.journal import *\n"
        "from gsc_core.errors import GscError\n"
        "append(Entry(event=Event.ADDED, name='first'))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "size = (home() / JOURNAL_FILE).stat().st_size + 10\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))\n"
        "try: append(Entry(event=Event.ADDED, name='second'))\n"
        "except GscError as error: print(error)\n"
    )
    said = subprocess.check_output([sys.executable, "-c", script], text=True)
    assert "The disk is full" in said
    reading = journal.read()
    assert ([entry.name for entry in reading.entries], reading.damaged) == (["first"], 0)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_filters_leave_what_is_asked_for():
    for time, person, event, subject in (
        (10.0, "ann@example.org", Event.ADDED, "m1"),
        (20.0, "bob@example.org", Event.DELETED, "m1"),
        (30.0, "ann@example.org", Event.SHARED, "r1"),
        (40.0, None, Event.DELETED, "r1"),
    ):
        journal.append(
            Entry(time=time, person=person, event=event, subject=subject, name=f"{time:g}")
        )
    assert names(person="Ann@example.org") == ["30", "10"]
    assert names(events=(Event.DELETED, Event.SHARED)) == ["40", "30", "20"]
    assert names(since=20.0, subject="m1") == ["20"]


def _log(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gsc_core", "log", *words],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_command_shows_it_without_control_characters():
    journal.append(Entry(event=Event.ADDED, person="ann@example.org", role="auditor", name=HOSTILE))
    journal.append(Entry(event=Event.DELETED, person="bob@example.org", name="other"))
    shown = _log("--person", "ann@example.org")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("\n") == 1
    assert shown.stdout.rstrip("\n").isprintable()
    assert "ann@example.org (auditor)  added" in shown.stdout
    as_json = _log("--json", "--event", "added")
    assert json.loads(as_json.stdout)["name"] == SHOWN
    assert _log("--event", "nonsense").returncode == 2
    wrong = _log("--since", "yesterday")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert _log("--since", "2999-01-01").stdout == ""


def test_a_folder_in_its_place_is_a_sentence(home):
    (home / JOURNAL_FILE).mkdir(parents=True)
    with pytest.raises(GscError, match="cannot be written"):
        journal.append(Entry(event=Event.ADDED))
