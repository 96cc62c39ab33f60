"""Calibration scores by detectors that have not learned from the image: thresholds keep their word.

Truth by simulation: features drawn from one distribution, a detector fitted on some of them, and
the share of fresh ones that the threshold lets through.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_audit import write_stage
from small_classifier import with_linear, world
from torch import Tensor

from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.classifier.network import Linear
from gsc_core.detectors.base import Calibration, Representation
from gsc_core.detectors.catalogue import find
from gsc_core.evaluation.thresholds import keep_id
from gsc_core.run.stored import Run
from gsc_core.scoring.held_out import PARTS, held_out_scores, parts

N, D, K = 100, 48, 4
SHARE = 0.9


def drawn(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Features `[n,D]` around a centre for each label, and the labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % K
    centres = 2 * torch.randn(K, D, generator=torch.Generator().manual_seed(0))
    return centres[labels] + torch.randn(n, D, generator=generator), labels


def calibration(n: int = N, seed: int = 1) -> Calibration:
    """Fewer images than a covariance of this size wants, as real calibrations are."""
    features, labels = drawn(n, seed)
    weight = torch.randn(K, D, generator=torch.Generator().manual_seed(9)) / D**0.5
    linear = Linear(weight, torch.zeros(K))
    return replace(
        with_linear(world().calibration, linear),
        logits=linear(features),
        features=features,
        labels=labels,
        layers=None,
    )


def kept(detector_name: str, seed: int, in_sample: bool) -> float:
    """Share of fresh images at or below the threshold that keeps 90 % of calibration images."""
    known = calibration(seed=seed)
    detector = find(detector_name)()
    held_out = held_out_scores(detector, known)
    assert held_out is not None
    scores = held_out.images
    detector.fit(known)
    if in_sample:
        scores = detector.score(Representation(known.logits, known.features))
    features, _ = drawn(400, seed + 1000)
    fresh = detector.score(Representation(known.linear(features), features))
    return float((fresh.numpy() <= keep_id(scores.double().numpy(), SHARE)).mean())


@pytest.mark.parametrize("name", ["vim", "mahalanobis", "knn", "rmd"])
def test_a_threshold_keeps_what_it_promises(name):
    """Over 20 draws: hardly fewer than promised, and not many more.

    The mean of 20 has a standard deviation of sqrt(0.9 · 0.1 / 100 / 20) = 0.007. It lies above the
    promise where a fit on four fifths is a worse one.
    """
    coverage = np.mean([kept(name, seed, in_sample=False) for seed in range(20)])
    assert SHARE - 0.03 < coverage < SHARE + 0.075


def kept_by_ensemble(name: str, seed: int) -> float:
    """The same of an ensemble, that has its ranks from scores of parts that were held out."""
    known = calibration(seed=seed)
    ensemble = find(name)()
    apart = {part.name: held_out_scores(part(), known).images for part in ensemble.required()}
    ensemble.join(part().fit(known) for part in ensemble.required())
    ensemble.learn(apart, None)
    scores = ensemble.combine(apart)
    features, _ = drawn(400, seed + 1000)
    fresh = ensemble.score(Representation(known.linear(features), features))
    return float((fresh.numpy() <= keep_id(scores.numpy(), SHARE)).mean())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["knn+mahalanobis", "vim+knn+rmd"])
def test_the_threshold_of_an_ensemble_keeps_it_too(name):
    coverage = np.mean([kept_by_ensemble(name, seed) for seed in range(20)])
    assert SHARE - 0.03 < coverage < SHARE + 0.075


def test_scores_of_what_was_learned_from_do_not():
    """The reason for all this: with ViM nearly every fresh image would be flagged."""
    assert np.mean([kept("vim", seed, in_sample=True) for seed in range(5)]) < 0.6


def test_knn_looks_among_the_other_parts_alone():
    known = calibration()
    scores = held_out_scores(find("knn").configured({"k": 3}), known).images
    part_of = parts(known.labels).numpy()
    unit = torch.nn.functional.normalize(known.features.double(), dim=1).numpy()
    for i in range(N):
        others = unit[part_of != part_of[i]]
        third = np.sort(np.linalg.norm(others - unit[i], axis=1))[2]
        assert float(scores[i]) == pytest.approx(third, abs=1e-5)


def test_a_surrogate_is_scored_without_its_source():
    """Copies of the images stand for surrogates: none may find itself."""
    known = calibration()
    sources = torch.randperm(N, generator=torch.Generator().manual_seed(3))[:30]
    copies = Representation(known.logits[sources], known.features[sources])
    known = replace(known, surrogates=copies)
    found = held_out_scores(find("knn").configured({"k": 1}), known, sources)
    assert torch.allclose(found.surrogates, found.images[sources], atol=1e-6)
    assert bool((found.surrogates > 0.01).all())
    assert held_out_scores(find("knn")(), known).surrogates is None


def test_parts_spread_each_label_evenly():
    labels = torch.tensor([0] * 11 + [3] * 5 + [-1] * 7 + list(range(10, 30)))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    part_of = parts(labels)
    assert set(part_of.tolist()) == set(range(PARTS))
    for label in labels.unique():
        sizes = torch.bincount(part_of[labels == label], minlength=PARTS)
        assert sizes.max() - sizes.min() <= 1
    assert torch.bincount(part_of).max() - torch.bincount(part_of).min() <= 1


def test_too_few_to_leave_any_out():
    detector = find("knn").configured({"k": 2})
    assert held_out_scores(detector, calibration(3)) is None  # fewer than parts
    assert held_out_scores(detector, calibration(11)) is None  # too few for a fit without a part
    assert held_out_scores(detector, calibration(20)) is not None


def test_the_detector_itself_is_left_as_it_is():
    known = calibration()
    detector = find("knn")()
    detector.fit(known)
    batch = Representation(known.logits, known.features)
    before = detector.score(batch)
    held_out_scores(detector, known)
    assert torch.equal(before, detector.score(batch))


@pytest.mark.slow
def test_an_audit_says_which_thresholds_rest_on_what_was_learned(tmp_path):
    """Ten calibration images are enough to fit on, eight of them are not: that is named."""
    stage = tmp_path / "stage"
    stage.mkdir()
    write_stage(stage)
    spec = AuditSpec(
        model=ModelSpec(
            checkpoint=stage / "small.pt2",
            preprocessing=Preprocessing.parse("resize=12,crop=12,mean=0.5,std=0.5"),
        ),
        id=stage / "id",
        ood={"noise": stage / "noise"},
        detectors=(DetectorSpec(name="energy"), DetectorSpec(name="knn", settings={"k": 1})),
        repeats=20,
    )
    many = run_audit(spec, tmp_path / "many").document.model_dump(mode="json")
    assert many["in_sample"] == []
    few = run_audit(
        spec.model_copy(update={"calibration": 0.125}), tmp_path / "few"
    ).document.model_dump(mode="json")
    assert few["images"]["calibration"]["scored"] == 10
    assert few["in_sample"] == ["knn"]
    assert Run.load(tmp_path / "few").in_sample == {"knn"}
