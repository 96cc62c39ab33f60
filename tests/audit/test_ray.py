"""Audits on a real Ray cluster of two processes: the scores of one machine, whatever dies.

One cluster and one local audit serve all tests: 5,000 images from a manifest, tar shards and an
S3-compatible server.
"""

import os
import re
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from browser import PATIENCE
from crashing import FATAL, Fatal
from filled_workspace import fill
from object_store import s3_server
from opened_page import opened, words
from picky import PickyRecipe
from PIL import Image
from places import IMPORTABLE
from ray_cluster import processes, ray_cluster
from small_audit import PREPROCESS, faint, known, save_program, strange, write_pictures
from small_classifier import pictures
from states import until
from streamlit.testing.v1 import AppTest

from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.errors import Cancelled, SpecError
from gsc_core.images import ImageSet, read_folder
from gsc_core.images.sources.uri import Uri
from gsc_core.jobs import queue
from gsc_core.jobs.database import Job, Kind, State
from gsc_core.progress import Progress
from gsc_core.run.image_files import ImageFiles
from gsc_core.run.layout import CHUNKS_FOLDER, SCORES_FILE
from gsc_core.run.stored import Run
from gsc_core.run.summary import Summary
from gsc_core.scoring.chunks import ChunkStore, join
from gsc_core.scoring.loading import Pace, read_batches
from gsc_core.scoring.ray import RayEngine

pytestmark = pytest.mark.slow

DETECTORS = ("gsc", "gsc-auto", "energy", "knn", "react", "mahalanobis", "vim", "auto-ensemble")
IMAGES = {"id": 1700, "shards": 1650, "bucket": 1650}
CHUNKS = 12  # of 512 images and a rest, four a set


@dataclass(frozen=True)
class Stage:
    """What is audited, the scores of the local engine, and the cluster's address."""

    spec: AuditSpec
    scores: pa.Table
    address: str

    def on_ray(self, workers: int | None = None) -> AuditSpec:
        return self.spec.model_copy(
            update={"engine": "ray", "ray_address": self.address, "workers": workers}
        )


def _packed(folder: Path, into: Path, shards: int) -> None:
    files = sorted(folder.iterdir())
    for number in range(shards):
        with tarfile.open(into / f"{number:03}.tar", "w") as shard:
            for file in files[number::shards]:
                shard.add(file, file.name)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("stage")
    save_program(folder / "small.pt2")
    images, labels = pictures(IMAGES["id"], seed=31)
    write_pictures(folder / "familiar", images, labels)
    rows = (f"familiar/{int(label)}/{at:04}.png,{int(label)}" for at, label in enumerate(labels))
    (folder / "id.csv").write_text("\n".join(["uri,label", *rows]))
    known(folder / "calibration", 120, seed=32)
    for made, name in ((faint, "shards"), (strange, "bucket")):
        made(folder / f"{name}-images", IMAGES[name], 33)
    for packed in (folder / "shards", folder / "served" / "bucket"):
        packed.mkdir(parents=True)
    _packed(folder / "shards-images", folder / "shards", 4)
    _packed(folder / "bucket-images", folder / "served" / "bucket", 3)
    with s3_server(folder / "served") as variables, pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        spec = AuditSpec(
            model=ModelSpec(
                checkpoint=folder / "small.pt2", preprocessing=Preprocessing.parse(PREPROCESS)
            ),
            id=folder / "id.csv",
            calibration=folder / "calibration",
            ood={"shards": folder / "shards", "bucket": Uri("s3://bucket")},
            detectors=tuple(DetectorSpec(name=name) for name in DETECTORS),
            device="cpu",
            repeats=10,
        )
        run_audit(spec, folder / "local")
        with ray_cluster(variables) as address:
            yield Stage(spec, pq.read_table(folder / "local" / SCORES_FILE), address)


def assert_same(run: Run, expected: pa.Table) -> None:
    """The same images in the same order, and scores equal to a millionth of their spread."""
    scores = pq.read_table(run.path / SCORES_FILE)
    assert scores.column_names == expected.column_names
    for column in ("set", "role", "file", "sha256", "label", "predicted"):
        assert scores[column].equals(expected[column]), column
    for name in run.detectors:
        ours, theirs = (np.asarray(table[name], dtype=np.float64) for table in (scores, expected))
        assert np.abs(ours - theirs).max() <= 1e-6 * np.ptp(theirs), name


def _once(run: Path, chunks: int, do: Callable[[], None]) -> Callable[[Progress], None]:
    """Do something once, when a run has so many chunks."""
    left = [do]

    def step(_: Progress) -> None:
        if left and len(_chunks(run)) >= chunks:
            left.pop()()

    return step


def _chunks(run: Path) -> dict[Path, int]:
    """The chunks of an unfinished audit, and when each was written."""
    return {path: path.stat().st_mtime_ns for path in (run / CHUNKS_FOLDER).rglob("*.parquet")}


def test_the_scores_are_those_of_the_local_engine_whatever_dies(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver is killed, then the local engine cancelled, then one of two actors is killed."""
    monkeypatch.setattr("gsc_core.audit.run.SUMMARISED_FROM", sum(IMAGES.values()))
    _killed_driver(stage.on_ray(), tmp_path)
    by_driver = _chunks(tmp_path / "run")
    assert 3 <= len(by_driver) < 8

    def cancel() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        run_audit(stage.spec, tmp_path / "run", _once(tmp_path / "run", len(by_driver) + 1, cancel))
    before = _chunks(tmp_path / "run")
    assert by_driver.items() < before.items() and len(before) < CHUNKS - 1
    killed: list[int] = []

    def kill() -> None:
        killed.extend(processes("(_Actor)"))
        os.kill(killed[0], signal.SIGKILL)

    seen: list[Progress] = []
    at_once = _once(tmp_path / "run", len(before) + 1, kill)
    at_the_end = _untouched(tmp_path / "run", before)

    def step(progress: Progress) -> None:
        seen.append(progress)
        at_once(progress)
        at_the_end(progress)

    run = run_audit(stage.on_ray(), tmp_path / "run", step)
    assert len(killed) == 2
    assert_same(run, stage.scores)
    assert set(run.detectors) >= set(DETECTORS)
    assert {name: run.images[name].scored for name in IMAGES} == IMAGES
    for name, images in IMAGES.items():
        shown = [p.done for p in seen if p.phase == f"scoring {name}"]
        assert shown == sorted(shown) and all(done <= images for done in shown)
    assert any(p.phase.startswith("scoring ") for p in seen)
    assert not (run.path / CHUNKS_FOLDER).exists()
    assert Summary.of(run) is not None, "so many images are summed up"
    _assert_shown_images_are_there(run)


def _assert_shown_images_are_there(run: Run) -> None:
    """Of a bucket too: the images of the highest scores were copied."""
    files = ImageFiles.of(run.path, run.settings)
    assert run.document.decision is not None
    column = run.column(run.document.decision.detector)
    for name, rows in run.members().by_name.items():
        extreme = int(rows[np.argmax(column[rows])])
        role = name if name in ("id", "calibration") else "ood"
        assert files.find(role, name, run.files()[extreme].as_py()).is_file()


def _untouched(run: Path, before: dict[Path, int]) -> Callable[[Progress], None]:
    """At the end of scoring, that no chunk of before was scored again."""

    def check() -> None:
        assert before.items() <= _chunks(run).items()

    return _once(run, CHUNKS, check)


def _killed_driver(spec: AuditSpec, folder: Path) -> None:
    """An audit in a process of its own, that is killed when a quarter is scored."""
    (folder / "spec.json").write_text(spec.model_dump_json())
    with subprocess.Popen(
        [sys.executable, "-c", _DRIVER, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": IMPORTABLE},
    ) as driver:
        assert driver.stdout is not None
        assert any("some" in line for line in iter(driver.stdout.readline, ""))
        driver.kill()


_DRIVER = """
import sys
from pathlib import Path
from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec
folder = Path(sys.argv[1])

def step(_):
    if len(list((folder / "run" / "chunks").glob("*.parquet"))) >= 3:
        print("some", flush=True)

run_audit(AuditSpec.model_validate_json((folder / "spec.json").read_text()), folder / "run", step)
"""


def test_what_fails_on_the_cluster_costs_itself_alone(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A detector that fails on one image is out for all; an image that ends its process is out."""
    monkeypatch.setattr("gsc_core.scoring.ray._TRIES", 1)  # each takes a process that starts
    images, limit = _highest_last(stage)
    odd = _with_a_fatal_one(tmp_path / "images")
    recipe = PickyRecipe(limit, Fatal)
    store, scorer = ChunkStore(tmp_path / "chunks", "key"), recipe()
    with RayEngine(lambda: recipe, stage.address, 2) as score_sets:
        score_sets(scorer, [images, odd], {}, store, Pace(8, 2, lambda *_: None))
    assert list(scorer.excused) == ["picky"] and "too high" in scorer.excused["picky"]
    tables = [table for table, _ in store.tables("id")]
    joined = join(tables, tmp_path / SCORES_FILE)
    assert any("picky" in table.column_names for table in tables), "some actor had no trouble"
    assert "picky" not in joined.column_names and "energy" in joined.column_names
    assert joined["file"].to_pylist() == [image.name for image in images.images]
    ((table, broken),) = store.tables("odd")
    assert [(one.name, one.reason) for one in broken] == [
        ("0042.png", "0042.png stopped the process that decodes it: leave it out.")
    ]
    there = [image for image in odd.images if image.name != "0042.png"]
    assert table["file"].to_pylist() == [image.name for image in there]
    (truth,) = read_batches(there, PickyRecipe(1e9)().preprocessing, len(there))
    scores = scorer.score(scorer.represent(truth.pixels)).outlier["energy"].numpy()
    np.testing.assert_allclose(table["energy"].to_numpy(), scores, atol=1e-6 * np.ptp(scores))


def _highest_last(stage: Stage) -> tuple[ImageSet, float]:
    """The familiar images, of which the last one alone has a logit above the limit."""
    assert isinstance(stage.spec.id, Path)
    images = read_folder(stage.spec.id.parent / "familiar", "id")
    everyone = PickyRecipe(1e9)()
    highest = [
        float(everyone.represent(batch.pixels).logits.max())
        for batch in read_batches(images.images, everyone.preprocessing, 1)
    ]
    in_order = np.argsort(highest, kind="stable")
    ordered = replace(images, images=tuple(images.images[at] for at in in_order))
    return ordered, sorted(highest)[-2]


def _with_a_fatal_one(folder: Path) -> ImageSet:
    strange(folder, 90, 34)
    Image.new("RGB", FATAL).save(folder / "0042.png")
    return read_folder(folder, "odd")


def test_ordered_in_the_app_an_audit_is_cancelled_resumed_and_shown(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GSC_RAY_ADDRESS", stage.address)
    fill(tmp_path / "files")
    app = opened("new_audit")
    app.toggle(key="audit_cluster").set_value(True).run()
    app.button(key="audit_start").click().run()
    (job,) = queue.jobs(kinds=(Kind.AUDIT,))
    with _worker() as worker:
        until(lambda: worker.poll() is not None or _phase(job) == "scoring id")
        assert worker.poll() is None
        assert re.search(r"Scoring the familiar images: \d+ of \d+", _bar(opened("runs")))
        queue.cancel(job.id)
        assert worker.wait(PATIENCE) == 0
    assert _state(job) is State.CANCELLED
    queue.retry(job.id)
    with _worker() as worker:
        assert worker.wait(PATIENCE) == 0
    assert _state(job) is State.DONE
    shown = opened("results", run=job.subject)
    assert not shown.exception
    assert "Which detector is best where" in words(shown)
    run = Run.load(tmp_path / "home" / "runs" / job.subject)
    scored = {name: run.images[name].scored for name in job.payload["spec"]["ood"]}
    assert scored and scored.items() <= {"noise": 40, "faint": 50}.items()
    assert job.payload["spec"]["engine"] == "ray"


def _worker() -> subprocess.Popen[bytes]:
    """A worker that ends when all is done."""
    return subprocess.Popen(
        [sys.executable, "-m", "gsc_core", "worker", "--lane", "audit", "--idle", "0"],
        env=os.environ | {"PYTHONPATH": IMPORTABLE},
    )


def _state(job: Job) -> State | None:
    now = queue.get(job.id)
    return now and now.state


def _phase(job: Job) -> str | None:
    now = queue.get(job.id)
    return now and now.phase


def _bar(app: AppTest) -> str:
    return str(app.get("progress")[0].proto.text)


def test_no_cluster_is_one_sentence(stage: Stage, tmp_path: Path) -> None:
    spec = stage.spec.model_copy(update={"engine": "ray", "ray_address": "127.0.0.1:9"})
    with pytest.raises(SpecError, match="There is no Ray cluster at"):
        run_audit(spec, tmp_path / "run")
