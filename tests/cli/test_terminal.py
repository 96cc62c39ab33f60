"""Names on a terminal: shown, and never obeyed by it."""

import json
import re
from pathlib import Path

import pytest
from command_line import gsc
from hypothesis import example, given
from hypothesis import strategies as st
from pictured_run import write_pictured_run
from rich.console import Console

from gsc_core import cli
from gsc_core.cli.terminal import Text, shown
from gsc_core.run.marks import MARKS_FILE

STEERING = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.\ud800\r\u2028"
# What ECMA-48 calls C0 and C1, but for the tab and the new line, and what turns the direction.
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@given(st.text())
@example(STEERING)
def test_nothing_steers_and_all_else_stays(text):
    written = shown(text)
    assert not OBEYED.search(written)
    written.encode()
    assert all(c in written for c in text if c.isprintable() or c in "\n\t")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_means_the_same(text):
    assert json.loads(shown(json.dumps(text, ensure_ascii=False))) == text


def test_a_table_shows_a_name_and_does_not_obey_it(capsys):
    Console(force_terminal=True, width=200).print(Text(STEERING))
    assert "owned" in (said := capsys.readouterr().out)
    assert not OBEYED.search(said)


@pytest.mark.slow
def test_a_mark_is_listed_whatever_its_image_is_called(tmp_path, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))
    folder = write_pictured_run(tmp_path / "audit")
    assert gsc("mark", folder, "signs/signs/00000.png", "--as", "unusable").code == 0
    stored = json.loads((folder / MARKS_FILE).read_text())
    stored["marks"][0]["file"] = name = STEERING.replace("\ud800", "")
    (folder / MARKS_FILE).write_text(json.dumps(stored))
    listed, refused = gsc("mark", folder), gsc("mark", folder, name, "--as", "unusable")
    assert "owned" in listed.out
    assert "owned" in refused.err
    assert not OBEYED.search(listed.out + refused.err)


def test_every_command_writes_by_these():
    assert cli.__file__ is not None
    another_way = re.compile(r"std(out|err)\.write|(?<![._])print\(|rich\.text")
    for path in Path(cli.__file__).parent.glob("*.py"):
        source = path.read_text(encoding="utf-8")
        if path.name != "terminal.py":
            assert not another_way.search(source), path.name
