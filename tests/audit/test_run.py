"""Whole audits against independent truth: scikit-learn, loops, the original module on Pillow."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from picky import SnowBlind
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score
from small_audit import (
    MEAN,
    PREPROCESS,
    STD,
    known,
    model,
    read_with_pillow,
    strange,
    write_stage,
)

from gsc_core.audit.measure import measure
from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.detectors import catalogue
from gsc_core.detectors.base import Detector, Fit
from gsc_core.detectors.catalogue import CATALOGUE, find
from gsc_core.errors import Cancelled, Excused, SpecError
from gsc_core.images import ImageFile, ImageSet
from gsc_core.images.surrogates import surrogates_of
from gsc_core.progress import Progress
from gsc_core.run.revised import revised
from gsc_core.run.stored import Revision, Run
from gsc_core.scoring.calibration import Calibrated
from gsc_core.scoring.scorer import Scores
from gsc_core.sentences.set_checks import FAILED, in_short, limits

METRICS = ("fpr95", "fpr95_ood_positive", "auroc", "aupr_in", "aupr_out", "detection_error")
ALL = tuple(detector.name for detector in CATALOGUE)


def spec_of(stage: Path, **changed: object) -> AuditSpec:
    """An audit of the stage: every detector, two OOD sets."""
    values = {
        "model": ModelSpec(
            checkpoint=stage / "small.pt2", preprocessing=Preprocessing.parse(PREPROCESS)
        ),
        "id": stage / "id",
        "ood": {"noise": stage / "noise", "faint": stage / "faint"},
        "detectors": ALL,
    } | changed
    values["detectors"] = tuple(DetectorSpec(name=name) for name in values["detectors"])
    return AuditSpec(**values)


def test_a_specification_of_a_detector_says_what_differs_from_the_usual():
    assert [DetectorSpec.of(detector()).settings for detector in CATALOGUE] == [{}] * len(CATALOGUE)
    changed = find("gsc").configured({"share": 0.1, "seed": 0})
    assert DetectorSpec.of(changed) == DetectorSpec(name="gsc", settings={"share": 0.1})
    assert DetectorSpec.of(changed).build().settings() == changed.settings()


def rows_of(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "scores.parquet")


def plant(stage: Path) -> None:
    """Copies and damage, inside the sets and across them, that the tests below count."""
    first, second, third, fourth = sorted((stage / "id" / "0").iterdir())[:4]
    shutil.copy(first, stage / "id" / "0" / "copy-1.png")
    shutil.copy(first, stage / "id" / "0" / "copy-2.png")
    (stage / "id" / "1" / "torn.png").write_bytes(first.read_bytes()[:20])
    shutil.copy(second, stage / "noise" / "known-1.png")
    shutil.copy(third, stage / "noise" / "known-2.png")
    shutil.copy(next((stage / "noise").iterdir()), stage / "noise" / "copy.png")
    half = stage / "faint" / "half.png"
    generator = np.random.default_rng(0)
    Image.fromarray(generator.integers(0, 256, (60, 60, 3), dtype=np.uint8)).save(half)
    half.write_bytes(half.read_bytes()[:4000])
    (stage / "faint" / "empty.jpg").write_bytes(b"")
    shutil.copy(fourth, stage / "calibration" / "0" / "of-id.png")
    of_calibration = next((stage / "calibration" / "1").iterdir())
    shutil.copy(of_calibration, stage / "faint" / "of-calibration.png")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sets with planted copies and damage."""
    folder = write_stage(tmp_path_factory.mktemp("stage"))
    plant(folder)
    return folder


@pytest.fixture(scope="module")
def run(stage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One audit with every detector, half of the ID set for calibration."""
    return run_audit(spec_of(stage), tmp_path_factory.mktemp("run")).path


@pytest.fixture(scope="module")
def document(run: Path) -> dict:
    return json.loads((run / "metrics.json").read_text())


@pytest.fixture(scope="module")
def rows(run: Path) -> pd.DataFrame:
    return rows_of(run)


def test_a_revision_that_changes_nothing_gives_the_document_of_the_audit(run: Path) -> None:
    audited = Run.load(run)
    again = revised(audited, Revision()).document
    assert again.results == audited.document.results
    assert again == audited.document


# --- the figures -----------------------------------------------------------------------------


def truth(known: np.ndarray, strange: np.ndarray) -> dict[str, float]:
    """All metrics by scikit-learn, or by trying every threshold there is."""
    is_ood = np.r_[np.zeros(len(known)), np.ones(len(strange))]
    scores = np.r_[known, strange].astype(np.float64)
    thresholds = [-np.inf, *np.unique(scores)]
    accepted = [(np.mean(known <= t), np.mean(strange <= t)) for t in thresholds]
    flagged = [(np.mean(strange >= t), np.mean(known >= t)) for t in np.unique(scores)]
    enough = 0.95 - 1e-12
    return {
        "fpr95": min(fpr for tpr, fpr in accepted if tpr >= enough),
        "fpr95_ood_positive": min(fpr for tpr, fpr in flagged if tpr >= enough),
        "auroc": roc_auc_score(is_ood, scores),
        "aupr_in": average_precision_score(1 - is_ood, -scores),
        "aupr_out": average_precision_score(is_ood, scores),
        "detection_error": min((1 - tpr + fpr) / 2 for tpr, fpr in accepted),
    }


@pytest.mark.slow
@pytest.mark.parametrize("detector", ALL)
def test_metrics_are_those_of_the_stored_scores(
    detector: str, document: dict, rows: pd.DataFrame
) -> None:
    if detector in document["excused"]:
        assert detector not in rows.columns
        return
    told = {row["ood_set"]: row for row in document["results"] if row["detector"] == detector}
    ours = rows.loc[rows["role"] == "id", detector].to_numpy()
    expected = {
        name: truth(ours, rows.loc[rows["set"] == name, detector].to_numpy())
        for name in ("noise", "faint")
    }
    expected["mean"] = {
        metric: np.mean([expected[name][metric] for name in ("noise", "faint")])
        for metric in METRICS
    }
    assert told.keys() == expected.keys()
    for name, metrics in expected.items():
        for metric, value in metrics.items():
            assert told[name][metric] == pytest.approx(value, abs=1e-9), (name, metric)


def path_of(stage: Path, row: pd.Series) -> Path:
    folder = "id" if row["set"] == "calibration" else row["set"]
    return stage / folder / row["file"]


@pytest.mark.slow
def test_predictions_and_energy_are_those_of_the_module_one_by_one(
    stage: Path, document: dict, rows: pd.DataFrame
) -> None:
    with torch.no_grad():
        logits = torch.cat(
            [model()(read_with_pillow(path_of(stage, row))) for _, row in rows.iterrows()]
        )
    predicted = logits.argmax(dim=1).numpy()
    assert (rows["predicted"] == predicted).all()
    confidence = logits.softmax(dim=1).amax(dim=1).numpy()
    np.testing.assert_allclose(rows["confidence"], confidence, atol=1e-5)
    energy = -torch.logsumexp(logits, dim=1).numpy()
    np.testing.assert_allclose(rows["energy"], energy, rtol=1e-4, atol=1e-4)
    maxlogit = -logits.amax(dim=1).numpy()
    np.testing.assert_allclose(rows["maxlogit"], maxlogit, rtol=1e-4, atol=1e-4)
    folders = rows["file"].str.split("/").str[0]
    is_id = (rows["role"] == "id").to_numpy()
    assert document["id_accuracy"] == np.mean(predicted[is_id] == folders[is_id].astype(int))


def test_labels_are_the_class_folders_and_strangers_have_none(rows: pd.DataFrame) -> None:
    familiar = rows[rows["role"] != "ood"]
    assert (familiar["label"] == familiar["file"].str.split("/").str[0].astype(int)).all()
    assert (rows.loc[rows["role"] == "ood", "label"] == -1).all()


def test_accuracy_after_the_short_circuit_is_that_of_the_stored_classes(
    document: dict, rows: pd.DataFrame
) -> None:
    tested = rows[rows["role"] == "id"]
    assert document["id_accuracy_after"].keys() == {
        "gsc",
        "gsc-drop",
        "gsc-energy",
        "gsc-auto",
    }
    for name, share in document["id_accuracy_after"].items():
        assert share == np.mean(tested[f"predicted_after_{name}"] == tested["label"])


def test_each_detector_is_described_with_its_settings(document: dict) -> None:
    records = {record["name"]: record for record in document["detectors"]}
    assert records.keys() == set(ALL)
    for detector in CATALOGUE:
        record = records[detector.name]
        assert record["settings"] == detector().settings()
        assert (record["family"], record["fails_on"]) == (detector.family, detector.fails_on)


def test_inverted_are_those_that_either_auroc_shows(document: dict) -> None:
    mean = {r["detector"]: r["auroc"] for r in document["results"] if r["ood_set"] == "mean"}
    surrogate = document["surrogate_auroc"]
    backwards = {name for name in mean if mean[name] < 0.5 or surrogate[name] < 0.5}
    assert set(document["inverted"]) == backwards
    assert "gsc-drop" in backwards
    assert "energy" not in backwards


def test_the_surrogate_auroc_again_by_the_module(
    stage: Path, document: dict, rows: pd.DataFrame
) -> None:
    """Surrogates of the first quarter of the calibration images, against all of them."""
    calibration = rows[rows["role"] == "calibration"]
    files = [path_of(stage, row) for _, row in calibration.iterrows()]
    first = [
        ImageFile(path, row["file"], row["sha256"])
        for path, (_, row) in zip(files, calibration.iterrows(), strict=True)
    ][: len(files) // 4]
    made = [pixels for _, _, pixels in surrogates_of(ImageSet("first", tuple(first)), seed=0)]
    with torch.no_grad():
        ours = model()(torch.cat([read_with_pillow(file) for file in files]))
        theirs = model()((torch.stack(made).float() / 255 - MEAN) / STD)
    scores = -torch.cat([ours, theirs]).logsumexp(dim=1).numpy()
    is_surrogate = np.r_[np.zeros(len(ours)), np.ones(len(theirs))]
    assert len(made) == len(files)
    found = document["surrogate_auroc"]["energy"]
    assert found == pytest.approx(roc_auc_score(is_surrogate, scores), abs=1e-3)


def of_scores(**scores: list[float]) -> Scores:
    """Scores by detector name as they come off the network."""
    columns = {name: torch.tensor(values) for name, values in scores.items()}
    n = len(next(iter(columns.values())))
    return Scores(torch.zeros(n, dtype=torch.long), torch.ones(n), columns)


def table_of(known: dict[str, list[float]], strange: dict[str, list[float]]) -> pa.Table:
    """A table of scores of unlabelled images."""
    parts = [
        pd.DataFrame({"set": s, "role": r, "label": -1, "predicted": 0, **scores})
        for s, r, scores in (("id", "id", known), ("x", "ood", strange))
    ]
    return pa.Table.from_pandas(pd.concat(parts), preserve_index=False)


def test_either_kind_of_outliers_is_enough_to_be_inverted() -> None:
    low, high = [0.0, 1.0, 2.0], [7.0, 8.0, 9.0]
    right, wrong = (low, high), (high, low)  # scores of ID images, of outliers
    real = {"msp": right, "energy": wrong, "maxlogit": right, "entropy": wrong}
    surrogate = {"msp": right, "energy": right, "maxlogit": wrong, "entropy": wrong}
    ours, theirs = ({name: pair[i] for name, pair in surrogate.items()} for i in (0, 1))
    calibrated = Calibrated((), (), of_scores(**ours), 3, of_scores(**theirs))
    table = table_of(*({name: pair[i] for name, pair in real.items()} for i in (0, 1)))
    found = measure(table, [find(name)() for name in real], calibrated, repeats=20, seed=0)
    assert found.inverted == ("energy", "maxlogit", "entropy")
    assert found.surrogate_auroc == {"msp": 1, "energy": 1, "maxlogit": 0, "entropy": 0}


def test_an_interval_holds_its_value() -> None:
    """Interleaved scores: resampling finds gaps, so that most replicates err less than the value,
    and have a higher average precision."""
    ours, theirs = ({"msp": [float(2 * i + j) for i in range(60)]} for j in (0, 1))
    calibrated = Calibrated((), (), of_scores(**ours), 60, None)
    found = measure(table_of(ours, theirs), [find("msp")()], calibrated, repeats=200, seed=0)
    assert found.results
    for row in found.results:
        for interval in (row.metrics[name] for name in METRICS):
            assert interval.low <= interval.value <= interval.high


# --- which images ----------------------------------------------------------------------------


def test_what_was_planted_is_counted(document: dict, rows: pd.DataFrame) -> None:
    """Of each kind as many as `plant` put there; the share for calibration is 40 of 80."""
    assert document["images"] == {
        "calibration": {"scored": 40, "without_class": 0, "broken": 0, "duplicates": 0},
        "id": {"scored": 40, "without_class": 0, "broken": 1, "duplicates": 2},
        "noise": {"scored": 40, "without_class": 0, "broken": 0, "duplicates": 3},
        "faint": {"scored": 51, "without_class": 0, "broken": 2, "duplicates": 0},
    }
    assert rows["set"].value_counts().to_dict() == {
        name: counts["scored"] for name, counts in document["images"].items()
    }
    named = document["left_out"]
    assert [one["name"] for one in named["id"]["broken"]] == ["1/torn.png"]
    assert {one["name"] for one in named["faint"]["broken"]} == {"half.png", "empty.jpg"}
    strangers = {one["name"]: one["same_as"] for one in named["noise"]["duplicates"]}
    assert {"known-1.png", "known-2.png"} < strangers.keys()
    assert {strangers["known-1.png"], strangers["known-2.png"]} < {
        f"0/{path}" for path in rows["file"].str.split("/").str[-1]
    }


def test_copies_across_id_and_a_calibration_folder(stage: Path, tmp_path: Path) -> None:
    """The image in both is tested on no more; the unfamiliar image that is a calibration image
    too."""
    spec = spec_of(stage, calibration=stage / "calibration", detectors=("energy",))
    result = run_audit(spec, tmp_path)
    images = {name: counts.model_dump() for name, counts in result.images.items()}
    assert images["calibration"] == {"scored": 61, "without_class": 0, "broken": 0, "duplicates": 0}
    assert images["id"] == {"scored": 79, "without_class": 0, "broken": 1, "duplicates": 3}
    assert images["faint"] == {"scored": 50, "without_class": 0, "broken": 2, "duplicates": 1}
    rows = rows_of(tmp_path)
    assert not rows["sha256"].duplicated().any()


def test_calibration_pictures_are_never_tested_and_no_picture_is_twice(rows: pd.DataFrame) -> None:
    assert not rows["sha256"].duplicated().any()
    assert set(rows["role"]) == {"calibration", "id", "ood"}
    calibration = rows[rows["role"] == "calibration"]
    tested = rows[rows["role"] == "id"]
    assert not set(calibration["sha256"]) & set(tested["sha256"])
    assert set(calibration["label"]) == set(tested["label"]) == {0, 1, 2, 3}


# --- the same again ----------------------------------------------------------------------------


def without_time(document: dict) -> dict:
    of_this_run = {"finished", "seconds", "phases"}
    provenance = {k: v for k, v in document["provenance"].items() if k not in of_this_run}
    return {**document, "provenance": provenance}


@pytest.mark.slow
def test_the_same_seed_gives_the_same_document(stage: Path, tmp_path: Path, document: dict) -> None:
    again = run_audit(spec_of(stage), tmp_path).document.model_dump(mode="json")
    assert without_time(again) == without_time(document)


def test_another_seed_divides_the_id_set_otherwise(
    stage: Path, tmp_path: Path, rows: pd.DataFrame
) -> None:
    run_audit(spec_of(stage, seed=1, detectors=("energy",)), tmp_path)
    other = rows_of(tmp_path)
    assert set(other.query("role == 'id'")["file"]) != set(rows.query("role == 'id'")["file"])
    both = other.merge(rows, on=["sha256"])
    np.testing.assert_allclose(both["energy_x"], both["energy_y"], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("batch_size", "threads"), [(1, 1), (5, 3), (200, 4)])
def test_batch_size_and_threads_do_not_change_the_scores(
    batch_size: int, threads: int, stage: Path, tmp_path: Path, rows: pd.DataFrame
) -> None:
    spec = spec_of(stage, batch_size=batch_size, threads=threads)
    result = run_audit(spec, tmp_path)
    assert result.settings.recorded()["batch_size"] == batch_size
    other = rows_of(tmp_path)
    exact = [name for name in rows.columns if rows[name].dtype.kind != "f"]
    pd.testing.assert_frame_equal(other[exact], rows[exact])
    for name in rows.columns.difference(exact):
        scale = rows[name].abs().max()
        np.testing.assert_allclose(other[name], rows[name], atol=2e-5 * scale, err_msg=name)


@pytest.mark.slow
def test_the_document_in_hand_is_the_one_on_disk(stage: Path, tmp_path: Path) -> None:
    """What was chosen, and what from, is plain JSON too."""
    spec = spec_of(stage, detectors=("auto-ensemble",))
    told = run_audit(spec, tmp_path / "out").document.model_dump(mode="json")
    assert told == json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert told["chosen"].keys() == {"gsc-auto", "auto-ensemble"}
    assert told["selections"].keys() == {"gsc-auto"}
    assert told["fusions"].keys() == {"auto-ensemble"}


# --- detectors that cannot ---------------------------------------------------------------------


class Unwilling(Detector):
    """Finds nothing it could be fitted on."""

    name: ClassVar[str] = "unwilling"
    title: ClassVar[str] = "Unwilling"
    about: ClassVar[str] = "Cannot be fitted."
    fitted_with: ClassVar[Fit] = Fit.IMAGES

    def fit(self, calibration):
        raise Excused("does not like these images")

    def score(self, batch):
        raise AssertionError("is never asked")


@pytest.fixture
def two_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "CATALOGUE", (*CATALOGUE, Unwilling, SnowBlind))


def white(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (12, 12), "white").save(path)


@pytest.mark.slow
def test_sets_that_cannot_be_compared_do_not_end_an_audit(
    stage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gsc_core.audit.sets.compare.limit_of", lambda *_: 1 / 0)
    run = run_audit(spec_of(stage, detectors=("energy",)), tmp_path / "out")
    assert run.row("energy") is not None
    assert run.document.set_checks is not None and run.document.set_checks.failed
    assert in_short(run) == FAILED and FAILED in limits(run)
    assert "ZeroDivisionError" in (tmp_path / "out" / "log.txt").read_text()


@pytest.mark.usefixtures("two_more")
def test_who_cannot_is_excused_and_the_others_go_on(stage: Path, tmp_path: Path) -> None:
    white(tmp_path / "snow" / "white.png")
    names = ("unwilling", "energy", "gmm", "snow-blind", "msp")
    spec = spec_of(
        stage, detectors=names, ood={"snow": tmp_path / "snow", "faint": stage / "faint"}
    )
    out = tmp_path / "out"
    document = run_audit(spec, out).document.model_dump(mode="json")
    assert document["excused"]["unwilling"] == "does not like these images"
    assert "calibration images of each class" in document["excused"]["gmm"]
    assert "not a number" in document["excused"]["snow-blind"]
    assert {row["detector"] for row in document["results"]} == {"energy", "msp"}
    assert not {"unwilling", "gmm", "snow-blind"} & set(rows_of(out).columns)


@pytest.mark.slow
@pytest.mark.usefixtures("two_more")
def test_nobody_left_is_told(stage: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"None of the detectors can run here.*unwilling"):
        run_audit(spec_of(stage, detectors=("unwilling",)), tmp_path / "a")
    assert not list((tmp_path / "a").rglob("*.parquet")), "it is known before anything is scored"
    white(tmp_path / "snow" / "white.png")
    spec = spec_of(stage, detectors=("snow-blind",), ood={"snow": tmp_path / "snow"})
    with pytest.raises(SpecError, match=r"None of the detectors can run here.*snow-blind"):
        run_audit(spec, tmp_path / "b")


# --- stopped and continued ---------------------------------------------------------------------


@pytest.fixture
def long_stage(stage: Path, tmp_path: Path) -> Path:
    """As many unfamiliar images as fill one chunk and begin another; a table with the labels."""
    folder = tmp_path / "long"
    folder.mkdir()
    shutil.copy(stage / "small.pt2", folder)
    by_class = known(tmp_path / "by class", 24, seed=31)
    (folder / "id").mkdir()
    table = []
    for path in sorted(by_class.rglob("*.png")):
        shutil.copy(path, folder / "id" / path.name)
        table.append({"file": path.name, "label": int(path.parent.name)})
    pd.DataFrame(table).to_csv(folder / "labels.csv", index=False)
    strange(folder / "noise", 540, seed=32)
    return folder


def stop_in_the_second_chunk(progress: Progress) -> None:
    if progress.phase == "scoring noise" and progress.done > 512:
        raise Cancelled


def run_twice(spec: AuditSpec, out: Path, between: Callable[[], object]) -> tuple[dict, list[int]]:
    """Stop an audit, do something, and go on; the document, and where scoring unfamiliar images
    began."""
    with pytest.raises(Cancelled):
        run_audit(spec, out, stop_in_the_second_chunk)
    assert not (out / "metrics.json").exists()
    between()
    seen: list[int] = []

    def note(progress: Progress) -> None:
        if progress.phase == "scoring noise":
            seen.append(progress.done)

    return run_audit(spec, out, note).document.model_dump(mode="json"), seen


def long_spec(folder: Path, *names: str) -> AuditSpec:
    sets = {"ood": {"noise": folder / "noise"}, "labels": folder / "labels.csv"}
    return spec_of(folder, **sets, detectors=names)


CHOOSING = ("auto-ensemble", "gsc-auto+react")


@pytest.fixture(scope="module")
def at_once(stage: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, pd.DataFrame]:
    """An audit of what chooses for itself, not stopped."""
    out = tmp_path_factory.mktemp("at once")
    return run_audit(spec_of(stage, detectors=CHOOSING), out).document.model_dump(
        mode="json"
    ), rows_of(out)


@pytest.mark.slow
def test_an_audit_goes_on_where_it_stopped(long_stage: Path, tmp_path: Path) -> None:
    spec = long_spec(long_stage, "energy", "gsc", "knn")
    document, seen = run_twice(spec, tmp_path / "out", lambda: None)
    assert seen[0] == 512
    at_once = run_audit(spec, tmp_path / "at once").document.model_dump(mode="json")
    assert without_time(document) == without_time(at_once)
    assert not (tmp_path / "out" / "chunks").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "done"),
    [
        ("calibrating", 8),
        ("scoring surrogate outliers", 16),
        ("choosing the short-circuit", 50),
        ("fitting the detectors", 0),
        ("scoring id", 12),
        ("scoring noise", 30),
        ("measuring", 0),
    ],
)
def test_a_choice_is_the_same_after_a_stop(
    phase: str, done: int, stage: Path, tmp_path: Path, at_once: tuple[dict, pd.DataFrame]
) -> None:
    def stop(progress: Progress) -> None:
        if progress.phase == phase and progress.done >= done:
            raise Cancelled

    spec, out = spec_of(stage, detectors=CHOOSING), tmp_path / "out"
    with pytest.raises(Cancelled):
        run_audit(spec, out, stop)
    assert not (out / "metrics.json").exists()
    assert without_time(run_audit(spec, out).document.model_dump(mode="json")) == without_time(
        at_once[0]
    )
    pd.testing.assert_frame_equal(rows_of(out), at_once[1])


@pytest.mark.slow
def test_other_labels_are_not_mixed_with_old_chunks(long_stage: Path, tmp_path: Path) -> None:
    """The images' bytes are the same, and yet the finished chunk of `id` is no longer right."""

    def mend() -> None:
        table = pd.read_csv(long_stage / "labels.csv")
        table["label"] = (table["label"] + 1) % 4
        table.to_csv(long_stage / "labels.csv", index=False)

    document, seen = run_twice(long_spec(long_stage, "energy"), tmp_path / "out", mend)
    assert seen[0] == 0
    assert document["id_accuracy"] < 0.1
    at_once = run_audit(long_spec(long_stage, "energy"), tmp_path / "at once").document.model_dump(
        mode="json"
    )
    assert document["id_accuracy"] == at_once["id_accuracy"]


@pytest.mark.slow
def test_renamed_pictures_are_scored_once_each(long_stage: Path, tmp_path: Path) -> None:
    """Renaming turns the order round, so that the old first chunk holds other images."""

    def rename() -> None:
        files = sorted((long_stage / "noise").iterdir())
        for i, path in enumerate(files):
            path.rename(path.with_name(f"r{len(files) - i:04}.png"))

    run_twice(long_spec(long_stage, "energy"), tmp_path / "out", rename)
    rows = rows_of(tmp_path / "out").query("role == 'ood'")
    assert not rows["sha256"].duplicated().any()
    assert set(rows["file"]) == {path.name for path in (long_stage / "noise").iterdir()}


@pytest.mark.slow
@pytest.mark.usefixtures("two_more")
def test_who_failed_before_the_stop_is_excused_after_it(long_stage: Path, tmp_path: Path) -> None:
    """The white image is in the first chunk, which is not scored again."""
    white(long_stage / "noise" / "0000.png")
    spec = long_spec(long_stage, "energy", "snow-blind")
    document, seen = run_twice(spec, tmp_path / "out", lambda: None)
    assert seen[0] == 512
    assert document["excused"].keys() == {"snow-blind"}
    assert {row["detector"] for row in document["results"]} == {"energy"}
