"""The ablation against real audits of the same settings, and what it says of them."""

import json
import shutil
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from small_audit import PREPROCESS, write_stage

from gsc_core.ablation import Ablation, read_ablation, write_ablation
from gsc_core.ablation.comparison import paper_table
from gsc_core.ablation.findings import OUTDATED, answer, document, findings, premise, sentences
from gsc_core.ablation.gain import Gain, Influence, gain
from gsc_core.ablation.grid import Layer, layers_of, trials
from gsc_core.ablation.run import ablate
from gsc_core.ablation.settings import FULL_METHOD, PAPER_ROWS
from gsc_core.ablation.table import SetConsistency
from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.charts.ablation import curves, factors, steadiness
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.classifier.split import Split
from gsc_core.errors import Cancelled, GscError, SpecError
from gsc_core.evaluation.paired import difference, measure
from gsc_core.scoring import decoder

LAYERS = ("first", "block")
METRICS = ("fpr95", "auroc")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stage(tmp_path_factory.mktemp("stage"))


def spec_of(stage: Path, *detectors: DetectorSpec, **more) -> AuditSpec:
    settings = {
        "model": ModelSpec(
            checkpoint=stage / "small.pt2", preprocessing=Preprocessing.parse(PREPROCESS)
        ),
        "id": stage / "id",
        "calibration": stage / "calibration",
        "ood": {"noise": stage / "noise", "faint": stage / "faint"},
        "detectors": detectors or (DetectorSpec(name="gsc"),),
        "split": "block",
        "repeats": 20,
    }
    return AuditSpec(**{**settings, **more})


@pytest.fixture(scope="module")
def ablated(stage: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ablation, Counter]:
    """The ablation at both layers, and how often each test image was decoded."""
    seen: Counter = Counter()
    lock = threading.Lock()
    real = decoder.decode

    def counted(path: Path):
        with lock:
            seen[path] += 1
        return real(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder, "decode", counted)
        found = ablate(spec_of(stage), tmp_path_factory.mktemp("out"), layers=LAYERS)
    return found, seen


@pytest.fixture(scope="module")
def found(ablated: tuple[Ablation, Counter]) -> Ablation:
    return ablated[0]


AUDITED = [
    ("better", "deep", "share", "5 %", {"share": 0.05, "granularity": "channel",
     "ranking": "attribution", "reading": "residual_logit"}),
    ("published", "deep", "direction", "learned", {}),
    ("published", "deep", "intervention", "truncate", {"intervention": "truncate"}),
    ("published", "shallow", "update", "computed again", {"update": "exact"}),
    ("published", "shallow", "reading", "drop of energy", {"confidence": "energy"}),
    ("better", "shallow", "ranking", "random", {"share": 0.05, "granularity": "channel",
     "ranking": "random", "reading": "residual_logit"}),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("base", "depth", "factor", "level", "settings"), AUDITED)
def test_a_row_is_what_an_audit_of_that_setting_gives(
    base, depth, factor, level, settings, found: Ablation, stage: Path, tmp_path: Path
) -> None:
    split = dict(zip(("shallow", "deep"), LAYERS, strict=True))[depth]
    detectors = [DetectorSpec(name="gsc", settings=settings), DetectorSpec(name="gsc-drop")]
    document = run_audit(spec_of(stage, *detectors, split=split), tmp_path).document.model_dump(
        mode="json"
    )
    for audited in (row for row in document["results"] if row["detector"] == "gsc"):
        row = found.row(audited["ood_set"], base=base, depth=depth, factor=factor, level=level)
        assert row is not None and row["layer"] == split
        assert [row[m] for m in METRICS] == pytest.approx([audited[m] for m in METRICS], abs=1e-6)
        after = document["id_accuracy_after"]["gsc"]
        assert row["id_accuracy_after"] == pytest.approx(after, abs=1e-9)
        assert row["surrogate_auroc"] == pytest.approx(document["surrogate_auroc"]["gsc"], abs=1e-6)
        assert row["turned"] == (document["directions"]["gsc"] == "turned")
    assert found.facts.id_accuracy == pytest.approx(document["id_accuracy"])
    for audited in (row for row in document["results"] if row["detector"] == "gsc-drop"):
        row = found.row(
            audited["ood_set"], base="published", depth=depth, factor="direction", level="published"
        )
        assert [row[m] for m in METRICS] == pytest.approx([audited[m] for m in METRICS], abs=1e-6)


@pytest.mark.slow
def test_the_references_are_the_detectors_of_the_catalogue(
    found: Ablation, stage: Path, tmp_path: Path
) -> None:
    names = ("gradnorm", "energy", "maxlogit", "msp")
    spec = spec_of(stage, *(DetectorSpec(name=name) for name in names))
    for audited in run_audit(spec, tmp_path).rows:
        row = found.row(audited.ood_set, base="reference", detector=audited.detector)
        right = [audited.value(m) for m in METRICS]
        assert [row[m] for m in METRICS] == pytest.approx(right, abs=1e-6)


def scores_of(folder: Path, *detectors: str) -> dict[str, dict[str, dict[str, float]]]:
    """An audit's test scores by set, detector and image."""
    table = pd.read_parquet(folder / "scores.parquet")
    table = table[table["set"].isin(["id", "noise", "faint"])].set_index("sha256")
    return {s: {d: rows[d].to_dict() for d in detectors} for s, rows in table.groupby("set")}


def test_a_difference_is_that_of_two_audited_detectors_on_the_same_pictures(
    found: Ablation, stage: Path, tmp_path: Path
) -> None:
    """The images are in another order here, which changes nothing."""
    better = {"share": 0.05, "granularity": "channel", "ranking": "attribution",
              "reading": "residual_logit"}  # fmt: skip
    detectors = (DetectorSpec(name="gsc", settings=better), DetectorSpec(name="energy"))
    run_audit(spec_of(stage, *detectors, split="block"), tmp_path)
    by_set = scores_of(tmp_path, "gsc", "energy")
    pictures = {name: sorted(each["gsc"]) for name, each in by_set.items()}

    def measured(detector: str):
        ordered = {s: [each[detector][p] for p in pictures[s]] for s, each in by_set.items()}
        return measure(ordered.pop("id"), ordered)

    wanted = difference(measured("energy"), measured("gsc"))
    for ood_set, by_metric in wanted.items():
        row = found.row(ood_set, base="reference", detector="energy")
        assert (row["against"], row["against_layer"]) == ("the better setting", "block")
        for metric, interval in by_metric.items():
            assert row[f"{metric}_difference"] == pytest.approx(interval.value, abs=1e-6)
            ends = (row[f"{metric}_difference_low"], row[f"{metric}_difference_high"])
            assert ends == pytest.approx((interval.low, interval.high), abs=1e-6)
    assert any(interval["fpr95"].value for interval in wanted.values()), "or this compares zeros"


PARTNERS = [
    ({"base": "better", "factor": "share", "level": "20 %", "depth": "shallow"},
     {"base": "better", "factor": "direction", "level": "learned", "depth": "shallow"}),
    ({"base": "published", "factor": "curve", "level": "channel, random", "depth": "deep"},
     {"base": "published", "factor": "direction", "level": "learned", "depth": "deep"}),
    ({"base": "better", "factor": "layer", "level": "shallow"},
     {"base": "better", "factor": "layer", "level": "deep"}),
    ({"factor": "paper", "level": "Shallow layer"}, {"factor": "paper", "level": FULL_METHOD}),
    ({"factor": "paper", "level": "Top 50 %"}, {"factor": "paper", "level": FULL_METHOD}),
    ({"factor": "paper", "level": "No short-circuit: GradNorm"},
     {"factor": "paper", "level": FULL_METHOD}),
    ({"factor": "paper", "level": FULL_METHOD}, {"base": "reference", "detector": "msp"}),
    ({"base": "reference", "detector": "gradnorm"},
     {"base": "better", "factor": "direction", "level": "learned", "depth": "deep"}),
]  # fmt: skip


@pytest.mark.parametrize(("where", "partner"), PARTNERS)
def test_a_row_is_compared_with_its_partner(where, partner, found: Ablation) -> None:
    for ood_set in ("mean", "noise", "faint"):
        other = found.row(ood_set, **partner)
        for _, row in found.rows(ood_set, **where).iterrows():
            assert row["against_layer"] == other["layer"]
            for metric in METRICS:
                value = row[f"{metric}_difference"]
                assert value == pytest.approx(row[metric] - other[metric], abs=1e-12)
                assert row[f"{metric}_difference_low"] <= value <= row[f"{metric}_difference_high"]


def test_a_setting_differs_from_itself_by_nothing_and_paired_is_surer(found: Ablation) -> None:
    own = found.table[(found.table["factor"] == "direction") & (found.table["level"] == "learned")]
    ends = [f"{m}_difference{end}" for m in METRICS for end in ("", "_low", "_high")]
    assert (own[ends] == 0).all(axis=None)
    rows = found.rows(factor="curve")
    paired = rows["auroc_difference_high"] - rows["auroc_difference_low"]
    apart = rows["auroc_high"] - rows["auroc_low"]
    assert paired.mean() < apart.mean() * 2**0.5, "two intervals of this width, were they apart"


def test_every_part_of_the_method_is_named_in_the_frame(found: Ablation) -> None:
    levels = found.rows(base="published", depth="deep").groupby("factor")["level"].agg(set)
    assert {"0 %", "5 %", "20 %", "50 %"} <= levels["share"]
    assert levels["update"] == {"first order", "computed again"}
    assert levels["granularity"] == {"element", "channel"}
    assert levels["ranking"] == {"gradient", "attribution", "activation", "random"}
    assert {"drop of softmax", "residual logit", "energy left"} <= levels["reading"]
    assert set(found.rows(base="published", factor="layer")["level"]) == {"deep", "shallow"}
    assert set(found.rows(factor="paper")["level"]) == set(PAPER_ROWS)
    assert not found.table["against"].isna().any()


@pytest.mark.parametrize("depth", ["shallow", "deep"])
def test_with_nothing_cut_the_residual_logit_is_the_largest_and_no_confidence_drops(
    depth: str, found: Ablation
) -> None:
    where = {"depth": depth, "factor": "share", "level": "0 %"}
    bare = found.row(base="reference", detector="maxlogit")
    none = found.row(base="better", **where)
    assert [none[m] for m in METRICS] == pytest.approx([bare[m] for m in METRICS], abs=1e-6)
    assert none["id_accuracy_after"] == pytest.approx(found.facts.id_accuracy)
    still = found.row(base="published", **where)
    assert (still["fpr95"], still["auroc"]) == (1, 0.5)


def test_before_a_linear_head_first_order_is_exact_and_elsewhere_not(found: Ablation) -> None:
    differs = {}
    for depth in ("deep", "shallow"):
        rows = found.rows(depth=depth, base="published", factor="update").set_index("level")
        quick, exact = rows.loc["first order"], rows.loc["computed again"]
        differs[depth] = abs(quick["auroc"] - exact["auroc"])
    assert differs["deep"] == 0
    assert differs["shallow"] > 1e-3


@pytest.mark.slow
def test_the_same_seed_gives_the_same_table_and_another_another_random_part(
    stage: Path, tmp_path: Path
) -> None:
    def run(name: str, seed: int) -> Ablation:
        return ablate(spec_of(stage, seed=seed), tmp_path / name, images_per_set=30)

    first, again, other = run("a", 0), run("b", 0), run("c", 1)
    pd.testing.assert_frame_equal(first.table, again.table)
    assert not first.table["auroc"].equals(other.table["auroc"])
    assert {name: (used.used, used.of) for name, used in first.facts.images.items()} == {
        "calibration": (30, 60), "id": (30, 80), "noise": (30, 40), "faint": (30, 50),
    }  # fmt: skip
    assert [layer.name for layer in first.facts.layers] == ["block"], "there is no block before it"


def test_each_test_picture_is_decoded_once_for_all_layers_and_settings(
    ablated: tuple[Ablation, Counter], stage: Path
) -> None:
    _, seen = ablated
    for name, number in (("id", 80), ("noise", 40), ("faint", 50)):
        counts = [n for path, n in seen.items() if stage / name in path.parents]
        assert counts == [1] * number


@pytest.mark.slow
def test_it_reads_back_what_it_wrote(found: Ablation, stage: Path, tmp_path: Path) -> None:
    written = ablate(spec_of(stage), tmp_path, images_per_set=20)
    read = read_ablation(tmp_path)
    pd.testing.assert_frame_equal(read.table, written.table)
    assert read.facts == written.facts
    assert [each.name for each in tmp_path.iterdir()] == ["ablation.parquet"]
    (tmp_path / "ablation.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(GscError, match="damaged: start it again"):
        read_ablation(tmp_path)
    assert read_ablation(tmp_path / "elsewhere") is None


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["scoring noise", "calibrating at block"])
def test_cancelled_it_leaves_nothing(phase: str, stage: Path, tmp_path: Path) -> None:
    def stop(progress) -> None:
        if progress.phase == phase and progress.done:
            raise Cancelled

    with pytest.raises(Cancelled):
        ablate(spec_of(stage), tmp_path, stop)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_zips_are_unpacked_and_cleared_away(stage: Path, tmp_path: Path) -> None:
    packed = Path(shutil.make_archive(str(tmp_path / "noise"), "zip", stage / "noise"))
    out = tmp_path / "out"
    found = ablate(spec_of(stage, ood={"noise": packed}), out, images_per_set=20)
    assert found.facts.images["noise"].of == 40
    assert [each.name for each in out.iterdir()] == ["ablation.parquet"]


def test_what_a_user_can_mend_is_one_sentence(stage: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="layer named 'blok'"):
        ablate(spec_of(stage), tmp_path, layers=["blok"])
    with pytest.raises(SpecError, match="needs at least 10 calibration images"):
        ablate(spec_of(stage), tmp_path, images_per_set=6)
    assert not list(tmp_path.glob("*.parquet"))


def test_settings_that_score_alike_are_measured_once_and_others_apart() -> None:
    rows = trials(Layer("layer", "deep"))
    knobs = ("share", "granularity", "ranking", "intervention", "update", "reading", "confidence")
    by_name: dict[str, set] = {}
    for row in (row for row in rows if row.settings and row.settings["share"]):
        wanted = dict(row.settings)
        if wanted["reading"] not in ("drop", "relative_drop"):
            wanted["confidence"] = None  # it is not read
        by_name.setdefault(row.detector, set()).add(tuple(wanted[knob] for knob in knobs))
    assert all(len(settings) == 1 for settings in by_name.values())
    assert len({settings for each in by_name.values() for settings in each}) == len(by_name)
    assert {row.level for row in rows if row.factor == "paper"} == {
        level for level, of_paper in PAPER_ROWS.items() if of_paper.depth == "deep"
    }


def test_the_shallow_layer_lies_two_blocks_before_the_deep_one() -> None:
    names = ("stem", "a", "a.conv", "b", "c", "d")
    found = [Split(name, (4, 8, 8), 1, name in "abcd", False) for name in names]
    chosen = layers_of(found, None, None)
    assert [(each.name, each.depth) for each in chosen] == [("b", "shallow"), ("d", "deep")]
    chosen = layers_of(found, "b", None)
    assert [each.name for each in chosen] == ["a", "b"]
    assert [each.name for each in layers_of(found, "stem", None)] == ["stem"]
    assert layers_of([], None, None) == []


# --- what it says ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "value", "high", "verdict", "counts", "points"),
    [
        (0.0104, 0.031, 0.052, Influence.HELPS, "31 fewer (between 10 and 52)",
         "3.1 points better (between 1.0 and 5.2)"),
        (-0.052, -0.031, -0.0104, Influence.HURTS, "31 more (between 10 and 52)",
         "3.1 points worse (between 1.0 and 5.2)"),
        (-0.021, 0.01, 0.04, Influence.SAME, "10 fewer (between 21 more and 40 fewer)",
         "1.0 points better (between 2.1 worse and 4.0 better)"),
        (-0.04, -0.01, 0.021, Influence.SAME, "10 more (between 21 fewer and 40 more)",
         "1.0 points worse (between 2.1 better and 4.0 worse)"),
        (0.0, 0.02, 0.05, Influence.SAME, "20 fewer (between 0 and 50)",
         "2.0 points better (between 0.0 and 5.0)"),
    ],
)  # fmt: skip
def test_a_gain_counts_where_all_of_its_interval_does(
    low, value, high, verdict, counts, points
) -> None:
    ends = {"": value, "_low": low, "_high": high}
    row = pd.Series({f"auroc_difference{end}": each for end, each in ends.items()})
    found = gain(row, "auroc")
    assert (found.verdict, found.fewer(), found.points()) == (verdict, counts, points)
    assert found.reversed().reversed() == found
    # Less FPR95 is better.
    fewer = {"": -value, "_low": -high, "_high": -low}
    row = pd.Series({f"fpr95_difference{end}": each for end, each in fewer.items()})
    assert gain(row) == found


def test_a_gain_of_nothing_has_no_sign_and_one_in_a_table_has() -> None:
    nothing = Gain(0.0, -0.02, 0.02).reversed()
    assert nothing.points() == "0.0 points better (between 2.0 worse and 2.0 better)"
    assert nothing.signed() == "+0.0 (−2.0 to +2.0)"
    assert Gain(0.031, -0.0001, 0.052).signed() == "+3.1 (−0.0 to +5.2)", "0 is inside"


def test_no_gain_is_known_of_a_row_without_a_partner() -> None:
    ends = ("", "_low", "_high")
    assert gain(pd.Series({f"fpr95_difference{end}": float("nan") for end in ends})) is None
    assert gain(pd.Series({"fpr95": 0.5})) is None and gain(None) is None


def test_an_ablation_of_before_differences_opens_and_asks_to_be_measured_again(
    found: Ablation, tmp_path: Path
) -> None:
    newer = [c for c in found.table if "difference" in c or "against" in c]
    rows = found.table["factor"] != "layer"
    write_ablation(replace(found, table=found.table[rows].drop(columns=newer)), tmp_path)
    old = read_ablation(tmp_path)
    assert old.outdated and not found.outdated
    assert answer(old) == OUTDATED and "run it again" in OUTDATED
    assert findings(old) == []
    assert sentences(old)[0] == OUTDATED
    assert len(paper_table(old)) == len(PAPER_ROWS)
    figure = factors(old, "better", "fpr95")
    assert [line.name for line in figure.data] == ["the setting itself", "one thing changed"]


def changed(found: Ablation, where: dict[str, str], **values: float) -> Ablation:
    """The ablation with other figures in some rows."""
    table = found.table.copy()
    rows = found.rows(**where).index
    for column, value in values.items():
        table.loc[rows, column] = value
    return replace(found, table=table)


BARE = {"base": "reference"}


def differing(value: float, low: float, high: float) -> dict[str, float]:
    ends = {"": value, "_low": low, "_high": high}
    return {f"fpr95_difference{end}": each for end, each in ends.items()}


@pytest.mark.parametrize(
    ("bare", "doubt", "said", "told"),
    [
        (0.9, 0.1, "helps on this model", "500 fewer (between 400 and 600)"),
        (0.1, 0.1, "hurts on this model", "300 more (between 200 and 400)"),
        (0.41, 0.1, "makes no clear difference", "10 fewer (between 90 more and 110 fewer)"),
        (0.41, 0.005, "helps on this model", "10 fewer (between 5 and 15)"),
    ],
)
def test_the_answer_judges_the_better_setting_against_nothing_cut_by_their_difference(
    bare: float, doubt: float, said: str, told: str, found: Ablation
) -> None:
    """However wide each interval is alone."""
    wide = {"fpr95_low": 0.0, "fpr95_high": 1.0}
    altered = changed(found, {"base": "better", "depth": "deep"}, fpr95=0.4, **wide)
    apart = bare - 0.4
    altered = changed(
        altered, BARE, fpr95=bare, **wide, **differing(apart, apart - doubt, apart + doubt)
    )
    text = answer(altered)
    counts = (
        f"400 of 1,000 unfamiliar images are accepted with it, {1000 * bare:.0f} of 1,000 at best "
        "without"
    )
    assert text.startswith(f"The short-circuit {said}") and f"{counts}, {told}." in text


def test_a_backwards_direction_is_said(found: Ablation) -> None:
    where = {"base": "published", "depth": "deep", "factor": "direction"}
    low = changed(found, where, fpr95=0.3, fpr95_low=0.2, fpr95_high=0.4, backwards=False)
    assert any("direction as summarised is right here" in each.sentence for each in findings(low))
    high = changed(
        low, {**where, "level": "published"},
        fpr95=0.98, fpr95_low=0.97, fpr95_high=0.99, backwards=True, **differing(0.68, 0.6, 0.7),
    )  # fmt: skip
    (told,) = (each for each in findings(high) if "wrong way here" in each.sentence)
    assert told.verdict is Influence.HELPS
    counts = (
        "980 of 1,000 unfamiliar images are accepted; flipped, 300 of 1,000, 680 fewer (between "
        "600 and 700)"
    )
    assert counts in told.sentence


def test_every_part_is_spoken_of_once(found: Ablation) -> None:
    said = "\n".join(each.sentence for each in findings(found))
    for part in (
        "With the setting as summarised",
        "direction",
        "How much",
        "layer",
        "first-order",
        "at random",
        "classified correctly",
    ):
        assert said.count(part) >= 1
    assert "The first-order estimate is exact" in said
    assert len(findings(found)) == 7


def cosines(found: Ablation, *differences: float) -> Ablation:
    rows = [SetConsistency(set="id", where="feature", images=50, mean=0.9, low=0.89, high=0.91,
                           difference=0, difference_low=0, difference_high=0)]  # fmt: skip
    rows += [
        SetConsistency(set=f"s{i}", where="feature", images=50, mean=0.9 - d, low=0.8 - d,
                       high=1 - d, difference=d, difference_low=d - 0.005,
                       difference_high=d + 0.005)
        for i, d in enumerate(differences)
    ]  # fmt: skip
    facts = found.facts.model_copy(update={"consistency": tuple(rows)})
    return replace(found, facts=facts)


@pytest.mark.parametrize(
    ("differences", "said", "verdict"),
    [
        ((0.2, 0.3), "holds on this model", Influence.HELPS),
        ((-0.2, -0.3), "is reversed on this model", Influence.HURTS),
        ((0.2, -0.3), "holds for 1 of 2 sets and is reversed for 1", Influence.SAME),
        ((0.008, 0.0), "is not seen", Influence.SAME),
    ],
)
def test_the_premise_is_judged_by_how_much_more_strangers_turn(
    differences, said: str, verdict: Influence, found: Ablation
) -> None:
    told = premise(cosines(found, *differences))
    assert said in told.sentence and told.verdict is verdict


def test_the_premise_cannot_be_seen_where_all_is_linear(found: Ablation) -> None:
    layers = tuple(each.model_copy(update={"linear": True}) for each in found.facts.layers)
    facts = found.facts.model_copy(update={"layers": layers})
    assert "no gradient ever changes its direction" in premise(replace(found, facts=facts)).sentence
    assert found.facts.consistency_layer == "first", "the deepest that is not linear"


def test_the_papers_rows_are_those_of_the_table(found: Ablation) -> None:
    table = paper_table(found).set_index("row")
    assert list(table.index) == list(PAPER_ROWS)
    full = table.loc[FULL_METHOD]
    assert full["gain"] is None, "it is not compared with itself"
    row = found.row(factor="paper", level="Top 5 %")
    assert table.loc["Top 5 %", "gain"] == gain(row)
    published = found.row(base="published", factor="direction", level="published", depth="deep")
    learned = found.base("published")
    assert full["fpr95"] == published["fpr95"] and full["fpr95_learned"] == learned["fpr95"]
    shallow = found.row(base="published", factor="direction", level="published", depth="shallow")
    assert table.loc["Shallow layer", "auroc"] == shallow["auroc"]
    missing = found.table[found.table["depth"] == "deep"]
    without = paper_table(replace(found, table=missing)).set_index("row")
    quoted = ["paper_fpr95", "paper_auroc"]
    assert without.loc["Shallow layer"].drop(quoted).isna().all()


def test_the_papers_column_is_what_its_summary_quotes(found: Ablation) -> None:
    table = paper_table(found).set_index("row")
    quoted = table[["paper_fpr95", "paper_auroc"]]
    assert quoted.loc[FULL_METHOD].tolist() == [0.194, 0.958]
    assert quoted.loc["No short-circuit: GradNorm"].tolist() == [0.275, 0.925]
    assert not quoted.isna().any(axis=None)


def test_the_document_is_json_with_every_row(found: Ablation) -> None:
    written = json.loads(json.dumps(document(found), allow_nan=False))
    assert len(written["rows"]) == len(found.table)
    assert written["answer"] == answer(found)
    assert set(written["facts"]["images"]) == {"calibration", "id", "noise", "faint"}


# --- its charts ------------------------------------------------------------------------------


def test_curves_have_a_line_for_each_way_to_choose(found: Ablation) -> None:
    figure = curves(found, "better", "fpr95", "noise")
    assert len(figure.data) == 8
    assert len({(line.line.color, line.line.dash) for line in figure.data}) == 8
    (line,) = (line for line in figure.data if line.name == "whole channels, attribution")
    rows = found.rows("noise", base="better", factor="curve", level="channel, attribution")
    assert list(line.y) == pytest.approx(list(rows["fpr95"]), abs=1e-4)
    assert list(line.x) == ["0 %", "1 %", "5 %", "10 %", "20 %", "50 %"]
    assert len(figure.to_json()) < 30_000


@pytest.mark.parametrize("base", ["better", "published"])
def test_dots_show_every_level_and_mark_the_base(base: str, found: Ablation) -> None:
    figure = factors(found, base, "auroc")
    wanted = found.rows(base=base, depth="deep")
    wanted = wanted[~wanted["factor"].isin(["curve", "paper"])]
    by_name = {line.name: line for line in figure.data}
    assert sum(len(line.x) for line in figure.data) == len(wanted) + 1, "and the shallow layer"
    own = by_name["the setting itself"]
    assert set(own.x) == {round(float(found.base(base)["auroc"]), 4)}
    assert len(own.x) == 8, "each factor has one level that is the base"
    ends = wanted[["auroc_difference_low", "auroc_difference_high"]].to_numpy()
    sure = sum(low > 0 or high < 0 for low, high in ends)
    shallow = gain(found.row(base=base, factor="layer", level="shallow"), "auroc")
    sure += shallow.verdict is not Influence.SAME
    assert len(by_name["differs from it"].x) == sure
    assert "points better (between" in "".join(
        text for line in figure.data for text in line.customdata
    )
    assert len(figure.to_json()) < 30_000


def test_names_are_no_markup_on_the_charts(found: Ablation) -> None:
    rows = [each.model_copy(update={"set": "<b>noise</b>"}) for each in found.facts.consistency]
    images = {"id": found.facts.images["id"], "<b>noise</b>": found.facts.images["noise"]}
    facts = found.facts.model_copy(update={"consistency": tuple(rows[1:2]), "images": images})
    drawn = steadiness(replace(found, facts=facts), "feature").to_json()
    assert "<b>noise" not in json.loads(drawn)["layout"]["yaxis"]["ticktext"][0]
    table = found.table.assign(layer="<i>x</i>")
    drawn = factors(replace(found, table=table), "better", "fpr95")
    assert not [text for text in drawn.layout.yaxis.ticktext if "<i>" in text]
