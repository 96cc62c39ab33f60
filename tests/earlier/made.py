"""Makes the files in this folder, as commit 07b3921 writes them; README.md says how to run it."""

import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path("/srv/gsc")
"""A neutral place: stored documents name the folders they were made in."""

HOME, STAGE = ROOT / "home", ROOT / "stage"
os.environ |= {"GSC_HOME": str(HOME), "GSC_WORKERS": "elsewhere"}

from gsc_core.spec import DetectorSpec  # noqa: E402
from gsc_core.workspace.database import Kind, Lane, State  # noqa: E402
from small_audit import PREPROCESS, known, save_program, strange  # noqa: E402

from gsc_core.classifier import ModelSpec, Preprocessing  # noqa: E402
from gsc_core.evaluation.thresholds import KeepId  # noqa: E402
from gsc_core.workspace import (  # noqa: E402
    ablations,
    audits,
    decisions,
    exports,
    imagesets,
    models,
    queue,
    runs,
)
from gsc_core.workspace.tasks import TASKS  # noqa: E402

DETECTORS = ("gsc-auto", "gsc", "energy", "knn", "auto-ensemble")
GSC = (sys.executable, "-m", "gsc_core")
POLICY = Path(__file__).with_name("policy.toml")


def gsc(*words: str | Path, allowed: tuple[int, ...] = (0,)) -> None:
    """One command of that version, which must end as it should."""
    done = subprocess.run([*GSC, *map(str, words)], check=False)
    if done.returncode not in allowed:
        sys.exit(f"gsc {words[0]} ended with {done.returncode}")


def work() -> None:
    """Do what is queued, as the workers would."""
    for lane in (Lane.PREPARE, Lane.AUDIT, Lane.EXPLAIN):
        while job := queue.claim(lane, os.getpid()):
            TASKS[job.kind](job, lambda _: None)
            queue.end(job.id, State.DONE)


def archive(folder: Path) -> tuple[str, io.BytesIO]:
    """A folder as the ZIP that a user would upload."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for path in sorted(folder.rglob("*.png")):
            packed.write(path, path.relative_to(folder))
    file.seek(0)
    return f"{folder.name}.zip", file


def workspace() -> str:
    """A model, two sets, an audit with its ablation, a threshold and an export: the run's id."""
    with (STAGE / "small.pt2").open("rb") as file:
        prepared = Preprocessing.parse(PREPROCESS)
        models.add_model(file, "small.pt2", name="Corners", preprocessing=prepared)
    familiar = imagesets.add_upload([archive(STAGE / "corners")], name="corners", role="id")
    noise = imagesets.add_upload([archive(STAGE / "noise")], name="noise", role="ood")
    work()
    (model,) = models.list_models()
    spec = audits.specification(
        ModelSpec.model_validate(model.spec),
        imagesets.image_set(familiar.id),
        [imagesets.image_set(noise.id)],
        0.5,
        [DetectorSpec(name=name) for name in DETECTORS],
        repeats=50,
    )
    run_id = audits.submit_audit(spec, "Corners and noise", 120)
    work()
    ablations.submit_ablation(run_id)
    run = runs.load_run(runs.run_folder(run_id))
    decision = decisions.choose(run_id, decisions.decide(run, "energy", KeepId(share=0.9)))
    work()
    exports.submit_export(run_id, decision, onnx=True)
    work()
    shutil.copy(POLICY, HOME / "policy.toml")
    jobs = queue.jobs(kinds=tuple(Kind))
    assert jobs and all(job.state is State.DONE for job in jobs)
    return run_id


def main(out: Path) -> None:
    """Make everything and put it into `out`, beside this script."""
    for folder in (HOME, STAGE):
        shutil.rmtree(folder, ignore_errors=True)
    STAGE.mkdir(parents=True)
    save_program(STAGE / "small.pt2")
    known(STAGE / "corners", 80, seed=11)
    strange(STAGE / "noise", 40, seed=13)
    known(STAGE / "monday", 12, seed=21)
    known(STAGE / "tuesday", 12, seed=22)
    known(STAGE / "wednesday", 12, seed=23)
    run_id = workspace()

    detector = STAGE / "detector.pt2"
    run = HOME / "runs" / run_id
    gsc("export", run, "--detector", "gsc", "--threshold", "keep-id:0.95", "--out", detector,
        "--onnx")  # fmt: skip
    for day in ("monday", "tuesday"):
        gsc("watch", "--detector", detector, "--images", STAGE / day)
    gsc("tune", "--model", STAGE / "small.pt2", "--preprocess", PREPROCESS,
        "--id", STAGE / "corners", "--out", STAGE / "gsc.json")  # fmt: skip
    gsc("demo", "--out", STAGE / "demo")
    for run_folder in (STAGE / "demo", run):  # the verdict is a part of what is kept
        with (run_folder / "verdict.json").open("w") as file:
            subprocess.run(
                [*GSC, "gate", run_folder, "--policy", POLICY, "--json"], stdout=file, check=False
            )

    for name in ("workspace", "demo", "detector", "watched"):
        shutil.rmtree(out / name, ignore_errors=True)
    shutil.copytree(HOME, out / "workspace", ignore=shutil.ignore_patterns("*.lock", "demo"))
    shutil.copytree(STAGE / "demo", out / "demo")
    (
        out / "demo" / "calibration.safetensors"
    ).unlink()  # some megabytes; the workspace's run has one
    (out / "detector").mkdir()
    for path in (*STAGE.glob("detector.*"), STAGE / "gsc.json"):
        shutil.copy(path, out / "detector" / path.name)
    for day in ("monday", "tuesday", "wednesday"):  # the last was not watched yet
        shutil.copytree(STAGE / day, out / "watched" / day)


if __name__ == "__main__":
    main(Path(__file__).parent)
