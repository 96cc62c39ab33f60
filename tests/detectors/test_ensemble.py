"""Ensembles against SciPy's percentiles and NumPy, alone and in whole audits."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from picky import SnowBlind
from scipy.stats import percentileofscore
from small_audit import PREPROCESS, write_pictures, write_stage
from small_classifier import pictures, world

from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.detectors.auto_ensemble import MEMBERS, AutoEnsemble
from gsc_core.detectors.base import Fit, Need
from gsc_core.detectors.catalogue import find, parse_detectors
from gsc_core.detectors.energy import Energy
from gsc_core.detectors.ensemble import Ensemble, SurrogateScores, ensemble_of, with_parts
from gsc_core.detectors.msp import MSP
from gsc_core.errors import Excused, SpecError
from gsc_core.images import read_folder
from gsc_core.scoring.calibration import Calibrated, calibrate
from gsc_core.scoring.loading import Pace
from gsc_core.scoring.scorer import Scorer

PREPROCESSING = Preprocessing.parse(PREPROCESS)


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
    labelled = find("energy+gmm")
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
    members = [each.name for each in with_parts([AutoEnsemble()])]
    assert members == ["gsc-auto", *(part.name for part in MEMBERS), "auto-ensemble"]
    few = [each.name for each in with_parts([AutoEnsemble(partner="knn")])]
    assert few == ["gsc-auto", "knn", "auto-ensemble"]


# --- all of them, weighted ---------------------------------------------------------------------


def calibrated(folder: Path, names: str, images: int = 60) -> tuple[Scorer, Calibrated]:
    """The scorer of an audit, calibrated on some images."""
    pixels, labels = pictures(images, seed=12)
    files = read_folder(write_pictures(folder, pixels), "calibration").images
    scorer = Scorer(world().network, PREPROCESSING, parse_detectors(names))
    pace = Pace(16, 1, lambda *_: None)
    return scorer, calibrate(scorer, files, labels.tolist(), seed=0, pace=pace)


@pytest.fixture(scope="module")
def weighed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scorer, Calibrated]:
    return calibrated(tmp_path_factory.mktemp("calibration"), "auto-ensemble")


def auto_ensemble(scorer: Scorer) -> AutoEnsemble:
    return next(each for each in scorer.ensembles if isinstance(each, AutoEnsemble))


def columns(found: Calibrated) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Scores of calibration images and of surrogates by detector."""
    assert found.surrogates is not None
    both = found.scores.outlier, found.surrogates.outlier
    ours, far = ({n: s.double().numpy() for n, s in each.items()} for each in both)
    return ours, far


@pytest.mark.slow
def test_the_score_is_the_weighted_mean_of_scores_in_spreads(
    weighed: tuple[Scorer, Calibrated],
) -> None:
    scorer, found = weighed
    ours, far = columns(found)
    ensemble = auto_ensemble(scorer)
    weights = dict(item.split("=") for item in ensemble.frozen()["weights"].split("/"))
    assert sum(map(float, weights.values())) == pytest.approx(1)
    assert (
        weights.keys() | set(ensemble.useless_)
        == {
            "gsc-auto",
            *(part.name for part in MEMBERS),
        }
        - scorer.excused.keys()
    )
    assert not weights.keys() & set(ensemble.useless_)
    ours = {name: scores for name, scores in ours.items() if name != "auto-ensemble"}
    ours["auto-ensemble"] = ensemble.combine(found.scores.outlier).numpy()
    for scores in (ours, far):
        expected = np.zeros_like(scores["energy"])
        for name, weight in weights.items():
            low, middle, high = np.quantile(ours[name], [0.16, 0.5, 0.84])
            expected += float(weight) * (scores[name] - middle) / ((high - low) / 2)
        np.testing.assert_allclose(scores["auto-ensemble"], expected, rtol=1e-5, atol=1e-5)


def test_frozen_it_weighs_the_same_without_surrogates(weighed: tuple[Scorer, Calibrated]) -> None:
    scorer, found = weighed
    ensemble = auto_ensemble(scorer)
    written = json.loads(json.dumps(ensemble.frozen()))
    again = AutoEnsemble.configured(written)
    again.join(scorer.detectors)
    again.learn(found.scores.outlier, None)
    assert [part.name for part in again.parts_] == [part.name for part in ensemble.parts_]
    assert again.frozen() == ensemble.frozen()
    some = world().known
    assert torch.equal(again.score(some), ensemble.score(some))


@pytest.mark.slow
def test_from_few_images_all_weigh_the_same(tmp_path: Path) -> None:
    scorer, _ = calibrated(tmp_path, "auto-ensemble", images=39)
    ensemble = auto_ensemble(scorer)
    assert ensemble.fusion_ is not None and not ensemble.fusion_.learned
    assert ensemble.fusion_.weights.tolist() == pytest.approx([1 / 11] * 11)
    assert ensemble.useless_ == ()


def test_a_useless_and_an_inverted_part_weigh_nothing_and_are_named() -> None:
    generator = torch.Generator().manual_seed(3)
    shifts = {"energy": 2.0, "knn": -2.0, "react": -0.5, "gen": 1.0}  # of surrogates, in spreads
    ours = {name: torch.randn(200, generator=generator) for name in shifts}
    far = {name: torch.randn(160, generator=generator) + by for name, by in shifts.items()}
    ensemble = AutoEnsemble()
    ensemble.join(find(name)() for name in shifts)
    ensemble.learn(ours, SurrogateScores(far, torch.zeros(160, dtype=torch.long)))
    assert set(ensemble.useless_) == {"knn", "react"}
    assert {part.name for part in ensemble.parts_} == {"energy", "gen"}
    assert ensemble.fusion_ is not None and ensemble.fusion_.learned
    changed = {**far, "knn": far["knn"] + 9, "react": far["react"] - 9}
    assert torch.equal(ensemble.combine(far), ensemble.combine(changed))


def test_weights_can_be_set(weighed: tuple[Scorer, Calibrated]) -> None:
    scorer, found = weighed
    (asked,) = parse_detectors("auto-ensemble:weights=knn=3/energy=1")
    assert isinstance(asked, AutoEnsemble)
    assert [part.name for part in asked.required()] == ["energy", "knn"]
    asked.join(scorer.detectors)
    asked.learn(found.scores.outlier, None)
    ours, _ = columns(found)
    expected = 0.0
    for name, weight in (("knn", 0.75), ("energy", 0.25)):
        low, middle, high = np.quantile(ours[name], [0.16, 0.5, 0.84])
        expected = expected + weight * (ours[name] - middle) / ((high - low) / 2)
    given = asked.combine(found.scores.outlier).numpy()
    np.testing.assert_allclose(given, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "weights", ["knn", "knn=a", "odin=1", "knn=-1", "knn=0", "knn=nan", "knn=inf", "", "knn=1/"]
)
def test_what_are_no_weights_is_said(weights: str) -> None:
    with pytest.raises(SpecError, match="must give numbers"):
        parse_detectors(f"auto-ensemble:weights={weights}")


def test_a_partner_and_weights_are_too_much() -> None:
    with pytest.raises(SpecError, match="a partner or weights"):
        parse_detectors("auto-ensemble:partner=knn:weights=knn=1")


def test_a_partner_is_still_the_mean_rank_of_two(weighed: tuple[Scorer, Calibrated]) -> None:
    """As runs of earlier versions have it."""
    scorer, found = weighed
    former = AutoEnsemble.configured({"partner": "react"})
    former.join(scorer.detectors)
    former.learn(found.scores.outlier, None)
    ours, _ = columns(found)
    ranks = [percentiles(ours[name], ours[name]) for name in ("gsc-auto", "react")]
    given = former.combine(found.scores.outlier).numpy()
    np.testing.assert_allclose(given, np.mean(ranks, axis=0), atol=1e-6)
    assert former.frozen()["partner"] == "react"


def test_who_cannot_run_is_passed_over_and_one_alone_is_no_ensemble() -> None:
    ensemble = AutoEnsemble()
    ensemble.join([Energy(), MSP(), find("knn")()])
    assert [part.name for part in ensemble.parts_] == ["energy", "knn"]
    with pytest.raises(Excused, match="needs at least two of its parts"):
        AutoEnsemble().join([Energy(), MSP()])
    with pytest.raises(Excused, match="needs knn, which cannot run here"):
        AutoEnsemble(partner="knn").join([find("gsc-auto")(), Energy()])


# --- in an audit -------------------------------------------------------------------------------


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


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert not document["fusions"]["auto-ensemble"]["learned"]


@pytest.mark.slow
def test_the_document_says_how_much_each_part_counts(stage: Path, tmp_path: Path) -> None:
    run_audit(spec_of(stage, DetectorSpec(name="auto-ensemble")), tmp_path / "out")
    document = json.loads((tmp_path / "out" / "metrics.json").read_text())
    fused = document["fusions"]["auto-ensemble"]
    assert fused["learned"]
    rows = rows_of(tmp_path / "out")
    rows = rows[rows["role"] != "calibration"]  # those are by weights learned without them
    parts = fused["parts"]
    expected = sum(
        part["weight"] * (rows[part["detector"]] - part["middle"]) / part["spread"]
        for part in parts
    )
    np.testing.assert_allclose(rows["auto-ensemble"], expected, rtol=1e-4, atol=1e-4)
    frozen = document["chosen"]["auto-ensemble"]["weights"]
    assert frozen == "/".join(f"{part['detector']}={part['weight']!r}" for part in parts)
    counted = {part["detector"] for part in parts} | set(fused["useless"])
    assert counted == {"gsc-auto", *(part.name for part in MEMBERS)} - document["excused"].keys()
