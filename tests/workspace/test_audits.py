"""Audits in the workspace: what is asked for, what it will take, how it runs, where it is found."""

import json
import threading
import time
from pathlib import Path

import pytest
from small_audit import PREPROCESS, write_stage
from stored_run import write_run

from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.demo import OOD_SETS, Sizes, render_demo
from gsc_core.detectors.auto import AutoGSC
from gsc_core.detectors.catalogue import CATALOGUE
from gsc_core.detectors.energy import Energy
from gsc_core.errors import Cancelled, GscError, SpecError
from gsc_core.images.sources.uri import Uri
from gsc_core.jobs import queue
from gsc_core.jobs.database import Job, Kind, Lane, Readiness, State, StoredSet, session
from gsc_core.run.layout import METRICS_FILE
from gsc_core.run.stored import Run, version_of
from gsc_core.scoring import decoders
from gsc_core.scoring.decoder_process import DecoderProcess
from gsc_core.sentences.run import answer
from gsc_core.workspace import audits, demo, imagesets, models, runs, trash
from gsc_core.workspace.audits import (
    QUICK,
    Workload,
    estimate,
    perform,
    specification,
    submit_audit,
)
from gsc_core.workspace.history import Outcome, delete_run, free_title, history, log_tail, summary

DETECTORS = (DetectorSpec(name="gsc"), DetectorSpec(name="energy"))


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> Path:
    return write_stage(tmp_path_factory.mktemp("stage") / "files")


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def small_spec(stage: Path, **changes) -> AuditSpec:
    model = ModelSpec(checkpoint=stage / "small.pt2", preprocessing=Preprocessing.parse(PREPROCESS))
    ood = {"noise": stage / "noise", "faint": stage / "faint"}
    usual = {"id": stage / "id", "calibration": stage / "calibration", "repeats": 20}
    return AuditSpec(model=model, ood=ood, **(usual | {"detectors": DETECTORS} | changes))


def job_of(run_id: str) -> Job:
    job = queue.latest(run_id)
    assert job is not None
    return job


def end(run_id: str, state: State, error: str | None = None) -> None:
    with session() as db:
        job = job_of(run_id)
        job.state, job.error = state, error
        db.add(job)


# --- asking ------------------------------------------------------------------------------------


def test_an_audit_is_queued_with_all_it_needs(home, stage):
    spec = small_spec(stage)
    job = job_of(submit_audit(spec, "  My first   audit ", 240))
    assert (job.kind, job.lane, job.state) == (Kind.AUDIT, Lane.AUDIT, State.QUEUED)
    assert (job.title, job.images_total) == ("My first audit", 240)
    assert runs.RUN_ID.fullmatch(job.subject)
    assert AuditSpec.model_validate(job.payload["spec"]) == spec
    assert not (home / "runs").exists()


@pytest.mark.parametrize("title", ["", "   ", "x" * 81, "bell\x07"])
def test_a_title_is_some_words(home, stage, title):
    with pytest.raises(SpecError, match="give the audit one"):
        submit_audit(small_spec(stage), title, 1)
    assert queue.jobs() == []


def test_a_path_that_is_no_text_is_refused_in_words(home, stage):
    with pytest.raises(SpecError, match="not UTF-8"):
        submit_audit(small_spec(stage, id=Path("/photos/\udcff")), "x", 1)
    assert queue.jobs() == []


def stored(name: str, role: str = "ood") -> StoredSet:
    return StoredSet(name=name, role=role, folder=f"/pictures/{role}/{name}")


@pytest.mark.slow
def test_a_specification_from_records():
    spec = specification(
        ModelSpec(checkpoint=Path("m.pt2")),
        stored("photos", "id"),
        [stored("textures"), stored("noise")],
        stored("more", "calibration"),
        DETECTORS,
        seed=3,
        split=None,
    )
    assert spec.id == Path("/pictures/id/photos")
    assert spec.ood == {n: Path("/pictures/ood") / n for n in ("textures", "noise")}
    assert spec.calibration == Path("/pictures/calibration/more")
    assert (spec.detectors, spec.seed) == (DETECTORS, 3)


def test_an_address_is_a_source_and_the_cluster_the_operators(monkeypatch):
    far = StoredSet(name="far", role="ood", folder="s3://bucket/far")
    spec = specification(
        ModelSpec(checkpoint=Path("m.pt2")), stored("photos", "id"), [far], 0.5, DETECTORS,
        engine="ray",
    )  # fmt: skip
    assert spec.ood == {"far": Uri("s3://bucket/far")}
    monkeypatch.setenv("GSC_RAY_ADDRESS", "head:6379")
    monkeypatch.setenv("GSC_RAY_WORKERS", "3")
    placed = audits._placed(spec.model_copy(update={"ray_address": "elsewhere:1"}))
    assert (placed.ray_address, placed.workers) == ("head:6379", 3)
    monkeypatch.delenv("GSC_RAY_ADDRESS")
    assert not audits.has_cluster()
    with pytest.raises(SpecError, match="no longer a cluster for audits"):
        audits._placed(spec)


@pytest.mark.parametrize(
    ("strangers", "changes", "sentence"),
    [
        (["a", "b", "a"], {}, r'Two of the chosen sets of unfamiliar images are named "a": rename'),
        (["mean"], {}, "cannot be named 'mean'.*rename the set"),
        ([], {}, "at least one set of unfamiliar images"),
        (["a"], {"detectors": ()}, "at least one detector"),
        (["a"], {"detectors": [DetectorSpec(name="gsc", settings={"share": 2})]}, "at most 1"),
        (["a"], {"calibration": 1.5}, "calibration cannot be 1.5"),
        (["a"], {"batch_size": 0}, "batch_size cannot be 0"),
    ],
)
def test_what_cannot_be_audited_is_one_sentence(strangers, changes, sentence):
    given = {"calibration": 0.5, "detectors": DETECTORS} | changes
    known, sets = stored("photos", "id"), [stored(name) for name in strangers]
    with pytest.raises(SpecError, match=sentence) as told:
        specification(ModelSpec(checkpoint=Path("m.pt2")), known, sets, **given)
    assert "\n" not in str(told.value)
    assert str(told.value).count(". ") == 0


# --- how long it takes -------------------------------------------------------------------------


def test_pictures_are_counted_once_whether_they_calibrate_or_are_judged():
    share = Workload.of(500, [300, 200], 0.5)
    assert (share.calibration, share.test, share.ood_sets) == (250, 750, 2)
    assert share.total == 1000 + 250  # as many surrogate images as there are calibration images
    other = Workload.of(500, [300], 4000)
    assert (other.calibration, other.test) == (4000, 800)
    assert other.total == 4800 + 256  # at most so many


def test_the_estimate_grows_with_all_that_costs():
    work = Workload.of(500, [300], 0.5)
    usual = estimate(0.02, work, QUICK)
    assert estimate(0.04, work, QUICK) - usual == pytest.approx(0.02 * 1.1 * work.total)
    assert estimate(0.02, Workload.of(600, [300], 0.5), QUICK) > usual
    assert estimate(0.02, work, [*QUICK, "vim"]) > usual
    assert estimate(0.02, work, [*QUICK, "gsc-auto"]) > usual + 1  # it searches
    odin = next(each for each in CATALOGUE if each.name == "odin")
    more = estimate(0.02, work, [*QUICK, "odin"]) - estimate(0.02, work, [*QUICK, "vim"])
    assert more == pytest.approx(odin.extra_forwards * 0.02 * work.total)


def test_quick_means_no_further_pass():
    passes = {each.name: each.extra_forwards for each in CATALOGUE}
    assert QUICK[0] == "gsc"
    assert {passes[name] for name in QUICK} == {0.0}


# --- the work itself ---------------------------------------------------------------------------


@pytest.mark.slow
def test_a_job_does_what_the_audit_core_does(home, stage, tmp_path):
    spec = small_spec(stage)
    job = job_of(submit_audit(spec, "small", 230))
    seen = []
    perform(job, seen.append)
    run = Run.load(home / "runs" / job.subject)
    direct = run_audit(spec, tmp_path / "direct").document.model_dump(mode="json")
    assert [[row.detector, row.ood_set] for row in run.rows] == [
        [row["detector"], row["ood_set"]] for row in direct["results"]
    ]
    assert run.best().metrics["auroc"].value == pytest.approx(
        max(
            r["auroc"]
            for r in direct["results"]
            if r["ood_set"] == "mean" and r["detector"] == run.best().detector
        )
    )
    counted = {each.phase: each.total for each in seen if each.total > 1}
    counted.pop("comparing the image sets", None)  # pairs, no images
    work = Workload.of(80, [40, 50], 60)
    assert sum(counted.values()) == pytest.approx(work.total, abs=4)


@pytest.mark.slow
def test_a_stopped_job_goes_on_and_a_finished_one_is_left_alone(home, stage):
    job = job_of(submit_audit(small_spec(stage), "small", 0))

    def stop(progress):
        if progress.phase == "scoring faint":
            raise Cancelled

    with pytest.raises(Cancelled):
        perform(job, stop)
    assert runs.list_runs() == ()
    phases = []
    perform(job, lambda progress: phases.append((progress.phase, progress.done)))
    noise = [done for phase, done in phases if phase == "scoring noise"]
    assert noise == [40]  # read from its chunk, not scored again
    before = version_of(home / "runs" / job.subject)
    perform(job, pytest.fail)
    assert version_of(home / "runs" / job.subject) == before


def decoded_by(monkeypatch, job: Job) -> set[str]:
    """Where the images of a job are decoded: `here`, or `elsewhere`."""
    found = set()
    for where, place in (("here", decoders._filled), ("elsewhere", DecoderProcess.decode)):

        def seen(*asked, where=where, place=place):
            found.add(where)
            return place(*asked)

        owner = DecoderProcess if where == "elsewhere" else decoders
        monkeypatch.setattr(owner, place.__name__, seen)
    perform(job, lambda _: None)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attempt", "asked", "where"),
    [(1, None, "here"), (2, None, "elsewhere"), (3, 0, "here"), (1, 1, "elsewhere")],
)
def test_after_a_dead_process_images_are_decoded_apart(
    home, stage, monkeypatch, attempt, asked, where
):
    """An image that crashes its decoder would end each attempt; who asked for threads has them."""
    job = job_of(submit_audit(small_spec(stage, decoders=asked), "small", 0))
    job.attempts = attempt
    assert decoded_by(monkeypatch, job) == {where}
    assert Run.load(home / "runs" / job.subject).images["id"].scored == 80


# --- history -----------------------------------------------------------------------------------


def test_history_joins_jobs_and_folders_newest_first(home, stage):
    write_run(home / "runs" / "by-hand")
    ids = {
        name: submit_audit(small_spec(stage), name, 0)
        for name in ("queued", "running", "done", "lost", "failed", "cancelled")
    }
    write_run(home / "runs" / ids["done"])
    end(ids["running"], State.RUNNING)
    end(ids["done"], State.DONE)
    end(ids["lost"], State.DONE)
    end(ids["failed"], State.FAILED, "The disk is full: free some space.")
    end(ids["cancelled"], State.CANCELLED)
    entries = history()
    assert [entry.created for entry in entries] == sorted(
        (entry.created for entry in entries), reverse=True
    )
    found = {entry.title: entry for entry in entries}
    assert {title: entry.outcome for title, entry in found.items()} == {
        "by-hand": Outcome.FINISHED,
        "queued": Outcome.QUEUED,
        "running": Outcome.RUNNING,
        "done": Outcome.FINISHED,
        "lost": Outcome.LOST,
        "failed": Outcome.FAILED,
        "cancelled": Outcome.CANCELLED,
    }
    assert {title for title, entry in found.items() if entry.finished} == {"by-hand", "done"}
    assert {title for title, entry in found.items() if entry.waiting} == {"queued", "running"}
    assert found["by-hand"].job is None
    assert found["failed"].error == "The disk is full: free some space."
    assert "gone" in (found["lost"].error or "")
    assert found["done"].error is None


def test_a_free_title_is_numbered_and_never_too_long(home, stage):
    assert free_title("signs on photos") == "signs on photos"
    for title in ("signs on photos", "signs on photos (2)", "x" * 80):
        submit_audit(small_spec(stage), title, 0)
    assert free_title("signs on photos") == "signs on photos (3)"
    assert free_title("x" * 200) == "x" * 76 + " (2)"


def test_a_summary_is_read_when_asked_for_and_anew_when_replaced(home):
    folder = write_run(home / "runs" / "demo", provenance={"seconds": 12.5})
    (entry,) = history()
    assert entry.title == runs.title("demo") == runs.DEMO_TITLE
    said = summary(entry)
    assert said is not None
    assert said.answer == answer(Run.load(folder))
    assert said.seconds == 12.5
    (folder / METRICS_FILE).write_text("{}")
    damaged = summary(entry)
    assert damaged is not None
    assert damaged.answer is None
    assert "damaged" in (damaged.error or "")


def test_five_hundred_runs_are_listed_without_a_look_into_them(home):
    for n in range(500):
        folder = home / "runs" / f"run-{n:03}"
        folder.mkdir(parents=True)
        (folder / METRICS_FILE).write_text("no result at all")
    entries = history()
    assert len(entries) == 500
    assert {entry.outcome for entry in entries} == {Outcome.FINISHED}


# --- deleting ----------------------------------------------------------------------------------


def test_a_deleted_run_leaves_nothing(home, stage):
    write_run(home / "runs" / "other")
    run_id = submit_audit(small_spec(stage), "mine", 0)
    write_run(home / "runs" / run_id)
    queue.submit(Kind.EXPLAIN, "row 3", run_id, {})
    for job in queue.jobs(subject=run_id):
        end_job = job.id
        queue.cancel(end_job)
    delete_run(run_id)
    trash.empty(time.time() + 8 * 86_400)
    assert [entry.id for entry in history()] == ["other"]
    assert queue.jobs(subject=run_id) == []
    assert [path.name for path in (home / "runs").iterdir()] == ["other"]


@pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING])
@pytest.mark.parametrize("kind", [Kind.AUDIT, Kind.ABLATION])
def test_a_run_at_work_is_not_deleted(home, kind, state):
    folder = write_run(home / "runs" / "mine")
    queue.submit(kind, "mine", "mine", {})
    end("mine", state)
    with pytest.raises(GscError, match="is not finished: cancel it"):
        delete_run("mine")
    assert (folder / METRICS_FILE).is_file()
    assert job_of("mine").state is state


def test_what_a_crash_left_half_deleted_is_neither_listed_nor_kept(home):
    left = write_run(home / "runs" / ".deleted-0123456789ab")
    write_run(home / "runs" / "mine")
    assert [entry.id for entry in history()] == ["mine"]
    delete_run("mine")
    trash.empty(time.time() + 8 * 86_400)
    assert not left.exists()
    assert history() == []


@pytest.mark.parametrize("run_id", ["..", "a/b", "", ".deleted-x"])
def test_no_other_folder_can_be_deleted(home, run_id):
    write_run(home / "runs" / "mine")
    with pytest.raises(GscError):
        delete_run(run_id)
    assert (home / "runs" / "mine").is_dir()


def test_the_log_ends_with_its_last_lines(home):
    folder = write_run(home / "runs" / "mine")
    assert log_tail("mine") == ""
    (folder / "log.txt").write_bytes(b"\xff" + b"".join(b"line %d\n" % n for n in range(9000)))
    tail = log_tail("mine", lines=3)
    assert tail == "line 8997\nline 8998\nline 8999"


# --- the demo ----------------------------------------------------------------------------------


def test_the_demo_is_asked_for_once_however_many_ask(home):
    threads = [threading.Thread(target=demo.submit_demo) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (job,) = queue.jobs()
    assert (job.kind, job.subject, job.title) == (Kind.DEMO, runs.DEMO_RUN, runs.DEMO_TITLE)
    end(runs.DEMO_RUN, State.FAILED, "x")
    again = demo.submit_demo()
    assert (again.id, again.state, again.error) == (job.id, State.QUEUED, None)
    assert len(queue.jobs()) == 1


@pytest.mark.slow
def test_the_demos_parts_can_be_used_renamed_and_deleted_without_harm(home):
    render_demo(demo.images_folder(), sizes=Sizes(calibration=16, id=32, ood=4))
    job = demo.submit_demo()
    write_run(home / "runs" / runs.DEMO_RUN)  # newer than the job: it is not run again
    demo.perform(job, lambda _: None)
    end(runs.DEMO_RUN, State.DONE)
    (model,) = models.list_models()
    assert (model.readiness, models.facts_of(model).num_classes) == (Readiness.READY, 16)
    assert len(models.facts_of(model).predictions) > 0
    sets = {each.name: each for each in imagesets.list_sets()}
    assert {each.readiness for each in sets.values()} == {Readiness.READY}
    assert {name for name, each in sets.items() if each.role == "ood"} == set(OOD_SETS)
    known = next(each for each in sets.values() if each.role == "id")
    assert (known.images, known.labels, known.owned) == (32, 16, False)

    imagesets.rename_set(known.id, "signs I know")
    noise = sets["noise"]
    imagesets.delete_set(noise.id)
    models.delete_model(model.id)
    assert len(list(Path(noise.folder).iterdir())) == 4
    demo.register(lambda _: None)
    assert {each.name for each in imagesets.list_sets("id")} == {"signs I know"}
    assert "noise" in {each.name for each in imagesets.list_sets("ood")}
    assert len(models.list_models()) == 1
    assert demo.is_of_demo(known)
    assert not demo.is_of_demo(stored("photos"))


@pytest.mark.slow
def test_the_demo_runs_from_nothing_with_an_answer(home, monkeypatch):
    """With two of its detectors; `cli/test_audit.py` runs it with all."""
    monkeypatch.setattr("gsc_core.demo.audit.CATALOGUE", (AutoGSC, Energy))
    seen, job = [], demo.submit_demo()
    demo.perform(job, seen.append)
    assert seen[0].phase == "drawing road signs"
    counted = {each.phase: each.total for each in seen if each.total > 1}
    assert counted.pop("choosing the short-circuit") > 100  # candidates, no images
    counted.pop("comparing the image sets", None)  # pairs
    assert sum(counted.values()) == job.images_total
    (entry,) = history()
    said = summary(entry)
    assert said is not None
    assert "of 1,000 unfamiliar images would be accepted" in (said.answer or "")
    spec = json.loads((home / "runs" / "demo" / "spec.json").read_text())
    assert {each.folder for each in imagesets.list_sets("ood")} == set(spec["ood"].values())


def test_labels_are_taken_in_an_audit_as_the_set_was_answered(tmp_path):
    familiar = StoredSet(name="f", role="id", folder=str(tmp_path), labels_from="folders")
    more = StoredSet(name="c", role="calibration", folder=str(tmp_path), labels_from="t.csv")
    model = ModelSpec(checkpoint=tmp_path / "m.pt2")
    spec = specification(model, familiar, [stored("x")], more, DETECTORS)
    assert (spec.labels, spec.calibration_labels) == ("folders", Path("t.csv"))
    spec = specification(model, familiar, [stored("x")], 0.5, DETECTORS)
    assert (spec.labels, spec.calibration_labels) == ("folders", None)
