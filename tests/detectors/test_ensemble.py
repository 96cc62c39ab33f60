"""Ensembles against SciPy's percentiles and NumPy, alone and in whole audits."""

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import gmean, percentileofscore
from sklearn.metrics import roc_auc_score
from small_audit import PREPROCESS, write_pictures, write_stage
from small_classifier import pictures, world

from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.detectors.base import Detector, Fit, Need
from gsc_core.detectors.catalogue import find, parse_detectors
from gsc_core.detectors.energy import Energy
from gsc_core.detectors.ensemble import PANEL, AutoEnsemble, Ensemble, ensemble_of, with_parts
from gsc_core.detectors.msp import MSP
from gsc_core.errors import Excused, SpecError
from gsc_core.images import read_folder
from gsc_core.scoring.calibration import Calibrated, calibrate
from gsc_core.scoring.loading import Pace
from gsc_core.scoring.scorer import Scorer

PREPROCESSING = Preprocessing.parse(PREPROCESS)
KINDS = 4  # of surrogate outliers, which come in turn


def percentiles(reference: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Share of the reference below each score, ties half, by SciPy."""
    return percentileofscore(reference, scores, kind="mean") / 100


def joined(*names: str) -> Ensemble:
    """An ensemble of these that has its parts, and has learned nothing."""
    ensemble = find("+".join(names))()
    assert isinstance(ensemble, Ensemble)
    ensemble.join(find(name)() for name in names)
    return ensemble


# --- mean of ranks -----------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("energy", "msp"), ("energy", "msp", "gen")])
@pytest.mark.parametrize("values", [5, 10**6], ids=["ties", "no ties"])
def test_the_score_is_the_mean_percentile(names: tuple[str, ...], values: int) -> None:
    generator = np.random.default_rng(0)
    reference = {n: generator.integers(0, values, 97).astype(np.float32) for n in names}
    scores = {n: generator.integers(-1, values + 1, 300).astype(np.float32) for n in names}
    ensemble = joined(*names)
    ensemble.learn({n: torch.from_numpy(r) for n, r in reference.items()}, None)
    found = ensemble.combine({n: torch.from_numpy(s) for n, s in scores.items()})
    truth = np.mean([percentiles(reference[n], scores[n]) for n in names], axis=0)
    np.testing.assert_allclose(found.numpy(), truth, atol=1e-12)


def test_it_grows_with_each_part_from_0_to_1() -> None:
    ensemble = joined("energy", "msp")
    generator = torch.Generator().manual_seed(1)
    columns = {n: torch.randn(50, generator=generator) for n in ("energy", "msp")}
    ensemble.learn(columns, None)
    for moved, still in (("energy", "msp"), ("msp", "energy")):
        at = torch.cat([torch.tensor([-9.0, 9.0]), columns[moved]]).sort().values
        scores = ensemble.combine({moved: at, still: torch.full((52,), 0.3)})
        assert bool((scores.diff() > 0).all()), "a step at each calibration image"
    ends = ensemble.combine({n: torch.tensor([-99.0, 99.0]) for n in columns})
    assert ends.tolist() == [0, 1]


def test_the_scale_of_a_part_does_not_matter() -> None:
    generator = torch.Generator().manual_seed(2)
    known, test = (
        {n: torch.randn(size, generator=generator) for n in ("energy", "msp")} for size in (60, 90)
    )
    first, second = joined("energy", "msp"), joined("energy", "msp")
    first.learn(known, None)
    second.learn({**known, "msp": known["msp"].double().exp() * 1e4}, None)
    stretched = {**test, "msp": test["msp"].double().exp() * 1e4}
    assert torch.equal(first.combine(test), second.combine(stretched))


@pytest.mark.parametrize("name", ["gsc+energy", "energy+knn+mahalanobis"])
def test_by_itself_it_is_its_parts_fitted_and_combined(name: str) -> None:
    small = world()
    alone = find(name)().fit(small.calibration)
    parts = [find(each)().fit(small.calibration) for each in name.split("+")]
    in_audit = find(name)()
    assert isinstance(in_audit, Ensemble)
    in_audit.join(parts)
    in_audit.learn({p.name: p.score(small.calibration.sample) for p in parts}, None)
    for batch in (small.known, small.strange):
        columns = {p.name: p.score(batch) for p in parts}
        assert torch.equal(alone.score(batch), in_audit.combine(columns))
        assert torch.equal(alone.score(batch), in_audit.score(batch))


# --- names -------------------------------------------------------------------------------------


def test_a_name_with_plus_is_an_ensemble_of_these() -> None:
    found = find("gsc-auto+react")
    assert issubclass(found, Ensemble)
    assert found.name == "gsc-auto+react"
    assert [part.name for part in found.parts] == ["gsc-auto", "react"]
    assert find(" gsc + energy ").name == "gsc+energy"
    labelled = find("energy+mahalanobis")
    assert labelled.needs == Need.LOGITS | Need.FEATURES
    assert labelled.fitted_with == Fit.IMAGES | Fit.LABELS
    assert [each.name for each in parse_detectors("gsc+energy,energy")] == ["gsc+energy", "energy"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gsc+enrgy", "no detector 'enrgy'; the nearest: energy"),
        ("gsc+", "no detector ''"),
        ("energy+energy", "must name different single detectors"),
        ("energy+auto-ensemble", "must name different single detectors"),
        ("gsc+energy,gsc + energy", "named twice"),
        ("gsc+knn:k=3", "no setting 'k'"),
        ("auto-ensemble:partner=odin", "partner='odin' must be one of auto, energy"),
    ],
)
def test_what_is_no_ensemble_is_said(text: str, said: str) -> None:
    with pytest.raises(SpecError, match=said.replace("+", r"\+")):
        parse_detectors(text)


def test_parts_are_added_once_with_the_settings_that_were_asked_for() -> None:
    asked = parse_detectors("gsc+knn,knn:k=3,gsc+energy")
    found = with_parts(asked)
    assert [each.name for each in found] == ["knn", "gsc", "energy", "gsc+knn", "gsc+energy"]
    assert found[0] is asked[1] and found[0].settings() == {"k": 3}
    assert with_parts(found) == found, "nothing is added to what is whole"
    panel = [each.name for each in with_parts([AutoEnsemble()])]
    assert panel == ["gsc-auto", *(part.name for part in PANEL), "auto-ensemble"]
    few = [each.name for each in with_parts([AutoEnsemble(partner="knn")])]
    assert few == ["gsc-auto", "knn", "auto-ensemble"]


# --- the partner -------------------------------------------------------------------------------


def calibrated(folder: Path, names: str, labelled: bool = True) -> tuple[Scorer, Calibrated]:
    """The scorer of an audit, calibrated on 60 images."""
    images, labels = pictures(60, seed=12)
    files = read_folder(write_pictures(folder, images), "calibration").images
    detectors = parse_detectors(names)
    scorer = Scorer(world().network, PREPROCESSING, detectors)
    told = labels.tolist() if labelled else [-1] * len(files)
    pace = Pace(16, 1, lambda *_: None)
    return scorer, calibrate(scorer, files, told, seed=0, pace=pace)


@pytest.fixture(scope="module")
def paired(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scorer, Calibrated]:
    return calibrated(tmp_path_factory.mktemp("calibration"), "auto-ensemble")


def auto_ensemble(scorer: Scorer) -> AutoEnsemble:
    return next(each for each in scorer.ensembles if isinstance(each, AutoEnsemble))


def columns(found: Calibrated) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Scores of calibration images and of surrogates by detector."""
    assert found.surrogates is not None
    both = found.scores.outlier, found.surrogates.outlier
    ours, theirs = ({n: s.double().numpy() for n, s in each.items()} for each in both)
    return ours, theirs


def loss(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Geometric mean over kinds of what passes at 95 % and what is out of order, by loops."""
    threshold = min(t for t in ours if np.mean(ours <= t) >= 0.95)
    each = []
    for kind in range(KINDS):
        far = theirs[kind::KINDS]
        is_far = np.r_[np.zeros(len(ours)), np.ones(len(far))]
        auroc = roc_auc_score(is_far, np.r_[ours, far])
        each.append(np.mean(far <= threshold) + 1 - auroc + 0.05)
    return float(gmean(each))


def test_the_partner_is_who_helps_best_on_surrogates(paired: tuple[Scorer, Calibrated]) -> None:
    scorer, found = paired
    ours, theirs = columns(found)
    losses = {}
    for part in PANEL:
        pair = ("gsc-auto", part.name)
        sums = [sum(percentiles(ours[n], scores[n]) for n in pair) for scores in (ours, theirs)]
        losses[part.name] = loss(*(each.round(9) for each in sums))  # equal sums tie
    ensemble = auto_ensemble(scorer)
    assert ensemble.losses_ == pytest.approx(losses, abs=1e-9)
    assert len({round(each, 6) for each in losses.values()}) > 3, "there is something to choose"
    best = min(losses, key=losses.__getitem__)
    assert ensemble.frozen() == {"partner": best}
    assert [part.name for part in ensemble.parts_] == ["gsc-auto", best]
    for scores, given in ((ours, ours), (theirs, theirs)):
        pair = [percentiles(ours[n], scores[n]) for n in ("gsc-auto", best)]
        np.testing.assert_allclose(given["auto-ensemble"], np.mean(pair, axis=0), atol=1e-6)


def test_frozen_it_has_the_same_partner_without_surrogates(
    paired: tuple[Scorer, Calibrated],
) -> None:
    scorer, found = paired
    ensemble = auto_ensemble(scorer)
    again = AutoEnsemble.configured(ensemble.frozen())
    again.join(scorer.detectors)
    again.learn(found.scores.outlier, None)
    assert [part.name for part in again.parts_] == [part.name for part in ensemble.parts_]
    assert again.frozen() == again.settings() == ensemble.frozen()
    some = world().known
    assert torch.equal(again.score(some), ensemble.score(some))
    still_open = AutoEnsemble()
    still_open.join(scorer.detectors)
    with pytest.raises(Excused, match="surrogate"):
        still_open.learn(found.scores.outlier, None)


def test_who_cannot_run_is_no_partner(tmp_path: Path) -> None:
    """Without labels there is no Mahalanobis: a fixed pair misses it, the panel passes it over."""
    names = "auto-ensemble,energy+mahalanobis,energy+msp"
    scorer, found = calibrated(tmp_path, names, labelled=False)
    assert "labels" in scorer.excused["mahalanobis"]
    said = "needs mahalanobis, which cannot run here"
    assert scorer.excused["energy+mahalanobis"] == said
    kept = {detector.name for detector in scorer.detectors}
    assert {"auto-ensemble", "energy+msp", "energy"} <= kept
    assert "energy+mahalanobis" not in kept | found.scores.outlier.keys()
    assert auto_ensemble(scorer).losses_.keys() == {p.name for p in PANEL} - {"mahalanobis"}


def test_without_gsc_auto_there_is_no_pair() -> None:
    with pytest.raises(Excused, match="needs gsc-auto and a partner"):
        AutoEnsemble().join([Energy(), MSP()])
    with pytest.raises(Excused, match="needs gsc-auto and a partner"):
        AutoEnsemble().join([find("gsc-auto")()])
    with pytest.raises(Excused, match="needs knn, which cannot run here"):
        AutoEnsemble(partner="knn").join([find("gsc-auto")(), Energy()])


# --- in an audit -------------------------------------------------------------------------------


class SnowBlind(Detector):
    """Gives no number for what is bright all over."""

    name: ClassVar[str] = "snow-blind"
    title: ClassVar[str] = "Snow-blind"
    about: ClassVar[str] = "Fails on bright images."
    needs: ClassVar[Need] = Need.IMAGES

    def score(self, batch):
        darkest = batch.images.amin(dim=(1, 2, 3))
        return torch.where(darkest < 2, darkest, torch.nan)


def test_a_part_that_fails_on_the_way_takes_its_ensemble_along(tmp_path: Path) -> None:
    images, labels = pictures(24, seed=5)
    files = read_folder(write_pictures(tmp_path, images), "calibration").images
    asked = [ensemble_of((Energy, SnowBlind))(), find("energy+msp")()]
    scorer = Scorer(world().network, PREPROCESSING, asked)
    calibrate(scorer, files, labels.tolist(), seed=0, pace=Pace(8, 1, lambda *_: None))
    assert not scorer.excused
    white = torch.full((2, 3, 12, 12), 255, dtype=torch.uint8)
    scores = scorer.score(scorer.represent(white))
    assert scores.outlier.keys() == {"energy", "msp", "energy+msp"}
    assert "not a number" in scorer.excused["snow-blind"]
    assert "has a part" in scorer.excused["energy+snow-blind"]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stage(tmp_path_factory.mktemp("stage"))


def spec_of(stage: Path, *detectors: DetectorSpec, **changed: object) -> AuditSpec:
    values = {
        "model": ModelSpec(checkpoint=stage / "small.pt2", preprocessing=PREPROCESSING),
        "id": stage / "id",
        "calibration": stage / "calibration",
        "ood": {"faint": stage / "faint"},
        "detectors": detectors,
        "repeats": 10,
    } | changed
    return AuditSpec(**values)


def rows_of(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "scores.parquet")


def test_an_audit_stores_the_parts_once_and_the_mean_of_their_ranks(
    stage: Path, tmp_path: Path
) -> None:
    """Ranks are among the stored calibration scores, which for kNN are held out."""
    nearest = DetectorSpec(name="knn", settings={"k": 3})
    pairs = [DetectorSpec(name=name) for name in ("gsc+knn", "knn+vim", "energy+gmm")]
    result = run_audit(spec_of(stage, nearest, *pairs), tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    names = [name for name in rows.columns if rows[name].dtype == np.float32]
    scored = ["knn", "gsc", "vim", "energy", "gsc+knn", "knn+vim"]
    assert sorted(names) == sorted(["confidence", *scored])
    assert list(result.detectors) == scored
    assert result.excused["energy+gmm"] == "needs gmm, which cannot run here"
    calibration = rows[rows["role"] == "calibration"]
    for pair in ("gsc+knn", "knn+vim"):
        ranks = [percentiles(calibration[n], rows[n]) for n in pair.split("+")]
        np.testing.assert_allclose(rows[pair], np.mean(ranks, axis=0), atol=1e-6)
    run_audit(spec_of(stage, nearest), tmp_path / "alone")
    alone = rows_of(tmp_path / "alone")
    assert list(alone["file"]) == list(rows["file"])
    np.testing.assert_allclose(rows["knn"], alone["knn"], atol=1e-6)


def test_few_calibration_pictures_are_named_of_the_ensemble_too(
    stage: Path, tmp_path: Path
) -> None:
    """Ten are enough for kNN and too few to leave some out; and too few to choose anything on."""
    asked = [DetectorSpec(name=name) for name in ("energy+knn", "energy+msp", "auto-ensemble")]
    document = run_audit(
        spec_of(stage, *asked, calibration=0.125), tmp_path / "out"
    ).document.model_dump(mode="json")
    assert document["images"]["calibration"]["scored"] == 10
    assert {"knn", "energy+knn"} <= set(document["in_sample"])
    assert "energy+msp" not in document["in_sample"]
    assert "at least 20" in document["excused"]["gsc-auto"]
    assert document["excused"]["auto-ensemble"].startswith("needs gsc-auto and a partner")


@pytest.mark.slow
def test_the_document_says_who_the_partner_is_and_who_it_was_not(
    stage: Path, tmp_path: Path
) -> None:
    run_audit(spec_of(stage, DetectorSpec(name="auto-ensemble")), tmp_path / "out")
    document = json.loads((tmp_path / "out" / "metrics.json").read_text())
    losses = document["partners"]["auto-ensemble"]
    assert losses.keys() == {part.name for part in PANEL} - document["excused"].keys()
    best = min(losses, key=losses.__getitem__)
    assert document["chosen"]["auto-ensemble"] == {"partner": best}
    rows = rows_of(tmp_path / "out")
    calibration = rows[rows["role"] == "calibration"]
    ranks = [percentiles(calibration[n], rows[n]) for n in ("gsc-auto", best)]
    np.testing.assert_allclose(rows["auto-ensemble"], np.mean(ranks, axis=0), atol=1e-6)
