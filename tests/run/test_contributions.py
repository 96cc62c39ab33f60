"""What the parts of a fused score add, against the stored score itself."""

from pathlib import Path

import pytest
from small_audit import PREPROCESS, write_stage

from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.run.contributions import contributions
from gsc_core.run.document import FusedPart, FusedScore
from gsc_core.run.stored import Run
from gsc_core.sentences.selection import choice_sentences, fused_sentence


def weighed(stage: Path) -> AuditSpec:
    """An audit by auto-ensemble of what stands there."""
    return AuditSpec(
        model=ModelSpec(
            checkpoint=stage / "small.pt2", preprocessing=Preprocessing.parse(PREPROCESS)
        ),
        id=stage / "id",
        calibration=stage / "calibration",
        ood={"faint": stage / "faint"},
        detectors=(DetectorSpec(name="auto-ensemble"),),
        repeats=10,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("weighed")
    run_audit(weighed(write_stage(folder / "stage")), folder / "out")
    return Run.load(folder / "out")


@pytest.mark.slow
def test_each_is_its_weight_times_how_far_the_part_is_from_usual(run: Run) -> None:
    fused = {part.detector: part for part in run.document.fusions["auto-ensemble"].parts}
    rows = run.rows_of().tolist()
    for row in (rows[0], rows[-1]):
        found = contributions(run, "auto-ensemble", row)
        assert {part.detector for part in found} == fused.keys()
        for part in found:
            of = fused[part.detector]
            score = float(run.column(part.detector)[row])
            expected = of.weight * (score - of.middle) / of.spread
            assert part.added == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.slow
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


def test_who_weighs_nothing_is_named() -> None:
    part = FusedPart(detector="energy", weight=1.0, middle=0.0, spread=1.0)
    one = FusedScore(parts=(part,), useless=("knn",), learned=True)
    assert fused_sentence("x", one).endswith("; knn adds nothing to these and is left out.")
    two = one.model_copy(update={"useless": ("knn", "gen")})
    assert fused_sentence("x", two).endswith("; knn and gen add nothing to these and are left out.")


@pytest.mark.slow
def test_an_audit_of_39_calibration_images_weighs_all_alike_and_says_so(tmp_path: Path) -> None:
    stage = write_stage(tmp_path / "stage")
    for image in sorted((stage / "calibration").rglob("*.png"))[39:]:
        image.unlink()
    run_audit(weighed(stage), tmp_path / "out")
    found = Run.load(tmp_path / "out")
    fused = found.document.fusions["auto-ensemble"]
    assert not fused.learned
    assert {part.weight for part in fused.parts} == {1 / len(fused.parts)}
    (sentence,) = [s for s in choice_sentences(found) if s.startswith("auto-ensemble")]
    assert "the same weight: there are too few calibration images" in sentence
