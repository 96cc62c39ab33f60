"""`gsc mark`: marks beside an audit's own folder and in a workspace; the gate judges the audit."""

import json

import pytest
from command_line import gsc
from pictured_run import write_pictured_run

from gsc_core.report.schema import read_report
from gsc_core.run.marks import by_row
from gsc_core.run.stored import Run
from gsc_core.team import journal
from gsc_core.team.journal import Event, Wanted

LIMITS = '[[rule]]\nmetric = "stranger_pictures"\nat_least = 9\nset = "signs"\n'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))
    return write_pictured_run(tmp_path / "audit")


@pytest.mark.slow
def test_images_are_marked_listed_and_taken_back(folder, tmp_path):
    assert gsc("mark", folder).out == "No image of this run is marked.\n"
    named = ["signs/signs/00000.png", "signs/signs/00003.png"]
    ran = gsc("mark", folder, *named, "--as", "not unfamiliar", "--note", "a sign")
    assert ran.code == 0
    assert "signs/signs/00003.png: not unfamiliar; a sign\n" in ran.out
    assert "2 images are left out (2 not unfamiliar). As audited," in ran.out
    assert gsc("mark", folder, "id/id/00001.png", "--label", "owl").code == 0
    assert by_row(Run.load(folder))[51].label == 2
    policy = tmp_path / "policy.toml"
    policy.write_text(LIMITS)
    ran = gsc("gate", folder, "--policy", policy, "--json")
    assert ran.code == 0, "all ten images count"
    assert "the gate judges the audit" in json.loads(ran.out)["marked"]
    out = tmp_path / "report.json"
    assert gsc("report", folder, "--out", out, "--without-channels").code == 0
    assert read_report(out.read_bytes()).without_marked.left_out == 2
    ran = gsc("mark", folder, *named, "id/id/00001.png", "--undo")
    assert ran.out == "No image of this run is marked.\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--as", "unusable"], "No image was named"),
        (["signs/signs/00000.png", "--undo", "--note", "a"], "--undo takes marks back: leave out"),
        (["signs/none.png", "--as", "unusable"], "has no image signs/none.png"),
        (["elsewhere/x.png", "--as", "unusable"], "has no image elsewhere/x.png"),
        (["signs/signs/00000.png", "--as", "wrong"], "is not a mark"),
        (["id/id/00000.png", "--label", "bird"], "is not a class of the model"),
        (["signs/signs/00000.png", "--as", "not familiar"], "is an unfamiliar image"),
    ],
)
@pytest.mark.slow
def test_what_cannot_be_is_one_sentence(folder, words, sentence):
    ran = gsc("mark", folder, *words)
    assert (ran.code, ran.out) == (2, "")
    assert sentence in ran.err
    assert not (folder / "marks.json").exists()


@pytest.mark.slow
def test_a_name_of_two_classes_asks_for_a_number(tmp_path):
    folder = write_pictured_run(tmp_path / "audit", names=("crane", "owl", "crane"))
    ran = gsc("mark", folder, "id/id/00000.png", "--label", "crane")
    assert ran.code == 2
    assert "more than one class: give its number, 0 or 2" in ran.err
    assert gsc("mark", folder, "id/id/00000.png", "--label", "2").code == 0
    assert by_row(Run.load(folder))[50].label == 2


@pytest.mark.slow
def test_in_a_workspace_it_is_logged(tmp_path, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    write_pictured_run(tmp_path / "runs" / "demo")
    assert gsc("mark", "demo", "signs/signs/00000.png", "--as", "unusable").code == 0
    (entry,) = journal.read(Wanted(events=(Event.MARKED,))).entries
    assert entry.detail == "1 as unusable: signs/signs/00000.png"
