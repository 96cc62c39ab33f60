"""The benchmark's arithmetic and words on frames made by hand, and its figures against an audit."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from pytorch_ood.detector import ReAct
from safetensors.torch import load_file
from scipy import stats
from sklearn.metrics import roc_auc_score
from torch import Tensor

from benchmarks.quality.__main__ import as_json, further_sets, of_json
from benchmarks.quality.document import Measured, document, escaped, percent, where_gsc_loses
from benchmarks.quality.fusion_parts import ALIKE, left_out
from benchmarks.quality.measure import measure
from benchmarks.quality.onepass import Division
from benchmarks.quality.ours import Bench
from benchmarks.quality.overall import overall
from benchmarks.quality.subjects import Subject
from benchmarks.quality.table import (
    LEFT_OUT,
    OURS,
    THEIRS,
    Estimate,
    best_single,
    estimates,
    losses,
    ratio,
    t_interval,
)
from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec
from gsc_core.classifier.load import load_classifier
from gsc_core.demo import CLASS_NAMES, DEMO_WEIGHTS, Sizes, render_demo
from gsc_core.demo.train import ARCHITECTURE, OPTIONS
from gsc_core.detectors.auto_ensemble import AutoEnsemble
from gsc_core.detectors.catalogue import find, parse_detectors
from gsc_core.detectors.ensemble import SurrogateScores
from gsc_core.errors import SpecError
from gsc_core.evaluation.intervals import MEAN
from gsc_core.images import read_folder
from gsc_core.scoring.loading import Pace
from gsc_core.scoring.scorer import Scorer

DETECTORS = "energy,gsc,gradnorm,knn,odin"
FPR95 = {  # by detector and whose, on each set, one number a split
    ("gsc-auto", OURS): {"fog": [0.30, 0.32, 0.31], "night": [0.10, 0.11, 0.12]},
    ("auto-ensemble", OURS): {"fog": [0.10, 0.10, 0.10], "night": [0.05, 0.05, 0.05]},
    ("gsc+react", OURS): {"fog": [0.01, 0.01, 0.01], "night": [0.01, 0.01, 0.01]},
    ("react", OURS): {"fog": [0.20, 0.23, 0.21], "night": [0.40, 0.41, 0.45]},
    ("ViM", THEIRS): {"fog": [0.10, 0.50, 0.30], "night": [0.50, 0.50, 0.50]},
    ("EnergyBased", THEIRS): {"fog": [0.60, 0.62, 0.61], "night": [0.20, 0.22, 0.24]},
}


def frame_of(figures: Mapping[tuple[str, str], Mapping[str, Sequence[float]]]) -> pd.DataFrame:
    rows = []
    for (detector, whose), by_set in figures.items():
        means = np.mean(list(by_set.values()), axis=0).tolist()
        for ood_set, values in {**by_set, MEAN: means}.items():
            for split, value in enumerate(values):
                about = {"detector": detector, "whose": whose, "split": split, "ood_set": ood_set}
                rows.append(
                    {**about, "fpr95": value, "fpr95_ood_positive": value, "auroc": 1 - value}
                )
    return pd.DataFrame(rows).sample(frac=1, random_state=0)  # the order must not matter


def measured(frame: pd.DataFrame, **changes: object) -> Measured:
    known = {
        "name": "small",
        "title": "A small one",
        "split": "layer4",
        "pictures": {"id": 100, "fog": 20, "night": 30},
        "frame": frame,
        "passes": {},
        "accuracy": Estimate(0.9, 0.01),
    }
    return Measured(**{**known, **changes})  # type: ignore[arg-type]


@pytest.fixture
def frame() -> pd.DataFrame:
    return frame_of(FPR95)


@pytest.mark.parametrize("n", [2, 3, 5, 20])
def test_interval_is_students(n: int) -> None:
    values = np.random.default_rng(n).normal(0.3, 0.1, n).tolist()
    found = t_interval(values)
    low, high = stats.t.interval(0.95, n - 1, loc=np.mean(values), scale=stats.sem(values))
    assert found.half is not None
    assert found.low == pytest.approx(low)
    assert found.value + found.half == pytest.approx(high)


def test_interval_covers_the_mean_as_often_as_it_says() -> None:
    draws = np.random.default_rng(0).normal(0.4, 0.05, (2000, 5))
    found = [t_interval(row.tolist()) for row in draws]
    covered = np.mean([abs(each.value - 0.4) <= (each.half or 0) for each in found])
    assert 0.935 < covered < 0.965  # three standard errors of 2,000 draws


def test_one_split_has_no_interval() -> None:
    assert t_interval([0.25]) == Estimate(0.25, None)
    assert percent(t_interval([0.25])) == "25.0"
    assert not losses(frame_of({k: {"fog": v["fog"][:1]} for k, v in FPR95.items()}), "gsc-auto")[
        0
    ].apart


def test_estimates_are_those_of_each_set(frame: pd.DataFrame) -> None:
    found = estimates(frame, "fpr95")["react", OURS]
    assert found["fog"].value == pytest.approx((0.20 + 0.23 + 0.21) / 3)
    assert found[MEAN].value == pytest.approx((0.64 / 3 + 1.26 / 3) / 2)
    assert set(found) == {"fog", "night", MEAN}


def test_best_single_baseline_is_no_gsc_and_no_ensemble(frame: pd.DataFrame) -> None:
    assert best_single(frame, "fog")[0] == ("react", OURS)
    assert best_single(frame, "night")[0] == ("EnergyBased", THEIRS)
    assert best_single(frame, "night")[1].value == pytest.approx(0.22)


def test_ratio_of_nothing_is_none() -> None:
    assert ratio(0.2, 0.4) == pytest.approx(0.5)
    assert ratio(0.0, 0.4) == 0
    assert ratio(0.2, 0.0) is None
    assert ratio(0.0, 0.0) is None


def test_losses_are_paired_by_split(frame: pd.DataFrame) -> None:
    found = {(each.ood_set, each.detector): each for each in losses(frame, "gsc-auto")}
    react = found["fog", "react"]
    by_hand = np.array([0.30, 0.32, 0.31]) - np.array([0.20, 0.23, 0.21])
    test = stats.ttest_1samp(by_hand, 0)
    assert react.points.value == pytest.approx(by_hand.mean())
    assert react.points.low == pytest.approx(test.confidence_interval(0.95).low)
    assert react.apart
    vim = found["fog", "ViM"]  # better by a point on average, by chance
    assert vim.points.value == pytest.approx(0.01)
    assert not vim.apart
    assert ("night", "react") not in found
    assert ("fog", "EnergyBased") not in found
    assert {each.ood_set for each in found.values()} == {"fog", "night", MEAN}


def test_largest_loss_comes_first_and_the_mean_last(frame: pd.DataFrame) -> None:
    found = losses(frame, "gsc-auto")
    assert [e.detector for e in found if e.ood_set == "fog"] == [
        "gsc+react",
        "auto-ensemble",
        "react",
        "ViM",
    ]
    assert found[-1].ood_set == MEAN


def test_where_gsc_loses_names_who_and_by_how_much(frame: pd.DataFrame) -> None:
    lines = where_gsc_loses(measured(frame)).splitlines()
    fog = next(line for line in lines if line.startswith("- **gsc-auto**, on fog"))
    clear, close = fog.split("worse, but within the spread of the splits, than")
    assert "clearly worse than gsc+react (ours) by 30.0 ± 2.5 points" in clear
    assert "react (ours) by 9.7 ± 1.4 points" in clear
    assert "ViM (pytorch-ood) by 1.0 ± " in close
    assert "EnergyBased" not in fog


def test_where_nothing_is_better_it_says_so() -> None:
    best = frame_of({k: v for k, v in FPR95.items() if k[0] in ("gsc-auto", "EnergyBased")})
    assert where_gsc_loses(measured(best)) == (
        "- **gsc-auto**: nothing has a lower FPR95 on any set."
    )
    without = frame_of({k: v for k, v in FPR95.items() if k[1] == THEIRS})
    assert "gsc-auto and auto-ensemble" in where_gsc_loses(measured(without))


def test_a_cell_holds_no_markdown() -> None:
    assert escaped("a|b\nc_d <i>*") == r"a\|b c\_d \<i\>\*"
    odd = frame_of({("gsc-auto", OURS): {"a|b": [0.1]}, ("EnergyBased", THEIRS): {"a|b": [0.2]}})
    text = document([measured(odd, pictures={"id": 9, "a|b": 3})], {})
    tables = [line for line in text.splitlines() if line.startswith("|")]
    widths = {line.replace(r"\|", "").count("|") for line in tables}
    assert len(widths) == 3  # one for each of the three tables


def test_document_is_sorted_and_says_why_rows_are_missing(frame: pd.DataFrame) -> None:
    text = document(
        [measured(frame, absent={("RMD", THEIRS): "raised AssertionError"})],
        {"Commit": "abc"},
    )
    table = text[text.index("| detector |") :]
    names = [line.split(" | ")[0].strip("| ") for line in table.splitlines() if "±" in line]
    assert names == ["gsc+react", "auto-ensemble", "gsc-auto", "react", "ViM", "EnergyBased"]
    assert "- Commit: abc" in text
    assert "- RMD (pytorch-ood): raised AssertionError" in text
    auto = next(line for line in text.splitlines() if line.startswith("| fog |"))
    assert auto.split(" | ")[4:6] == ["0.51", "1.45"]  # 31 / 61 and 31 / 21.33


@pytest.mark.slow
def test_the_mean_over_subjects_takes_the_best_baseline_of_each(frame: pd.DataFrame) -> None:
    other = frame_of(
        {
            ("auto-ensemble", OURS): {"fog": [0.2]},
            ("react", OURS): {"fog": [0.6]},
            ("ViM", THEIRS): {"fog": [0.3]},
            ("layers", OURS): {"fog": [0.1]},
            ("EnergyBased", THEIRS): {"fog": [0.5]},
        }
    )
    lines = {line.name: line for line in overall([frame, other], ("gsc-auto", "auto-ensemble"))}
    assert "gsc-auto" not in lines, "one subject lacks it"
    first = {"energy": 0.415, "best single baseline of each": 0.31667, "auto-ensemble": 0.075}
    second = {"energy": 0.5, "best single baseline of each": 0.3, "auto-ensemble": 0.2}
    assert lines.keys() == first.keys()
    for name, line in lines.items():
        assert line.fpr95 == pytest.approx((first[name], second[name]), abs=1e-4)
        assert line.means[0] == pytest.approx((first[name] + second[name]) / 2, abs=1e-4)
        assert line.means[1] == pytest.approx(1 - line.means[0], abs=1e-4)
    text = document([measured(frame), measured(other, pictures={"id": 9, "fog": 9})], {})
    row = next(line for line in text.splitlines() if line.startswith("| auto-ensemble | 7.5 /"))
    assert row.split(" | ")[3:] == ["13.8 / 86.2", "0.30", "0.45 |"]


@pytest.mark.slow
def test_the_raw_figures_make_the_same_document(frame: pd.DataFrame) -> None:
    without = frame_of({(ALIKE, LEFT_OUT): {"fog": [0.1, 0.2, 0.3]}})
    one = measured(
        frame,
        name="lite0",
        passes={("odin", OURS): 3.4},
        after={("gsc-auto", OURS): Estimate(0.7, None)},
        absent={("RMD", THEIRS): "raised"},
        correlations=[("detectors", 20, Estimate(0.8, 0.1))],
        seconds={"decoding": 3.0},
        left_out=without,
    )
    two = measured(frame, name="other", title="Another", left_out=without)
    stored = [json.loads(as_json([each], {"Commit": "abc"})) for each in (one, two)]
    text = document(*of_json(stored))
    assert text == document([one, two], {"Commit": "abc"})
    assert f"| {ALIKE} | 20.0 / 80.0 |" in text
    assert "Settled while looking at it: nothing" in text


def test_a_part_left_out_is_the_ensemble_of_the_others() -> None:
    generator = torch.Generator().manual_seed(0)
    names = ("energy", "knn", "react", "gen")

    def columns(count: int, shift: float) -> dict[str, torch.Tensor]:
        scores = torch.randn(count, len(names), generator=generator)
        shifts = shift * torch.tensor([1.0, 2.0, 0.5, -1.0])
        return dict(zip(names, (scores + shifts).unbind(dim=1), strict=True))

    id_scores, surrogates, test = columns(90, 0.0), columns(80, 1.0), columns(30, 1.0)
    found = left_out(id_scores, surrogates, {"id": test})
    assert found.keys() == {ALIKE, *(f"without {name}" for name in names)}
    for name in names:
        others = AutoEnsemble()
        others.join(find(each)() for each in names if each != name)
        others.learn(id_scores, SurrogateScores(surrogates, torch.zeros(80, dtype=torch.long)))
        truth = others.combine(test).numpy()
        np.testing.assert_allclose(found[f"without {name}"]["id"], truth, rtol=1e-12)
    spreads = [np.quantile(id_scores[name].double().numpy(), [0.16, 0.5, 0.84]) for name in names]
    alike = np.mean(
        [
            (test[n].numpy() - m) / ((h - lo) / 2)
            for n, (lo, m, h) in zip(names, spreads, strict=True)
        ],
        axis=0,
    )
    np.testing.assert_allclose(found[ALIKE]["id"], alike, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("item", ["night", "=x", "night=", "textures=x", "mean=x"])
def test_a_set_needs_a_name_of_its_own(item: str) -> None:
    with pytest.raises(SpecError, match="NAME=DIR"):
        further_sets([item])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], Subject]:
    """The demo's network on a few of its images, in folders and as the benchmark takes them."""
    into = tmp_path_factory.mktemp("quality") / "demo"
    folders = render_demo(into, sizes=Sizes(calibration=0, id=48, ood=12))
    module = timm.create_model(ARCHITECTURE, num_classes=len(CLASS_NAMES), **OPTIONS)
    module.load_state_dict(load_file(DEMO_WEIGHTS))
    ood = {name: read_folder(folders[name], name) for name in ("textures", "night-fog")}
    known = read_folder(folders["id"], "id")
    classifier = load_classifier(ModelSpec(checkpoint=DEMO_WEIGHTS))
    return folders, Subject("small", "Small", classifier, module.eval(), "fc.weight", known, ood)


@pytest.fixture(scope="module")
def found(small: tuple[dict[str, Path], Subject]) -> Measured:
    """Two splits, with all of pytorch-ood's detectors."""
    pace = Pace(8, 1, lambda *_: None)
    return measure(small[1], lambda: parse_detectors(DETECTORS), 2, pace)


@pytest.mark.slow
def test_our_figures_are_those_of_an_audit(
    small: tuple[dict[str, Path], Subject], found: Measured, tmp_path: Path
) -> None:
    folders, subject = small
    spec = AuditSpec(
        model=ModelSpec(checkpoint=DEMO_WEIGHTS),
        id=folders["id"],
        ood={name: folders[name] for name in subject.ood},
        detectors=tuple(map(DetectorSpec.of, parse_detectors(DETECTORS))),
        seed=1,
        repeats=10,
        device="cpu",
    )
    audit = run_audit(spec, tmp_path / "audit").document.model_dump(mode="json")
    rows = found.frame[(found.frame["split"] == 1) & (found.frame["whose"] == OURS)]
    ours = rows.set_index(["detector", "ood_set"])
    assert len(ours) == len(audit["results"]) == 5 * 3
    for row in audit["results"]:
        for metric in ("fpr95", "auroc", "fpr95_ood_positive"):
            value = ours.loc[(row["detector"], row["ood_set"]), metric]
            assert value == pytest.approx(row[metric], abs=1e-12), (row["detector"], metric)


@pytest.mark.slow
def test_library_and_ours_agree_where_they_are_the_same_method(found: Measured) -> None:
    auroc = found.frame.set_index(["detector", "split", "ood_set"])["auroc"]
    for ours, theirs in (("energy", "EnergyBased"), ("gradnorm", "GradNorm (last layer)")):
        np.testing.assert_allclose(auroc[ours], auroc[theirs], atol=2e-3)


@pytest.mark.slow
def test_library_rows_are_what_the_library_says(
    small: tuple[dict[str, Path], Subject], found: Measured
) -> None:
    """Its own loop over the images with its own class, and scikit-learn's AUROC."""
    _, subject = small
    bench = Bench(subject, Pace(8, 1, lambda *_: None))
    division = Division.of(subject, bench.shown, 0)
    detector = ReAct(lambda x: subject.module.forward_features(x).mean((2, 3)), subject.module.fc)
    normalise = subject.classifier.preprocessing.normalise

    def images(rows: Tensor) -> Tensor:
        return normalise(bench.shown.pixels[rows])

    detector.fit([(images(division.calibration_rows), division.labels)])
    known, strange = (detector(images(division.test[name])) for name in ("id", "textures"))
    truth = [0] * len(known) + [1] * len(strange)
    expected = roc_auc_score(truth, np.concatenate([known, strange]))
    row = found.frame.query("detector == 'ReAct' and split == 0 and ood_set == 'textures'")
    assert row["auroc"].item() == pytest.approx(expected, abs=2e-3)


def test_halves_and_surrogates_come_from_the_split_alone(
    small: tuple[dict[str, Path], Subject],
) -> None:
    _, subject = small
    bench = Bench(subject, Pace(8, 1, lambda *_: None))
    divisions = [Division.of(subject, bench.shown, seed) for seed in (0, 1)]
    for each in divisions:
        halves = torch.cat([each.calibration_rows, each.test["id"]])
        assert sorted(halves.tolist()) == sorted(bench.shown.rows(subject.known).tolist())
        assert len(each.calibration_rows) == len(subject.known) / 2
    assert set(divisions[0].test["id"].tolist()) != set(divisions[1].test["id"].tolist())


def test_what_the_library_cannot_do_has_a_reason(found: Measured) -> None:
    names = {detector for detector, whose in found.passes if whose == THEIRS}
    ran = set(found.frame.query("whose == @THEIRS")["detector"])
    assert names == ran | {name for name, whose in found.absent if whose == THEIRS}
    assert all(found.absent.values())


def test_the_network_sees_a_picture_once(small: tuple[dict[str, Path], Subject]) -> None:
    bench = Bench(small[1], Pace(8, 1, lambda *_: None))
    known = len(bench.seen)
    scorer = bench.scorer([])
    again = scorer.represent(bench.shown.pixels[[3, 40, 7]])
    assert len(bench.seen) == known == len(bench.shown.pixels)
    fresh = Scorer(bench.network, scorer.preprocessing, parse_detectors("gsc,energy"))
    torch.testing.assert_close(again.logits, fresh.represent(bench.shown.pixels[[3, 40, 7]]).logits)
