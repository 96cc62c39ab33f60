"""`gsc report`: four formats, from a run of the workspace or from an audit's own folder."""

import csv
import io
import json
import re
import shutil
from pathlib import Path

import pytest
from command_line import gsc
from pypdf import PdfReader
from small_run import RUN, copy, make

from gsc_core.evaluation.thresholds import Typed
from gsc_core.report.schema import read_report
from gsc_core.run import decisions
from gsc_core.run.stored import Run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stage and a finished run."""
    return make(tmp_path_factory.mktemp("made"))


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copy(made, tmp_path, monkeypatch)


def text_of(pdf: Path) -> str:
    return " ".join(" ".join(page.extract_text().split()) for page in PdfReader(pdf).pages)


@pytest.mark.slow
def test_four_formats_tell_the_same(folder: Path, tmp_path: Path) -> None:
    ran = [gsc("report", RUN, "--out", tmp_path / f"r.{kind}") for kind in ("json", "html", "pdf")]
    assert [each.code for each in ran] == [0, 0, 0]
    assert ran[0].out == f"Report: {tmp_path / 'r.json'}\n"
    assert "explaining the images 10/12" in ran[0].err
    assert ran[1].err + ran[2].err == "", "they are looked up once"
    report = read_report((tmp_path / "r.json").read_bytes())
    assert report.channels_note is None
    told = report.verdict
    assert told in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert told in text_of(tmp_path / "r.pdf")
    assert (tmp_path / "r.html").read_text(encoding="utf-8").count("the answer falls from") == 12
    assert text_of(tmp_path / "r.pdf").count("the answer falls from") == 12

    assert gsc("report", RUN, "--out", tmp_path / "r.csv").code == 0
    table = list(csv.DictReader(io.StringIO((tmp_path / "r.csv").read_text("utf-8-sig"))))
    assert len(table) == sum(images.scored for images in Run.load(folder).images.values())
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.slow
def test_the_format_may_be_given(folder: Path, tmp_path: Path) -> None:
    ran = gsc("report", RUN, "--out", tmp_path / "report.txt", "--format", "json")
    assert ran.code == 0
    assert json.loads((tmp_path / "report.txt").read_bytes())["run"] == RUN


def test_without_channels_nothing_is_looked_up(folder: Path, tmp_path: Path) -> None:
    ran = gsc("report", RUN, "--out", tmp_path / "r.html", "--without-channels")
    assert (ran.code, ran.err) == (0, "")
    assert "were not computed" in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert not (folder / "explanations").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["html", "pdf", "json", "csv"])
def test_without_images_no_file_is_named(folder: Path, tmp_path: Path, kind: str) -> None:
    assert gsc("report", RUN, "--out", tmp_path / "with.html").code == 0
    out = tmp_path / f"r.{kind}"
    assert gsc("report", RUN, "--out", out, "--without-images").code == 0
    text = text_of(out) if kind == "pdf" else out.read_text(encoding="utf-8")
    names = {Path(name).name for name in Run.load(folder).files().to_pylist()}
    assert [name for name in names if name in (tmp_path / "with.html").read_text("utf-8")]
    assert not [name for name in names if name in text]
    assert "data:image" not in text


@pytest.mark.slow
def test_an_audit_in_a_folder_of_its_own(made: Path, folder: Path, tmp_path: Path) -> None:
    """It has no decision, even where a run of the workspace with the same name has one."""
    run = Run.load(folder)
    typed = decisions.decide(run, "knn", Typed(value=1.0))
    decisions.store(run, typed)
    assert gsc("report", RUN, "--out", tmp_path / "kept.json").code == 0
    assert read_report((tmp_path / "kept.json").read_bytes()).decision.detector == "knn"
    for name in (RUN, "my audit (1)"):
        own = tmp_path / "elsewhere" / name
        shutil.copytree(made / "home" / "runs" / RUN, own)
        ran = gsc("report", own, "--out", tmp_path / "own.json")
        assert ran.code == 0, ran.err
        report = read_report((tmp_path / "own.json").read_bytes())
        assert (report.title, report.decision.chosen) == (name, None)
        assert report.decision.detector == decisions.default_detector(run)
        assert report.channels_note is None
        assert all(one.thumbnail for group in report.pictures for one in group.pictures)
        assert len(list((own / "explanations").iterdir())) == 12


def test_a_model_that_is_gone_costs_the_channels_alone(
    made: Path, folder: Path, tmp_path: Path
) -> None:
    stored = json.loads((folder / "spec.json").read_text())
    stored["model"]["checkpoint"] = str(tmp_path / "gone.pt2")
    (folder / "spec.json").write_text(json.dumps(stored))
    ran = gsc("report", RUN, "--out", tmp_path / "r.html")
    assert ran.code == 0
    assert re.search(r"The short-circuited channels are left out: .*gone\.pt2", ran.err)
    assert "were not computed" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("run", "out", "says"),
    [
        (RUN, "report.docx", r"does not say the format: end it in \.html, \.pdf, \.json or \.csv"),
        (RUN, "taken.html", "is a folder"),
        (RUN, "file/report.html", "file"),
        ("nothing-here", "r.html", 'no result for the run "nothing-here"'),
        ("../up", "r.html", "A run is named with letters"),
    ],
)
def test_what_a_person_can_mend_is_one_sentence(
    folder: Path, tmp_path: Path, run: str, out: str, says: str
) -> None:
    (tmp_path / "taken.html").mkdir()
    (tmp_path / "file").write_text("in the way")
    before = sorted(tmp_path.iterdir())
    ran = gsc("report", run, "--out", tmp_path / out, "--without-channels")
    assert (ran.code, ran.out) == (2, "")
    assert re.search(says, ran.err)
    assert ran.err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before
