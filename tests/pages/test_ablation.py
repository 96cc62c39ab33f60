"""The ablation's page and its work: nothing yet, at work, failed, done; and by the command line."""

import json
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
from opened_page import opened, words
from small_audit import PREPROCESS, write_stage
from stored_run import write_run

from gsc_core.ablation import Ablation, read_ablation, write_ablation
from gsc_core.ablation.findings import OUTDATED, answer
from gsc_core.ablation.gain import gain
from gsc_core.ablation.run import ablate
from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.cli.app import main
from gsc_core.errors import Cancelled, GscError
from gsc_core.jobs import queue
from gsc_core.jobs.database import Kind, State, session
from gsc_core.run.stored import Run
from gsc_core.workspace import ablations
from pages.parts.shared.text import duration

pytestmark = pytest.mark.slow

HOSTILE = "<b>x</b> [a](http://b) *c* :red[d] $e$"


IN_THE_PAPER = "In the paper, as summarised"


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a real small audit with its ablation, whose set of unfamiliar images is named
    badly."""
    stage = write_stage(tmp_path_factory.mktemp("stage"))
    spec = AuditSpec(
        model=ModelSpec(
            checkpoint=stage / "small.pt2", preprocessing=Preprocessing.parse(PREPROCESS)
        ),
        id=stage / "id",
        calibration=stage / "calibration",
        ood={"noise": stage / "noise", HOSTILE: stage / "faint"},
        detectors=(DetectorSpec(name="gsc"), DetectorSpec(name="energy")),
        repeats=20,
    )
    folder = tmp_path_factory.mktemp("audited") / "run"
    run_audit(spec, folder)
    ablate(spec, folder, images_per_set=30, layers=["first", "block"])
    return folder


@pytest.fixture
def before(home: Path, audited: Path) -> Path:
    """A run that was audited and not ablated yet."""
    folder = Path(shutil.copytree(audited, home / "done"))
    (folder / "ablation.parquet").unlink()
    return folder


@pytest.fixture
def after(home: Path, audited: Path) -> Path:
    return Path(shutil.copytree(audited, home / "done"))


def test_without_any_run_it_says_what_to_do(home: Path) -> None:
    app = opened("ablation")
    assert not app.exception
    assert "No audit has run yet" in words(app)


def test_before_it_is_started_it_explains_itself_and_how_long_it_takes(before: Path) -> None:
    app = opened("ablation", run="done")
    assert not app.exception
    assert "What does each part of GSC contribute" in words(app)
    assert "230 of the audit's images" in words(app), "60 + 80 + 40 + 50"
    assert f"about {duration(ablations.estimate(Run.load(before)))}." in words(app)
    assert [button.key for button in app.button] == ["ablation_start"]


def test_started_it_waits_in_the_queue_and_is_not_started_twice(before: Path) -> None:
    app = opened("ablation", run="done")
    app.button(key="ablation_start").click().run()
    assert not app.exception
    (job,) = queue.jobs(kinds=[Kind.ABLATION])
    assert (job.subject, job.state) == ("done", State.QUEUED)
    assert "ablation_start" not in [button.key for button in app.button]
    assert "Starts in a moment" in words(app)
    assert ablations.submit_ablation("done").id == job.id
    assert len(queue.jobs(kinds=[Kind.ABLATION])) == 1


def test_a_failed_one_says_why_and_can_be_started_again(before: Path) -> None:
    job = ablations.submit_ablation("done")
    with session() as db:
        stored = db.get(type(job), job.id)
        stored.state, stored.error = State.FAILED, "The disk is *full*: free some space."
        db.add(stored)
    app = opened("ablation", run="done")
    assert not app.exception
    assert "The disk is *full*: free some space." in words(app)
    assert "ablation_start" in [button.key for button in app.button]


def test_a_run_that_does_not_say_what_was_audited(home: Path) -> None:
    write_run(home / "old")
    app = opened("ablation", run="old")
    app.button(key="ablation_start").click().run()
    assert not app.exception
    assert 'The run "old" has no spec.json' in words(app)
    (home / "old" / "spec.json").write_text("{")
    app.button(key="ablation_start").click().run()
    assert "is damaged: run the audit again" in words(app)
    assert not queue.jobs(kinds=[Kind.ABLATION])


def test_a_damaged_ablation_can_be_started_again(after: Path) -> None:
    (after / "ablation.parquet").write_bytes(b"no")
    app = opened("ablation", run="done")
    assert not app.exception
    assert 'The ablation of run "done" is damaged' in words(app)
    assert "ablation_start" in [button.key for button in app.button]


def test_done_the_answer_comes_first_and_its_counts_are_the_tables(after: Path) -> None:
    app = opened("ablation", run="done")
    assert not app.exception
    found = read_ablation(after)
    assert found is not None
    bare = [found.row(base="reference", detector=d)["fpr95"] for d in ("energy", "maxlogit", "msp")]
    counts = [round(1000 * share) for share in (found.base("better")["fpr95"], min(bare))]
    assert (
        f"{counts[0]} of 1,000 unfamiliar images are accepted with it, {counts[1]} of 1,000"
        in words(app)
    )
    assert app.title[0].value.startswith("The short")
    for part in (
        "Compared with the paper",
        "Do gradients keep their direction",
        "What this rests on",
    ):
        assert part in words(app)
    assert "quoted from a public summary" in words(app)
    assert "calibration: 30 of 60" in words(app)


def test_the_papers_rows_stand_beside_what_was_measured(after: Path) -> None:
    tables = [each.value for each in opened("ablation", run="done").dataframe]
    (paper,) = (each for each in tables if IN_THE_PAPER in each.columns)
    assert len(paper) == 6
    assert paper.iloc[0][IN_THE_PAPER] == "19.4 %"
    found = read_ablation(after)
    full = found.row(base="published", factor="direction", level="published", depth="deep")
    assert paper.iloc[0]["Here, as summarised"] == f"{100 * full['fpr95']:.1f} %"
    (compared,) = (each for each in tables if each.index.name == "For comparison")
    assert "GradNorm only" in compared.index


def test_measure_base_and_set_change_the_charts(after: Path) -> None:
    app = opened("ablation", run="done")
    before = [chart.proto.spec for chart in app.get("plotly_chart")]
    assert len(before) == 4
    for change in (
        lambda: app.segmented_control(key="ablation_metric").set_value("auroc"),
        lambda: app.segmented_control(key="ablation_base").set_value("published"),
        lambda: app.selectbox(key="ablation_set").select(HOSTILE),
    ):
        change().run()
        assert not app.exception
        now = [chart.proto.spec for chart in app.get("plotly_chart")]
        assert now[0] != before[0] and now[1] != before[1]
        before = now
    assert sum(map(len, before)) < 100_000
    assert "Higher is better" in words(app)


def test_differences_are_read_beside_what_they_are_to(after: Path) -> None:
    found = read_ablation(after)
    app = opened("ablation", run="done")
    tables = [each.value for each in app.dataframe]
    (compared,) = (each for each in tables if each.index.name == "For comparison")
    energy = compared.loc["no short-circuit: energy", "Points better"]
    assert energy == gain(found.row(base="reference", detector="energy")).signed()
    assert compared.loc["GSC, the better setting", "Points better"] == "–"
    (paper,) = (each for each in tables if IN_THE_PAPER in each.columns)
    told = paper.set_index("Row of the paper")["Points better"]
    assert told["Top 5 %"] == gain(found.row(factor="paper", level="Top 5 %")).signed()
    assert "A filled dot differs" in words(app)


def test_one_of_before_differences_were_measured_asks_to_be_measured_again(after: Path) -> None:
    found = read_ablation(after)
    newer = [c for c in found.table if "difference" in c or "against" in c]
    write_ablation(Ablation(found.table.drop(columns=newer), found.facts), after)
    app = opened("ablation", run="done")
    assert not app.exception
    assert OUTDATED in words(app) and "A filled dot" not in words(app)
    assert not app.title, "no answer is given that was not measured"
    assert "ablation_start" in [button.key for button in app.button]
    assert len(app.get("plotly_chart")) == 4


def test_names_of_users_are_shown_as_they_are(after: Path) -> None:
    found = read_ablation(after)
    facts = found.facts.model_copy(update={"excused": {HOSTILE: "needs *more*"}})
    write_ablation(Ablation(found.table, facts), after)
    app = opened("ablation", run="done")
    assert not app.exception
    assert f"{HOSTILE}: 30 of 50" in words(app)
    assert f"{HOSTILE}: needs *more*." in words(app)
    raw = "\n".join(each.value for each in [*app.caption, *app.markdown])
    assert "[a](" not in raw and "<b>" not in raw and ":red[" not in raw
    for chart in app.get("plotly_chart"):
        assert "<b>x" not in chart.proto.spec


def test_settings_that_could_not_run_leave_the_page_standing(after: Path) -> None:
    found = read_ablation(after)
    few = found.table[found.table["base"] == "published"]
    write_ablation(Ablation(few, found.facts), after)
    app = opened("ablation", run="done")
    assert not app.exception
    assert "The settings that could run" in app.title[0].value


def test_the_job_writes_what_the_page_shows(before: Path) -> None:
    job = ablations.submit_ablation("done")
    job.payload["images_per_set"] = 20
    phases: list[str] = []
    ablations.perform(job, lambda progress: phases.append(progress.phase))
    assert "scoring noise" in phases and f"scoring {HOSTILE}" in phases
    assert ablations.ablation("done").facts.images["id"].used == 20
    first = ablations.version("done")
    ablations.perform(job, lambda _: None)
    assert ablations.version("done") > first, "it may be called again"


def test_a_cancelled_job_keeps_the_ablation_before(after: Path) -> None:
    def stop(progress) -> None:
        if progress.phase.startswith("scoring"):
            raise Cancelled

    kept = (after / "ablation.parquet").read_bytes()
    with pytest.raises(Cancelled):
        ablations.perform(ablations.submit_ablation("done"), stop)
    assert (after / "ablation.parquet").read_bytes() == kept
    assert not (after / "ablation-unpacked").exists()


def test_no_run_leads_out_of_the_workspace(home: Path) -> None:
    with pytest.raises(GscError, match="letters, digits"):
        ablations.submit_ablation("../other")


def ran(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The program in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["gsc", *words])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_the_command_line_prints_one_document_and_writes_the_table(
    before: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(monkeypatch, "ablate", str(before), "--images", "20", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["answer"].startswith("The short-circuit")
    table = read_ablation(before).table
    written = pd.DataFrame(document["rows"])["auroc"]
    pd.testing.assert_series_equal(written, table["auroc"].reset_index(drop=True))


def test_the_command_line_takes_a_run_and_layers_and_prints_what_it_says(
    before: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(monkeypatch, "ablate", "done", "--images", "20", "--layers", "first,block") == 0
    printed = capsys.readouterr().out
    found = ablations.ablation("done")
    assert printed.startswith(answer(found)[:60])
    assert [layer.name for layer in found.facts.layers] == ["first", "block"]
    assert "no short-circuit: energy" in printed and "premise" in printed
    assert "as summarised" in printed and "19.4 %" in printed


def test_the_command_line_refuses_what_is_no_run(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(monkeypatch, "ablate", "nowhere") == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "no spec.json" in told
