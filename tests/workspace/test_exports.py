"""Exports of a run's detector as the app asks for them: jobs, files, and what is read back."""

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from small_run import RUN, copy, do, make
from typer.testing import CliRunner

import gsc_core
from gsc_core.cli.app import app
from gsc_core.deploy.card import read_card
from gsc_core.errors import Cancelled, GscError
from gsc_core.evaluation.thresholds import (
    Cost,
    KeepId,
    ThresholdRule,
    Typed,
    Youden,
    parse_rule,
)
from gsc_core.jobs import queue
from gsc_core.jobs.database import Kind, Lane, StoredModel
from gsc_core.progress import Progress
from gsc_core.run import decisions
from gsc_core.run.decisions import Decision
from gsc_core.run.stored import Run
from gsc_core.workspace import exports, history, references, runs

pytestmark = pytest.mark.slow


def nothing(_: Progress) -> None:
    pass


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stage, and a finished run of which one detector was exported, as they lie in a workspace.

    The export is of `energy` by the default rule.
    """
    folder = make(tmp_path_factory.mktemp("made"), ("energy", "gsc"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GSC_HOME", str(folder / "home"))
        run = Run.load(runs.run_folder(RUN))
        do(exports.submit_export(RUN, keeping(run, 0.95)))
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run.load(copy(made, tmp_path, monkeypatch))


@pytest.fixture
def bare(run: Run) -> Run:
    """The run before anything was exported."""
    shutil.rmtree(run.path / "exports")
    return run


def keeping(run: Run, share: float, detector: str = "energy") -> Decision:
    return decisions.decide(run, detector, KeepId(share=share))


def only(run: Run) -> exports.StoredExport:
    (stored,) = exports.exports(run)
    return stored


# --- asking and making -------------------------------------------------------------------------


def test_it_is_asked_for_once_and_what_is_asked_for_differently_waits_too(bare: Run) -> None:
    job = exports.submit_export(RUN, keeping(bare, 0.95))
    assert (job.kind, job.lane, job.subject) == (Kind.EXPORT, Lane.EXPLAIN, RUN)
    assert exports.submit_export(RUN, keeping(bare, 0.95)).id == job.id
    others = [
        exports.submit_export(RUN, keeping(bare, 0.9)),
        exports.submit_export(RUN, keeping(bare, 0.95, "gsc")),
        exports.submit_export(RUN, keeping(bare, 0.95), onnx=True),
    ]
    assert [each.id for each in exports.at_work(RUN)] == [job.id, *(each.id for each in others)]


def test_what_is_exported_judges_pictures_as_the_run_does(run: Run, made: Path) -> None:
    stored, decision = only(run), keeping(run, 0.95)
    assert stored.current and stored.order.decision == decision
    assert stored.card.threshold == decision.value
    assert parse_rule(stored.card.rule) == decision.rule, "as `gsc watch` reads it"
    assert stored.files == {
        name: (stored.folder / name).stat().st_size for name in ("detector.pt2", "detector.json")
    }
    program = torch.export.load(stored.path("detector.pt2")).module()
    table = pd.read_parquet(run.path / "scores.parquet")
    calibration = table.loc[table["role"] == "calibration", "energy"]
    for name in ("id", "noise", "faint"):
        for row in table[table["set"] == name].head(8).itertuples():
            pixels = np.array(Image.open(made / "stage" / name / row.file).convert("RGB"))
            image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
            logits, score, percentile, flagged = program(image)
            assert int(logits.argmax()) == row.predicted
            assert float(score) == pytest.approx(row.energy, abs=1e-5)
            below = 100 * (calibration <= float(score)).mean()
            assert float(percentile) == pytest.approx(below, abs=1e-4)
            assert bool(flagged) == (float(score) > decision.value)


def test_onnx_comes_along_where_it_was_asked_for(bare: Run) -> None:
    do(exports.submit_export(RUN, keeping(bare, 0.95), onnx=True))
    stored = only(bare)
    assert list(stored.files) == ["detector.pt2", "detector.json", "detector.onnx"]
    place = str(Path(gsc_core.__file__).parent).encode()
    assert not [name for name in stored.files if place in stored.path(name).read_bytes()]


def test_killed_after_the_result_it_is_not_made_again(run: Run) -> None:
    before = {path: path.stat().st_mtime_ns for path in only(run).folder.iterdir()}
    (job,) = queue.jobs(kinds=(Kind.EXPORT,), subject=RUN)
    exports.perform(job, lambda _: pytest.fail("nothing is left to do"))
    assert {path: path.stat().st_mtime_ns for path in only(run).folder.iterdir()} == before


def test_what_a_killed_process_left_is_no_export_and_is_cleared_away(bare: Run) -> None:
    job = exports.submit_export(RUN, keeping(bare, 0.95))
    for left in (".part-abc", job.id):
        (bare.path / "exports" / left).mkdir(parents=True)
        (bare.path / "exports" / left / "detector.pt2").write_bytes(b"half")
    assert exports.exports(bare) == ()
    do(job)
    assert [path.name for path in (bare.path / "exports").iterdir()] == [job.id]
    assert only(bare).files["detector.pt2"] > 4


@pytest.mark.parametrize("done", [0, 9])
def test_cancelled_it_leaves_nothing(bare: Run, done: int) -> None:
    def stop(at: Progress) -> None:
        if at.done == done:
            raise Cancelled

    with pytest.raises(Cancelled):
        exports.perform(exports.submit_export(RUN, keeping(bare, 0.95)), stop)
    assert exports.exports(bare) == ()
    assert not [path for path in (bare.path / "exports").rglob("*") if path.is_file()]


# --- what cannot be ----------------------------------------------------------------------------


def test_a_run_that_cannot_be_opened_again_says_so_before_the_work(
    bare: Run, tmp_path: Path
) -> None:
    spec = bare.path / "spec.json"
    told = json.loads(spec.read_text())
    assert exports.obstacle(bare) is None
    told["model"]["checkpoint"] = str(tmp_path / "gone.pt2")
    spec.write_text(json.dumps(told))
    assert "gone.pt2 is gone: put it back" in (exports.obstacle(bare) or "")
    (bare.path / "calibration.safetensors").unlink()
    assert "before calibration was stored" in (exports.obstacle(bare) or "")
    spec.unlink()
    assert "no spec.json" in (exports.obstacle(bare) or "")
    with pytest.raises(GscError, match=r"no spec\.json"):
        exports.submit_export(RUN, keeping(bare, 0.95))
    assert not queue.jobs(kinds=(Kind.EXPORT,), states=queue.WAITING)


@pytest.mark.parametrize(
    ("decision", "reason"),
    [
        (Decision(detector="nosuch", rule=KeepId(share=0.9), value=1), "no detector nosuch"),
        (Decision(detector="gsc", rule=KeepId(share=0.999), value=float("inf")), "nothing at all"),
        (Decision(detector="gsc", rule=KeepId(share=0.5), value=-float("inf")), "every image"),
    ],
)
def test_a_decision_that_makes_no_detector_is_refused(
    run: Run, decision: Decision, reason: str
) -> None:
    with pytest.raises(GscError, match=reason):
        exports.submit_export(RUN, decision)


def test_a_run_that_was_audited_again_meanwhile(run: Run) -> None:
    job = exports.submit_export(RUN, keeping(run, 0.9))
    metrics = run.path / "metrics.json"
    metrics.write_text(metrics.read_text() + "\n")
    with pytest.raises(GscError, match="repeated since"):
        exports.perform(job, nothing)
    assert not only(run).current, "the one before stays, and says what it is of"


@pytest.mark.parametrize("run_id", ["../other", "nosuch"])
def test_a_run_that_is_not_there(run: Run, run_id: str) -> None:
    with pytest.raises(GscError):
        exports.submit_export(run_id, keeping(run, 0.95))


# --- which threshold ---------------------------------------------------------------------------


def test_the_detector_of_the_decision_has_its_threshold(run: Run) -> None:
    assert decisions.offered(run, decisions.default_detector(run)) == decisions.default(run)
    stored = decisions.store(run, keeping(run, 0.8, "gsc"))
    assert decisions.offered(run, "gsc") == stored
    by_hand = decisions.store(run, decisions.decide(run, "gsc", Typed(value=0.123)))
    assert decisions.offered(run, "gsc") == by_hand


def test_another_detector_has_the_same_rule_but_never_the_same_value_by_hand(
    run: Run,
) -> None:
    for rule in (KeepId(share=0.8), Youden()):
        decisions.store(run, decisions.decide(run, "gsc", rule))
        assert decisions.offered(run, "energy") == decisions.decide(run, "energy", rule)
    decisions.store(run, decisions.decide(run, "gsc", Typed(value=0.123)))
    assert decisions.offered(run, "energy") == keeping(run, 0.95, "energy")


@pytest.mark.parametrize(
    "rule",
    [KeepId(share=0.9), Youden(), Cost(miss=10, alarm=1, prevalence=0.01), Typed(value=-1.5)],
)
def test_the_command_line_that_asks_for_the_same(run: Run, rule: ThresholdRule) -> None:
    """What a shell makes of it, read back as the command reads it."""
    decision = decisions.decide(run, "gsc", rule)
    words = shlex.split(exports.command(run, decision, onnx=True))
    assert words[:3] == ["gsc", "export", RUN]
    assert words[-1] == "--onnx"
    told = dict(zip(words[3:-1:2], words[4:-1:2], strict=True))
    assert told.keys() == {"--detector", "--threshold", "--out"}
    assert parse_rule(told["--threshold"]) == rule
    hostile = decision.model_copy(update={"detector": "a; rm -rf $HOME `x`"})
    assert shlex.split(exports.command(run, hostile))[4] == hostile.detector


def test_the_command_takes_the_threshold_that_the_page_offers(run: Run, tmp_path: Path) -> None:
    """For another detector than the run is judged by, that of the same rule."""
    decisions.store(run, keeping(run, 0.8, "gsc"))
    out = tmp_path / "detector.pt2"
    arguments = ["export", RUN, "--detector", "energy", "--out", str(out)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    card = read_card(out.with_suffix(".json"))
    assert parse_rule(card.rule) == KeepId(share=0.8)
    assert card.threshold == keeping(run, 0.8).value
    useless = CliRunner().invoke(app, [*arguments, "--threshold", "keep-id:0.999"])
    assert isinstance(useless.exception, GscError)
    assert "would flag nothing at all" in str(useless.exception)
    assert read_card(out.with_suffix(".json")) == card


# --- what is kept ------------------------------------------------------------------------------


def twin(stored: exports.StoredExport, export_id: str, made: str) -> None:
    """A copy of an export under another id, made at another time."""
    folder = shutil.copytree(stored.folder, stored.folder.with_name(export_id))
    card = json.loads((folder / "detector.json").read_text()) | {"made": made}
    (folder / "detector.json").write_text(json.dumps(card))


def test_the_newest_ten_are_kept_and_come_newest_first(run: Run) -> None:
    first = only(run)
    for i in range(exports.MAX_EXPORTS):
        twin(first, f"{i:012x}", f"2020-01-{1 + i:02}T12:00:00Z")
    job = exports.submit_export(RUN, keeping(run, 0.9))
    do(job)
    kept = [each.id for each in exports.exports(run)]
    assert kept == [
        job.id,
        first.id,
        *(f"{i:012x}" for i in reversed(range(2, exports.MAX_EXPORTS))),
    ]
    assert len(list((run.path / "exports").iterdir())) == exports.MAX_EXPORTS


def test_one_is_deleted_for_good_and_once_more_is_no_matter(run: Run) -> None:
    stored = only(run)
    twin(stored, "a" * 12, "2020-01-01T12:00:00Z")
    exports.delete_export(RUN, stored.id)
    assert [each.id for each in exports.exports(run)] == ["a" * 12]
    assert not stored.folder.exists()
    exports.delete_export(RUN, stored.id)


@pytest.mark.parametrize(
    "export_id", ["", "..", "../../small", "A" * 12, "a" * 11, "a" * 12 + "\n"]
)
def test_no_id_leads_out_of_the_exports(run: Run, export_id: str) -> None:
    with pytest.raises(GscError, match="no such exported detector"):
        exports.delete_export(RUN, export_id)
    assert only(run).path("detector.pt2").is_file()


@pytest.mark.parametrize("file", ["order.json", "detector.json", "detector.pt2"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff[["])
def test_a_damaged_one_is_left_out(run: Run, file: str, content: bytes | None) -> None:
    path = only(run).folder / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    found = exports.exports(run)
    assert len(found) == (file == "detector.pt2" and content is not None), "its size is shown"


def test_a_run_takes_its_exports_along_but_not_while_one_waits(run: Run) -> None:
    job = exports.submit_export(RUN, keeping(run, 0.9))
    with pytest.raises(GscError, match="Detector energy of small"):
        history.delete_run(RUN)
    queue.cancel(job.id)
    history.delete_run(RUN)
    assert not run.path.exists()
    assert not queue.jobs(subject=RUN)


def test_a_model_is_not_taken_from_under_an_export(run: Run, made: Path) -> None:
    model = StoredModel(name="small", spec={"checkpoint": str(made / "stage" / "small.pt2")})
    assert references.jobs_with_model(model) == []
    job = exports.submit_export(RUN, keeping(run, 0.9))
    assert [each.id for each in references.jobs_with_model(model)] == [job.id]
