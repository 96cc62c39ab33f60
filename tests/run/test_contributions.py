"""What the parts of a fused score add, against the stored score itself."""

import json
from pathlib import Path

import pytest
from small_audit import PREPROCESS, write_stage

from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.run.contributions import contributions
from gsc_core.run.stored import Run
from gsc_core.sentences.selection import choice_sentences


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("weighed")
    stage = write_stage(folder / "stage")
    spec = AuditSpec(
        model=ModelSpec(
            checkpoint=stage / "small.pt2", preprocessing=Preprocessing.parse(PREPROCESS)
        ),
        id=stage / "id",
        calibration=stage / "calibration",
        ood={"faint": stage / "faint"},
        detectors=(DetectorSpec(name="auto-ensemble"),),
        repeats=10,
    )
    run_audit(spec, folder / "out")
    return Run.load(folder / "out")


def test_they_sum_to_the_score_of_every_test_image(run: Run) -> None:
    for row in run.rows_of().tolist():
        parts = contributions(run, "auto-ensemble", row)
        total = sum(part.added for part in parts)
        assert total == pytest.approx(float(run.column("auto-ensemble")[row]), abs=1e-3, rel=1e-4)
        assert [part.added for part in parts] == sorted((p.added for p in parts), reverse=True)


def test_a_detector_that_weighs_none_has_none(run: Run) -> None:
    assert contributions(run, "energy", 0) == ()


def test_the_weights_are_said_and_who_is_left_out(run: Run) -> None:
    fused = run.document.fusions["auto-ensemble"]
    (sentence,) = [s for s in choice_sentences(run) if s.startswith("auto-ensemble")]
    for part in fused.parts:
        assert part.detector in sentence
    for name in fused.useless:
        assert name in sentence.partition(";")[2]


def test_an_even_mean_is_called_that(run: Run, tmp_path: Path) -> None:
    content = json.loads((run.path / "metrics.json").read_text())
    content["fusions"]["auto-ensemble"]["learned"] = False
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    sentences = choice_sentences(Run.load(tmp_path))
    assert any("the same weight" in sentence for sentence in sentences)
