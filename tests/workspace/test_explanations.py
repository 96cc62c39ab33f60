"""Explanations and tried images as the app asks for them: jobs, files, and what is read back."""

import io
import json
import math
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from small_audit import read_with_pillow, strange
from small_classifier import world
from small_run import NAMES, RUN, copy, do, make, spec_of
from torch import nn

from gsc_core.audit.reopen import reopen
from gsc_core.audit.run import run_audit
from gsc_core.errors import Cancelled, GscError, ImageError
from gsc_core.evaluation.thresholds import Typed
from gsc_core.jobs import queue
from gsc_core.jobs.database import Kind, State
from gsc_core.progress import Progress
from gsc_core.run import decisions, placement
from gsc_core.run.decisions import Decision
from gsc_core.run.placement import Placement
from gsc_core.run.stored import Run, version_of
from gsc_core.workspace import explanations, image_results
from gsc_core.workspace.tasks import TASKS


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stage and a finished run."""
    return make(tmp_path_factory.mktemp("made"))


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copy(made, tmp_path, monkeypatch)


@pytest.fixture
def table(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "scores.parquet")


def nothing(_: Progress) -> None:
    pass


def explained(row: int, detector: str = "gsc") -> explanations.StoredExplanation:
    do(explanations.ask(RUN, row, detector))
    found = explanations.explanation(RUN, row, detector)
    assert found is not None
    return found


def a_row(table: pd.DataFrame, set_name: str, n: int = 3) -> int:
    return int(table.index[table["set"] == set_name][n])


# --- an image of the run ----------------------------------------------------------------------


@pytest.mark.slow
def test_an_explanation_is_asked_for_once_and_found_again(
    folder: Path, table: pd.DataFrame, made: Path
) -> None:
    row = a_row(table, "faint")
    assert explanations.explanation(RUN, row, "gsc") is None
    job = explanations.ask(RUN, row, "gsc")
    assert job is not None and (job.kind, job.subject) == (Kind.EXPLAIN, RUN)
    assert explanations.ask(RUN, row, "gsc") is None, "one is waiting"
    waiting = explanations.asked(RUN, row, "gsc")
    assert waiting is not None and waiting.id == job.id
    other = explanations.ask(RUN, row, "gsc-drop")
    assert other is not None, "another detector is another explanation"
    do(job)
    found = explanations.explanation(RUN, row, "gsc")
    assert found is not None
    assert explanations.ask(RUN, row, "gsc") is None and explanations.asked(RUN, row, "gsc") is None
    path = made / "stage" / "faint" / table.loc[row, "file"]
    truth = reopen(folder).explain(path)
    assert found.explanation == truth
    assert (found.predicted, found.name) == (table.loc[row, "predicted"], table.loc[row, "file"])
    assert found.confidence == pytest.approx(table.loc[row, "confidence"], abs=1e-4)
    do(other)
    published = explanations.explanation(RUN, row, "gsc-drop")
    assert published is not None and published.explanation is not None
    assert published.explanation.detector == "gsc-drop"


def test_its_pictures(folder: Path, table: pd.DataFrame) -> None:
    found = explained(a_row(table, "id"))
    assert found.explanation is not None and found.explanation.heat is not None
    assert found.heat is not None
    assert Image.open(found.crop).size == Image.open(found.heat).size == (12, 12)
    kept = {path.name for path in found.crop.parent.iterdir()}
    assert kept == {"crop.jpg", "heat.png", "found.json"}
    assert found.crop.is_relative_to(folder)


def test_places_by_counting(table: pd.DataFrame, folder: Path) -> None:
    """Percentiles among the tested familiar images; thresholds from the calibration ones."""
    row = a_row(table, "noise")
    found = explained(row)
    assert [place.detector for place in found.places] == list(NAMES)
    for place in found.places:
        score = float(table.loc[row, place.detector])
        familiar = table.loc[table["role"] == "id", place.detector]
        calibration = sorted(table.loc[table["role"] == "calibration", place.detector])
        assert place.score == score
        assert place.percentile == pytest.approx(100 * sum(familiar <= score) / len(familiar))
        rank = math.ceil(0.95 * (len(calibration) + 1))
        assert place.threshold == pytest.approx(calibration[rank - 1])
        assert place.outside == (score > calibration[rank - 1])
    energy = next(place for place in found.places if place.detector == "energy")
    assert energy.outside and energy.percentile > 90


def test_near_pictures_are_rows_of_the_calibration(table: pd.DataFrame, folder: Path) -> None:
    found = explained(a_row(table, "id"))
    assert len(found.nearest) == image_results.NEAREST
    similarity = [near.similarity for near in found.nearest]
    assert similarity == sorted(similarity, reverse=True)
    for near in found.nearest:
        assert table.loc[near.row, "role"] == "calibration"
        assert table.loc[near.row, "file"] == near.file
    # of the same class as the image, nearly all
    label = table.loc[a_row(table, "id"), "label"]
    assert np.mean([table.loc[near.row, "label"] == label for near in found.nearest]) > 0.7


def test_the_verdict_follows_the_decision(table: pd.DataFrame, folder: Path) -> None:
    """Whenever it is read: nothing is computed again."""
    row = a_row(table, "noise")
    found = explained(row)
    run = Run.load(folder)
    default = decisions.default(run)
    assert found.decision.detector == default.detector and found.verdict is not None
    assert found.verdict.threshold == pytest.approx(default.value)
    score = float(table.loc[row, "knn"])
    for value, outside in ((score + 0.1, False), (score - 0.1, True), (score, False)):
        chosen = decisions.decide(run, "knn", Typed(value=value))
        decisions.store(run, chosen)
        again = explanations.explanation(RUN, row, "gsc")
        assert again is not None and again.verdict is not None
        assert (again.verdict.detector, again.verdict.outside) == ("knn", outside)
        others = [place for place in again.places if place.detector == "energy"]
        assert others[0].threshold == pytest.approx(
            next(place.threshold for place in found.places if place.detector == "energy")
        )


@pytest.mark.slow
def test_a_run_that_was_audited_again_is_explained_again(table: pd.DataFrame, folder: Path) -> None:
    row = a_row(table, "faint")
    explained(row)
    later = time.time() + 5
    os.utime(folder / "metrics.json", (later, later))
    assert explanations.explanation(RUN, row, "gsc") is None
    again = explained(row)
    assert again.version == version_of(folder)


@pytest.mark.slow
def test_a_damaged_one_is_made_again(table: pd.DataFrame, folder: Path) -> None:
    row = a_row(table, "faint")
    found = explained(row)
    for junk in ("", "[]", '{"version": 3}'):
        (found.crop.parent / "found.json").write_text(junk)
        assert explanations.explanation(RUN, row, "gsc") is None
        assert explained(row) == found


def test_a_job_that_is_done_again_does_nothing(table: pd.DataFrame, folder: Path) -> None:
    """Its worker was killed between the result and the record of it."""
    job = explanations.ask(RUN, a_row(table, "faint"), "gsc")
    assert job is not None
    TASKS[job.kind](job, nothing)
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("explanations/**/*")}
    assert written
    TASKS[job.kind](job, nothing)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("explanations/**/*")} == written


def test_a_job_that_is_stopped_leaves_nothing(table: pd.DataFrame, folder: Path) -> None:
    job = explanations.ask(RUN, a_row(table, "faint"), "gsc")
    assert job is not None

    def stop(progress: Progress) -> None:
        if progress.phase == "looking at the image":
            raise Cancelled

    with pytest.raises(Cancelled):
        TASKS[job.kind](job, stop)
    assert not (folder / "explanations").exists()


def test_one_that_failed_is_not_asked_for_without_end(table: pd.DataFrame, folder: Path) -> None:
    """A page that asks whenever it is drawn must not fill the queue."""
    row = a_row(table, "faint")
    job = explanations.ask(RUN, row, "gsc")
    assert job is not None
    queue.claim(job.lane, os.getpid())
    queue.end(job.id, State.FAILED, "the sentence")
    assert explanations.ask(RUN, row, "gsc") is None
    failed = explanations.asked(RUN, row, "gsc")
    assert failed is not None and failed.error == "the sentence"
    queue.retry(failed.id)
    do(queue.get(failed.id))
    assert explanations.explanation(RUN, row, "gsc") is not None


def test_one_that_was_cancelled_can_be_asked_for_again(table: pd.DataFrame, folder: Path) -> None:
    row = a_row(table, "faint")
    job = explanations.ask(RUN, row, "gsc")
    assert job is not None
    queue.cancel(job.id)
    assert explanations.asked(RUN, row, "gsc") is None
    assert explanations.ask(RUN, row, "gsc") is not None


def test_the_audit_stays_open_between_two_explanations(table: pd.DataFrame, folder: Path) -> None:
    image_results.opened.cache_clear()
    explained(a_row(table, "faint", 1))
    explained(a_row(table, "noise", 2))
    told = image_results.opened.cache_info()
    assert (told.misses, told.hits, told.currsize) == (1, 1, 1)


def test_what_is_not_there_is_one_sentence(table: pd.DataFrame, folder: Path) -> None:
    for row in (-1, len(table)):
        with pytest.raises(GscError, match="choose one from the gallery"):
            explanations.ask(RUN, row, "gsc")
    with pytest.raises(GscError, match="energy explains no image here: choose gsc"):
        explanations.ask(RUN, 0, "energy")
    with pytest.raises(GscError, match="no result for the run"):
        explanations.ask("another", 0, "gsc")
    with pytest.raises(GscError, match="named with letters"):
        explanations.explanation("../small", 0, "gsc")
    assert queue.jobs() == []


def test_a_picture_that_is_gone_is_one_sentence(
    table: pd.DataFrame, folder: Path, made: Path
) -> None:
    row = a_row(table, "noise", 5)
    path = made / "stage" / "noise" / table.loc[row, "file"]
    job = explanations.ask(RUN, row, "gsc")
    held = path.read_bytes()
    path.unlink()
    try:
        with pytest.raises(GscError, match="no longer where it was audited"):
            do(job)
    finally:
        path.write_bytes(held)


class Flat(nn.Module):
    """No layer of it can be cut."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * 12 * 12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.flatten(1))


@pytest.mark.slow
def test_a_network_that_cannot_be_cut_is_judged_and_not_explained(folder: Path, made: Path) -> None:
    torch.manual_seed(0)
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(
        Flat().eval(), (torch.zeros(4, 3, 12, 12),), dynamic_shapes=shapes
    )
    torch.export.save(program, made / "stage" / "flat.pt2")
    run_audit(spec_of(made / "stage", "flat.pt2", ("gsc", "energy")), folder.parent / "flat")
    assert explanations.explainers(Run.load(folder.parent / "flat")) == ("gsc",)
    do(explanations.ask("flat", 4, "gsc"))
    found = explanations.explanation("flat", 4, "gsc")
    assert found is not None and found.explanation is None and found.heat is None
    assert found.unexplained is not None and "cannot be cut" in found.unexplained
    assert [place.detector for place in found.places] == ["energy"]


# --- an image that a person tries ---------------------------------------------------------------


def tried(picture: bytes, name: str = "mine.png") -> explanations.Tried:
    job = explanations.ask_try(RUN, io.BytesIO(picture), name)
    assert explanations.tried(RUN, job.payload["try"]) is None
    do(job)
    found = explanations.tried(RUN, job.payload["try"])
    assert found is not None
    return found


def test_a_picture_of_the_audit_is_judged_as_there(
    table: pd.DataFrame, folder: Path, made: Path
) -> None:
    for set_name in ("id", "noise"):
        row = a_row(table, set_name, 6)
        data = (made / "stage" / set_name / table.loc[row, "file"]).read_bytes()
        found = tried(data)
        assert found.image.read_bytes() == data
        assert found.predicted == table.loc[row, "predicted"]
        assert {place.detector for place in found.places} == set(NAMES)
        for place in found.places:
            spread = float(table[place.detector].std())
            assert place.score == pytest.approx(table.loc[row, place.detector], abs=1e-4 * spread)
        verdict = found.verdict
        assert verdict is not None and verdict.outside == (set_name == "noise")
        assert found.explanation is not None and found.crop.is_file()


def test_a_new_picture_by_the_module(folder: Path, tmp_path: Path) -> None:
    """A photo of another size and format than any of the audit."""
    (path,) = strange(tmp_path / "new", 1, seed=99).iterdir()
    found = tried(path.read_bytes(), "new.png")
    with torch.no_grad():
        logits = world().model.eval()(read_with_pillow(path))
    energy = next(place.score for place in found.places if place.detector == "energy")
    assert energy == pytest.approx(-float(logits.logsumexp(1)), rel=1e-3, abs=1e-3)
    assert found.predicted == int(logits.argmax()) and found.name == "new.png"
    file = io.BytesIO()
    Image.new("RGB", (640, 480), "red").save(file, "JPEG")
    assert tried(file.getvalue(), "red.jpg").confidence > 0


def test_the_verdict_on_a_try_follows_the_decision(folder: Path, made: Path) -> None:
    found = tried(next((made / "stage" / "noise").iterdir()).read_bytes())
    try_id = found.image.parent.name
    score = next(place.score for place in found.places if place.detector == "energy")
    run = Run.load(folder)
    decision = decisions.decide(run, "energy", Typed(value=score + 1))
    decisions.store(run, decision)
    again = explanations.tried(RUN, try_id)
    assert again is not None and again.verdict is not None and not again.verdict.outside


def test_too_few_to_keep_so_many_flags_nothing(folder: Path, made: Path) -> None:
    """An infinite threshold is stored as none."""
    place = Placement(detector="x", score=9e9, percentile=100, threshold=None)
    assert not place.outside
    assert placement._finite(math.inf) is None and placement._finite(1.5) == 1.5


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "is empty"),
        (b"not a picture at all", "is not an image"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "mine.png"),
    ],
)
def test_what_is_no_picture_is_told_and_thrown_away(
    folder: Path, data: bytes, sentence: str
) -> None:
    job = explanations.ask_try(RUN, io.BytesIO(data), "mine.png")
    with pytest.raises(ImageError, match=sentence):
        do(job)
    assert explanations.tried(RUN, job.payload["try"]) is None
    assert list((folder / "tried").iterdir()) == []


def test_a_name_names_no_file(folder: Path, made: Path) -> None:
    data = next((made / "stage" / "noise").iterdir()).read_bytes()
    before = {path for path in folder.parent.parent.rglob("*") if path.is_file()}
    name = "../../../<script>alert(1)</script>" + 300 * "x" + ".png"
    found = tried(data, name)
    assert found.name == name[-200:]
    new = {path for path in folder.parent.parent.rglob("*") if path.is_file()} - before
    new = {path for path in new if path.suffix not in (".db", ".jsonl")}  # the index, the log
    assert {path.name for path in new} == {"picture", "crop.jpg", "heat.png", "found.json"}


@pytest.mark.parametrize("try_id", ["..", "../../x", "0123456789AB", "0" * 13, ""])
def test_an_id_of_a_try_leads_nowhere_else(folder: Path, try_id: str) -> None:
    with pytest.raises(GscError, match="no such tried image"):
        explanations.tried(RUN, try_id)


def test_an_unknown_try_is_none(folder: Path) -> None:
    assert explanations.tried(RUN, "0" * 12) is None


def test_a_huge_file_is_refused_and_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explanations, "MAX_BYTES", 2**20)
    with pytest.raises(ImageError, match=r"big\.png is larger than"):
        explanations.ask_try(RUN, io.BytesIO(bytes(2**20 + 1)), "big.png")
    assert not [path for path in (folder / "tried").rglob("*") if path.is_file()]
    assert queue.jobs() == []


def test_old_tries_are_thrown_away_but_not_those_waited_for(folder: Path) -> None:
    jobs = [explanations.ask_try(RUN, io.BytesIO(b"x"), f"{i}.png") for i in range(3)]
    for i, job in enumerate(jobs):
        path = folder / "tried" / job.payload["try"]
        os.utime(path, (1000 + i, 1000 + i))
        if i > 0:  # the very oldest still waits for its worker
            queue.cancel(job.id)
    for i in range(explanations.MAX_TRIES - 3):
        (folder / "tried" / f"{i:012}").mkdir()
    last = explanations.ask_try(RUN, io.BytesIO(b"x"), "last.png")
    left = {path.name for path in (folder / "tried").iterdir()}
    assert len(left) == explanations.MAX_TRIES + 1, "the one that waits is spared"
    explanations.ask_try(RUN, io.BytesIO(b"x"), "more.png")
    left = {path.name for path in (folder / "tried").iterdir()}
    assert jobs[0].payload["try"] in left and last.payload["try"] in left
    assert jobs[1].payload["try"] not in left


def test_a_try_that_was_pruned_is_one_sentence(folder: Path) -> None:
    job = explanations.ask_try(RUN, io.BytesIO(b"x"), "mine.png")
    shutil.rmtree(folder / "tried" / job.payload["try"])
    with pytest.raises(GscError, match=r"mine\.png is no longer stored"):
        do(job)


def test_a_decision_about_a_baseline_leaves_the_explaining_to_gsc(folder: Path, made: Path) -> None:
    run = Run.load(folder)
    decisions.store(run, Decision(detector="knn", rule=Typed(value=1.0), value=1.0))
    found = tried(next((made / "stage" / "noise").iterdir()).read_bytes())
    assert found.explanation is not None and found.explanation.detector == "gsc"
    published = decisions.decide(run, "gsc-drop", Typed(value=1.0))
    decisions.store(run, published)
    found = tried(next((made / "stage" / "noise").iterdir()).read_bytes())
    assert found.explanation is not None and found.explanation.detector == "gsc-drop"


def test_what_is_stored_is_plain_json(folder: Path, table: pd.DataFrame) -> None:
    found = explained(a_row(table, "id"))
    stored = json.loads((found.crop.parent / "found.json").read_text())
    assert stored["explanation"]["channels"][0]["rank"] == 1
