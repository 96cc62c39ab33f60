"""The report: it says what the run says, and no name in it is more than text."""

import csv
import io
import json
import math
import re
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page
from stored_run import own_choices, write_run
from written_report import groups, picture, written_report

from gsc_core.detectors.catalogue import CATALOGUE
from gsc_core.evaluation.selective import FEWEST
from gsc_core.evaluation.thresholds import F1, Cost, KeepId, Youden
from gsc_core.release import policy
from gsc_core.report import Report, framed, report_of, scores_csv, to_html
from gsc_core.report.limits import NO_POLICY
from gsc_core.report.schema import report_json
from gsc_core.report.settings_words import settings_in_words
from gsc_core.run import decisions
from gsc_core.run.confidence import trust_of
from gsc_core.run.reliability import errors_of
from gsc_core.run.stored import Run
from gsc_core.sentences.confidence import NO_HALVES
from gsc_core.sentences.csv_safety import harmless
from gsc_core.sentences.detector_names import SPELT_OUT, called, title_of
from gsc_core.workspace import release_policy

FILE = "<img src=x onerror=alert(1)>.png"
CLASS = '=HYPERLINK("http://evil.example","x")'
SET = "</script><script>alert(1)</script>"
DETECTOR = "'\"><svg onload=alert(1)> \u202egnp"
LIMIT = 2_000_000
NBSP = "\N{NO-BREAK SPACE}"
EXAMPLE = (Path(policy.__file__).with_name("example.toml")).read_bytes()


def hostile_run(home: Path) -> Run:
    """A run in which the sets, the files, the classes and the detectors have hostile names."""
    folder = write_run(
        home / "demo",
        sets={SET: 2.0, "@cmd": 3.0},
        detectors={DETECTOR: 1.0, "+1": 0.5},
        n=30,
        m=30,
        excused={SET: FILE},
        settings={"class_names": [CLASS] * 12, "classifier": FILE, "classes": 12},
        provenance={"model_sha256": FILE, "finished": SET},
    )
    scores = pd.read_parquet(folder / "scores.parquet")
    scores["file"] = [f"{i}/{FILE}" if i % 2 else f"={i}{FILE}" for i in range(len(scores))]
    scores.to_parquet(folder / "scores.parquet", index=False)
    for row in scores.itertuples():
        name = "id" if row.role == "id" else str(row.set).encode().hex()
        path = folder / "unpacked" / name / str(row.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), "teal").save(path, "PNG")
    return Run.load(folder)


def test_detectors_that_point_the_wrong_way_stand_last_whatever_they_measure(home):
    run = Run.load(
        write_run(home / "demo", detectors={"msp": 0.3, "energy": 3.0}, inverted=["energy"])
    )
    found = report_of(run, decisions.default(run)).detectors
    assert [row.name for row in found] == ["msp", "energy"] == run.ranked()
    assert (
        found[0].fpr95.value > found[1].fpr95.value
    )  # it does best, by these unfamiliar images alone


def test_the_end_labels_of_the_histogram_are_the_inner_edges_of_the_end_bars(home):
    run = Run.load(write_run(home / "demo"))
    report = report_of(run, decisions.decide(run, "energy", KeepId(share=0.9)), images=False)
    bars = report.histogram
    said = re.findall(r">([≤≥]) ([−\d.]+)</text>", to_html(report))
    known = run.scores("energy")["id"]
    for sign, number in said:
        end = float(number.replace("−", "-"))
        beyond = np.mean(known <= end) if sign == "≤" else np.mean(known >= end)
        assert bars.familiar.shares[0 if sign == "≤" else -1] == pytest.approx(beyond, abs=1e-2)
        width = (bars.high - bars.low) / len(bars.familiar.shares)
        edge = bars.low + width if sign == "≤" else bars.high - width
        assert end == pytest.approx(edge, rel=1e-3)
    assert said


@pytest.mark.slow
def test_the_threshold_that_is_printed_judges_as_the_one_that_was_found(home):
    """1.224 for 1.22396 would let another image pass: the printed one is the very score."""
    run = Run.load(write_run(home / "demo", n=20_000))
    decision = decisions.decide(run, "energy", KeepId(share=0.9))
    said = re.search(r"threshold, <b>(.+?)</b>", to_html(report_of(run, decision, images=False)))
    assert np.float32(said[1].replace("−", "-")) == np.float32(decision.value)


class Elements(HTMLParser):
    """Every element with its attributes, and all text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_it_says_what_the_run_says(home):
    run = Run.load(write_run(home / "demo"))
    decision = decisions.decide(run, "gsc", KeepId(share=0.9))
    report = report_of(run, decision)
    scores = run.scores("gsc")
    known = scores.pop("id")
    assert report.decision.familiar.passed == np.sum(known <= decision.value)
    for one in report.decision.strangers:
        assert one.passed == np.sum(scores[one.name] <= decision.value)
    said = re.search(
        r"^(\d+) of 1,000 unfamiliar images .* while (\d+) of 1,000 familiar images",
        report.verdict,
    )
    assert said is not None
    assert int(said[1]) == round(1000 * report.decision.strangers_share)
    assert int(said[2]) == round(1000 * np.mean(known <= decision.value))
    assert report.detectors[0].name == run.best().detector
    assert (
        "points the wrong way" in next(r for r in report.detectors if r.name == "gsc-drop").notes[0]
    )
    bars = [report.histogram.familiar, *report.histogram.strangers]
    assert all(sum(one.shares) == pytest.approx(1, abs=1e-3) for one in bars)
    for line in report.roc:
        x, y = np.array(line.points).T
        assert np.trapezoid(y, x) == pytest.approx(line.auroc, abs=5e-3)
    assert len(report.pictures) == 3
    lowest = report.pictures[0].pictures[0]
    assert lowest.score == pytest.approx(min(values.min() for values in scores.values()))

    text = words_of(to_html(report))
    assert report.verdict in text
    for limit in report.limits:
        assert limit in text
    assert f"{report.decision.familiar.passed:,} of 200" in text


def words_of(page: str) -> str:
    return " ".join(Elements(page).text.split())


def first_page(page: str) -> str:
    """What is read before the histograms."""
    return words_of(page[page.index("<main>") : page.index("How well the scores separate them")])


ORDER = (
    "unfamiliar images would be accepted, while", "The limits of this audit", "What was tested",
    "The decision, in counts", "The release limits, one by one",
    "How well the scores separate them", "What every threshold would",
    "What refusing flagged images gains", "Can its confidence be trusted?",
    "What is wrong among what is accepted", "The most informative images",
    "Set by set, class by class",
    "Every detector that was tried", "How it was done", "Glossary", "Where it comes from",
)  # fmt: skip


def test_the_answer_comes_first_and_its_limits_second(home):
    run = Run.load(write_run(home / "demo"))
    release_policy.keep(EXAMPLE)
    text = words_of(to_html(report_of(run, decisions.current(run))))
    places = [text.index(words) for words in ORDER]
    assert places == sorted(places)
    assert "\N{REPLACEMENT CHARACTER}" not in text, "nothing of ours is unprintable"


@pytest.mark.slow
def test_no_detector_is_called_by_an_acronym_alone(home):
    names = [detector.name for detector in CATALOGUE]
    detectors = dict.fromkeys([*names, "gsc-auto+react", "of another version"], 1.0)
    run = Run.load(write_run(home / "demo", detectors=detectors, n=20, m=20))
    for name in names:
        assert not ACRONYM.findall(title_of(run, name)), name
    assert set(SPELT_OUT) <= set(names)
    assert called(run, "gsc-auto+react").endswith(", with Rectified activations (gsc-auto+react)")
    assert called(run, "energy") == "Energy"
    assert called(run, "of another version") == "of another version"


ACRONYM = re.compile(r"(?<![(\w])[A-Z][A-Z0-9]+\b")
"""Two capitals, or a capital and a digit, in a row; in brackets behind its words it is allowed."""


@pytest.mark.slow
@pytest.mark.parametrize("policy", [False, True], ids=["no policy", "policy"])
@pytest.mark.parametrize(
    "rule",
    [
        KeepId(share=0.95),
        KeepId(share=0.9999),
        Youden(),
        F1(),
        Cost(miss=9, alarm=1, prevalence=0.1),
    ],
    ids=str,
)
def test_the_first_page_has_no_bare_acronym(home, rule, policy):
    """All of it that is ours: a run's own names are lower case here."""
    names = [detector.name for detector in CATALOGUE]
    if policy:
        release_policy.keep(EXAMPLE)
    folder = write_run(
        home / "demo", n=60, m=30, sets={"x": 1.0, "y": 2.0}, detectors=dict.fromkeys(names, 1.0),
        in_sample=names[:3], inverted=names[3:6], id_accuracy=None if policy else 0.9,
        settings={"preprocessing": {"source": "assumed"}},
    )  # fmt: skip
    run = Run.load(folder)
    for name in names if isinstance(rule, Youden) else names[:8]:
        page = to_html(report_of(run, decisions.decide(run, name, rule), images=False))
        text = first_page(page)
        assert called(run, name) in text
        assert not ACRONYM.findall(text)


def test_what_the_pattern_takes_for_an_acronym():
    assert ACRONYM.findall("an AUROC of 1, FPR95, OOD.") == ["AUROC", "FPR95", "OOD"]
    assert not ACRONYM.findall("told apart (AUROC), ImageNet, An image, I")


@pytest.mark.parametrize(("at_most", "said"), [(1.0, "pass"), (0.0, "fail")])
def test_the_release_policy_speaks_first(home, at_most, said):
    run = Run.load(write_run(home / "demo"))
    before = report_of(run, decisions.current(run))
    assert before.gate is None
    assert NO_POLICY in before.limits
    release_policy.keep(f'[[rule]]\nmetric = "strangers_passing"\nat_most = {at_most}')
    report = report_of(run, decisions.current(run))
    assert report.gate is not None
    assert report.gate.outcome == said == report.gate.rules[0].outcome
    assert NO_POLICY not in report.limits
    text = words_of(to_html(report))
    assert text.index(report.gate.sentence) < text.index(report.verdict)
    assert report.gate.rules[0].because in text


def test_classes_and_refusing_are_counted_from_the_scores(home):
    """Against a loop over the table, with a threshold that has no part in the test images."""
    folder = write_run(home / "demo")
    run, table = Run.load(folder), pd.read_parquet(folder / "scores.parquet")
    decision = decisions.decide(run, "gsc", KeepId(share=0.8))
    report = report_of(run, decision, images=False)
    table["passes"] = table["gsc"].astype(float) <= decision.value
    assert len(report.classes) == 12
    assert report.classes_more == 0
    for row in report.classes:
        seen = table[table["predicted"] == int(row.name.removeprefix("class "))]
        for role, found in (("id", row.familiar), ("ood", row.strangers)):
            mine = seen[seen["role"] == role]
            assert (found.passed, found.tested) == (mine["passes"].sum(), len(mine))
    unnoticed = [row.strangers.passed for row in report.classes]
    assert unnoticed == sorted(unnoticed, reverse=True)
    known = table[table["role"] == "id"]
    right = known["label"] == known["predicted"]
    refusing = report.refusing
    assert refusing.accuracy == pytest.approx(right.mean())
    assert refusing.accuracy_passing == pytest.approx(right[known["passes"]].mean())
    assert refusing.kept == pytest.approx(known["passes"].mean())
    assert [row.name for row in report.by_set] == list(run.ood_sets)


def test_a_threshold_set_with_strangers_is_counted_on_the_others(home):
    run = Run.load(write_run(home / "demo"))
    asked = (
        ("gsc", Youden(), 60),
        ("gsc", KeepId(share=0.9), 120),
        ("energy", KeepId(share=0.9), 60),
    )
    for detector, rule, tested in asked:
        decision = decisions.decide(run, detector, rule)
        report = report_of(run, decision, images=False)
        assert {one.tested for one in report.decision.strangers} == {tested}
        assert report.decision.halved == decision.halved
        drawn = [bars.shares for bars in report.histogram.strangers]
        drawn += [[x for x, _ in line.points] for line in report.roc]
        for shares in drawn:  # parts of so many images, but for their rounding
            counts = np.multiply(shares, tested)
            np.testing.assert_allclose(counts, np.round(counts), atol=0.01)
        assert ("no part in choosing it" in to_html(report)) == (tested == 60)


def test_what_a_costly_miss_leads_to_is_said(home):
    run = Run.load(write_run(home / "demo"))
    decision = decisions.decide(run, "energy", Cost(miss=2, alarm=1, prevalence=0.5))
    text = words_of(to_html(report_of(run, decision, images=False)))
    assert "Of 1,000 images with 500 unfamiliar images among them, expect" in text
    assert "accepting an unfamiliar image costs 2" in text
    rare = decisions.decide(run, "energy", Cost(miss=2, alarm=1, prevalence=0.001))
    assert "this run has 50" in report_of(run, rare, images=False).decision.warning


def test_many_classes_are_cut_and_counted(home):
    folder = write_run(home / "demo")
    table = pd.read_parquet(folder / "scores.parquet")
    table["predicted"] = np.arange(len(table)) % 100
    table.to_parquet(folder / "scores.parquet", index=False)
    run = Run.load(folder)
    report = report_of(run, decisions.current(run), images=False)
    assert len(report.classes) == 20
    assert report.classes_more == 80
    assert "80 more are not listed" in words_of(to_html(report))


def test_without_labels_there_is_no_refusing(home):
    folder = write_run(home / "demo", id_accuracy=None)
    table = pd.read_parquet(folder / "scores.parquet").assign(label=-1)
    table.to_parquet(folder / "scores.parquet", index=False)
    run = Run.load(folder)
    report = report_of(run, decisions.current(run))
    assert (report.refusing, report.confidence, report.errors) == (None, None, None)
    page = to_html(report)
    for heading in ("What refusing", "Can its confidence", "What is wrong among"):
        assert heading not in page


@pytest.mark.parametrize(("labelled", "drawn"), [(FEWEST - 1, False), (FEWEST, True)])
def test_what_refusing_gains_is_drawn_from_some_images_on(home, labelled, drawn):
    folder = write_run(home / "demo", n=60)
    table = pd.read_parquet(folder / "scores.parquet")
    known = table.index[table["role"] == "id"]
    table.loc[known[labelled:], "label"] = -1
    table.to_parquet(folder / "scores.parquet", index=False)
    run = Run.load(folder)
    report = report_of(run, decisions.current(run), images=False)
    assert (report.refusing is not None) is drawn
    assert ("What refusing" in to_html(report)) is drawn


def test_a_class_that_no_unfamiliar_image_was_seen_as_has_no_row(home):
    folder = write_run(home / "demo")
    table = pd.read_parquet(folder / "scores.parquet")
    table.loc[(table["role"] == "ood") & (table["predicted"] >= 3), "predicted"] = 0
    table.to_parquet(folder / "scores.parquet", index=False)
    run = Run.load(folder)
    report = report_of(run, decisions.current(run), images=False)
    assert {row.name for row in report.classes} == {"class 0", "class 1", "class 2"}
    assert all(row.strangers.tested for row in report.classes)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"logit_after": 9.51}, "the answer stays at 9.5 points."),
        ({"logit_after": 12.0}, "the answer rises from 9.5 to 12.0 points."),
        ({"channels_cut": 1, "share_cut": 1 / 320}, "1 of 320 channels was cut: the answer falls"),
    ],
)
def test_what_a_cut_does_is_said_as_it_is(changed, said):
    told = picture().explained.model_copy(update=changed)
    assert said in words_of(to_html(written_report(pictures=groups(explained=told))))


def test_a_name_from_right_to_left_leaves_the_numbers_beside_it_in_place():
    """`93.0 %` would stand as `93.0 name %`."""
    page = to_html(written_report(sets=("\u0635\u0648\u0631",)))
    assert "<bdi>\u0635\u0648\u0631</bdi> <span" in page


def test_no_channel_is_named_by_its_number():
    """To a colleague it says nothing; the JSON has it for whoever looks further."""
    report = written_report()
    assert not re.search(r"channel \d", words_of(to_html(report)))
    assert '"channels"' in report_json(report)


def test_settings_are_said_in_words_and_recorded_in_the_json(home):
    settings = {
        "classifier": "net.pt2", "architecture": "timm/x", "classes": 12, "parameters": 4_700_000,
        "split": "layer4.0", "precision": "float32", "batch_size": 8, "seed": 5, "repeats": 1000,
        "compiled": False, "class_names": ["a"] * 12, "threads": 2,
        "detectors": [{"name": "gsc", "settings": {"share": 0.1}}, {"name": "msp", "settings": {}}],
    }  # fmt: skip
    versions = {"torch": "2.15.0", "python": "3.11"}
    run = Run.load(
        write_run(
            home / "demo",
            settings=settings,
            provenance={"device": "cpu", "machine": "x86_64", "versions": versions},
        )
    )
    report = report_of(run, decisions.current(run), images=False)
    assert dict(settings_in_words(report)) == {
        "Classifier": "net.pt2, architecture timm/x, 12 classes, 4,700,000 parameters",
        "Layer that GSC cuts at": "layer4.0",
        "Settings of detectors": "gsc: share 0.1",
        "Computed": "on a processor (x86_64), in float32, 8 images at a time",
        "Chance": "seed 5, 1,000 repeats for each interval",
        "Versions": "torch 2.15.0, python 3.11",
    }
    page = to_html(report)
    assert "<pre>" not in page
    assert "class_names" not in page
    assert "null" not in page
    recorded = json.loads(report_json(report))["settings"]
    assert {name: recorded[name] for name in settings} == settings


def test_confidence_and_errors_are_those_of_the_run(home):
    run = Run.load(write_run(home / "demo"))
    decision = decisions.current(run)
    report = report_of(run, decision, images=False)
    trust, errors = trust_of(run), errors_of(run, decision)
    assert report.confidence.error.value == trust.calibration.error.value
    assert sum(group.images for group in report.confidence.groups) == 200
    assert [row.right for row in report.confidence.classes] == [
        one.right for one in trust.classes[:10]
    ]
    assert report.confidence.classes_more == len(trust.classes) - 10
    assert report.confidence.scaled is None
    assert report.errors.wrong.value == errors.wrong.value
    assert len(report.errors.by_both) > 10
    text = words_of(to_html(report))
    for sentence in (*report.confidence.sentences, *report.errors.sentences):
        assert sentence in text


def test_too_few_unfamiliar_images_for_halves_leave_the_errors_without_curves(home):
    run = Run.load(write_run(home / "demo", m=3))
    report = report_of(run, decisions.default(run), images=False)
    assert report.errors.by_both == ()
    assert report.errors.sentences[1] == NO_HALVES, "no advice for who sets a threshold"
    assert "at least 4 images in each set that no other set has" in NO_HALVES
    assert "What is wrong among what is accepted" in to_html(report)


def test_how_detectors_set_themselves_is_one_paragraph_of_text(home):
    choices = own_choices()
    choices["settings"]["split"] = SET
    run = Run.load(write_run(home / "demo", **choices))
    report = report_of(run, decisions.current(run), images=False)
    page = to_html(report)
    text = " ".join(Elements(page).text.split())
    assert "no unfamiliar image was seen for this" in text
    assert f"5 % of the channels at {SET} by attribution" in text
    assert "24 are accepted, without the short-circuit 33" in text
    assert "auto-ensemble took vra" in text
    assert "<script" not in page
    assert Report.model_validate_json(report.model_dump_json()) == report
    before = Run.load(write_run(home / "before"))
    assert "tune themselves" not in to_html(report_of(before, decisions.current(before)))


def test_json_reads_back_as_the_same_report(home):
    run = Run.load(write_run(home / "demo"))
    report = report_of(run, decisions.current(run))
    again = Report.model_validate_json(report.model_dump_json())
    assert again == report
    assert (again.format, again.version) == ("gsc-audit-report", 2)
    few = decisions.decide(run, "energy", KeepId(share=0.999))
    endless = report_of(run, few)
    document = json.loads(endless.model_dump_json(), parse_constant=pytest.fail)
    assert document["decision"]["value"] == "Infinity"
    assert Report.model_validate(document).decision.value == math.inf
    assert "999 calibration images" in to_html(endless)


@pytest.mark.parametrize("images", [True, False])
def test_pictures_are_small_and_can_be_left_out(home, images):
    run = hostile_run(home)
    page = to_html(report_of(run, decisions.current(run), images=images))
    urls = [attrs["src"] for tag, attrs in Elements(page).found if tag == "img"]
    assert len(page.encode()) < LIMIT
    if images:
        assert len(urls) == 12
        assert re.search(r"\d+/?&lt;img", page)
        assert all(url is not None and url.startswith("data:image/jpeg;base64,") for url in urls)
    else:
        assert not urls
        assert not re.search(r"\d+/?&lt;img", page)  # no file names either
        assert "This report was made without images" in page


def test_lost_pictures_and_no_folders_of_this_machine(home):
    settings = {"id": "/srv/secret/id", "ood": {"x": "/srv/secret/x"}, "seed": 0}
    run = Run.load(write_run(home / "demo", settings=settings | {"model": {"checkpoint": "/srv"}}))
    report = report_of(run, decisions.current(run))
    page = to_html(report)
    assert "no longer available" in page
    assert "/srv" not in page + report.model_dump_json()


@pytest.mark.slow
def test_fifty_sets_and_many_classes_stay_small(home):
    names = [f"class {i}" * 5 for i in range(20_000)]
    sets = {f"set {i}": i / 20 for i in range(50)}
    folder = write_run(
        home / "demo", sets=sets, detectors={"energy": 1.0}, n=30, m=20,
        settings={"class_names": names},
    )  # fmt: skip
    run = Run.load(folder)
    page = to_html(report_of(run, decisions.current(run)))
    assert len(page.encode()) < LIMIT
    assert "The first 12 of 50 sets are drawn" in page
    assert all(f"<td>{name}</td>" in page for name in sets)


def test_limits_name_what_is_wrong(home):
    run = Run.load(write_run(home / "demo", sets={"x": 1.0}, m=40, id_accuracy=None))
    backwards = decisions.decide(run, "gsc-drop", Youden())
    limits = " ".join(report_of(run, backwards).limits)
    assert "points the wrong way" in limits
    assert "Only 1 kind of unfamiliar image was" in limits
    assert "smallest set (x) had 20 test images" in limits  # half set the threshold
    assert "left out: 2 that could not be read and 4 duplicates" in limits
    assert "no labels" in limits
    assert "gsc-drop was picked after the audit, in place of gsc" in limits
    assert "picked after" not in " ".join(report_of(run, decisions.default(run)).limits)


def test_so_few_images_are_said_to_be_too_few_before_any_figure_is_explained(home):
    run = Run.load(write_run(home / "demo", sets={"x": 9.0}, n=3, m=3, excused={}))
    report = report_of(run, decisions.current(run), images=False)
    said = "Too few to judge by: only 3 familiar and 3 unfamiliar images were tested."
    assert report.decision.warning == said
    text = words_of(to_html(report))
    assert text.index(report.verdict) < text.index(said) < text.index("The limits of this audit")
    many = Run.load(write_run(home / "many", sets={"x": 9.0}))
    assert report_of(many, decisions.current(many), images=False).decision.warning is None


@pytest.mark.parametrize(("value", "said"), [(math.inf, "accepted"), (-math.inf, "flagged")])
def test_without_a_threshold_none_is_explained(value, said):
    plain = written_report()
    decision = plain.decision.model_copy(update={"value": value})
    text = words_of(to_html(plain.model_copy(update={"decision": decision})))
    assert f"Here there is no threshold, so every image is {said}." in text
    assert "at most the threshold" not in text
    assert "at most the threshold" in words_of(to_html(plain))


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ({"broken": 1, "duplicates": 0}, "Images left out: 1 that could not be read."),
        ({"broken": 0, "duplicates": 1}, "Images left out: 1 duplicate."),
        ({"broken": 2, "duplicates": 3}, "Images left out: 2 that could not be read and 3 dup"),
        ({"broken": 0, "duplicates": 0}, None),
    ],
)
def test_no_count_of_nothing_is_named_among_the_images_left_out(home, images, said):
    counts = {"id": {"scored": 200, "without_class": 0, **images}}
    run = Run.load(write_run(home / "demo", images=counts))
    limits = report_of(run, decisions.current(run), images=False).limits
    found = [limit for limit in limits if "left out" in limit]
    assert [limit.startswith(said) for limit in found] == [True] if said else not found


def test_all_but_sure_is_not_rounded_to_sure():
    page = words_of(to_html(written_report(pictures=groups(confidence=0.9996))))
    assert "(more than 99 % sure)" in page
    assert "100 % sure" not in page
    assert "(100 % sure)" in words_of(to_html(written_report(pictures=groups(confidence=1.0))))


@pytest.mark.parametrize(
    ("recorded", "said"),
    [
        ("2026-11-27T16:21:49+00:00", "27 November 2026, 16:21 UTC"),
        ("2026-11-27T16:21:49-08:00", "28 November 2026, 00:21 UTC"),
        ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00+14:00"),
        ("<b>", "<b>"),
    ],
)
def test_a_recorded_time_is_said_as_people_say_it(recorded, said):
    page = to_html(written_report(provenance={"finished": recorded}))
    assert f"Audited {said}" in words_of(page.replace("</th>", " </th>"))


def test_why_a_release_fails_is_a_list(home):
    run = Run.load(write_run(home / "demo"))
    release_policy.keep('[[rule]]\nmetric = "strangers_passing"\nat_most = 0.0')
    gate = report_of(run, decisions.current(run), images=False).gate
    assert gate.headline
    assert gate.reasons
    assert gate.sentence == " ".join((gate.headline, *gate.reasons))
    page = to_html(written_report(gate=gate))
    for reason in gate.reasons:
        assert f"<li>{escape(reason, quote=False).replace(' %', NBSP + '%')}</li>" in page
    earlier = gate.model_copy(update={"headline": "", "reasons": ()})
    assert gate.sentence in words_of(to_html(written_report(gate=earlier)))


def test_hostile_names_make_no_elements(home):
    run = hostile_run(home)
    page = to_html(report_of(run, decisions.current(run)))
    elements = Elements(page)
    tags = {tag for tag, _ in elements.found}
    assert not tags & {"script", "iframe", "object", "embed", "link", "base", "form", "a"}
    allowed = {"src", "alt"}
    assert all(set(attrs) <= allowed for tag, attrs in elements.found if tag == "img")
    assert not [name for _, attrs in elements.found for name in attrs if name.startswith("on")]
    assert SET in elements.text
    assert CLASS in elements.text
    assert FILE in elements.text
    assert "\u202e" not in page
    named = r"http://(evil\.example|www\.w3\.org/2000/svg)"  # one a class, one what SVG is called
    assert "http://" not in re.sub(named, "", page)


def test_csv_has_every_score_and_no_formula(home):
    run = hostile_run(home)
    text = scores_csv(run).decode("utf-8-sig")
    header, *rows = csv.reader(io.StringIO(text))
    table = pd.read_parquet(run.path / "scores.parquet")
    assert len(rows) == len(table)
    assert header == ["set", "role", "file", "label", "predicted", "confidence", DETECTOR, "'+1"]
    texts = [cell for row in rows for cell in row[:5]] + header
    assert not [cell for cell in texts if cell.startswith(tuple("=+-@\t\r\n"))]
    assert {row[0] for row in rows} == {"calibration", "id", SET, "'@cmd"}
    assert {row[4] for row in rows} == {"'" + CLASS}
    assert {row[3] for row in rows if row[1] == "ood"} == {""}
    assert [row[2].removeprefix("'") for row in rows] == list(table["file"])
    assert np.allclose([float(row[6]) for row in rows], table[DETECTOR])


@pytest.mark.parametrize("start", list("=+-@\t\r\n＝＋－＠"))
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary("i4", "str")])
def test_no_cell_begins_like_a_formula(start, kind):
    text = pa.array([start + "1", "a" + start], pa.string()).cast(kind)
    assert harmless(text).to_pylist() == ["'" + start + "1", "a" + start]


def shown(browser: Browser, file: Path, page: str) -> tuple[Page, list[str]]:
    """The page from disk in a real browser, with all that it asked for or tried to say."""
    file.write_text(page, encoding="utf-8")
    tab = browser.new_page()
    heard: list[str] = []
    tab.on("dialog", lambda dialog: (heard.append(dialog.message), dialog.dismiss()))
    tab.on("request", lambda request: heard.append(request.url[:60]))
    tab.on("pageerror", lambda error: heard.append(str(error)))
    tab.goto(file.as_uri())
    tab.wait_for_load_state("load")
    wanted = [one for one in heard if not one.startswith((file.as_uri()[:60], "data:image/jpeg"))]
    return tab, wanted


@pytest.mark.slow
@pytest.mark.parametrize("preview", [False, True], ids=["file", "preview"])
def test_hostile_names_are_harmless_in_a_real_browser(home, tmp_path, browser, preview):
    run = hostile_run(home)
    page = to_html(report_of(run, decisions.current(run)))
    text = framed(page, 600) if preview else page
    tab, wanted = shown(browser, tmp_path / "report.html", text)
    inside = tab.frames[-1] if preview else tab.main_frame
    body = tab.frame_locator("iframe") if preview else tab
    assert SET in body.locator("main").inner_text()
    assert body.locator("script").count() == 0
    assert body.locator("img").count() == 12
    assert body.locator("svg").count() > 2
    assert not wanted
    assert len(tab.frames) == (2 if preview else 1)
    assert preview == (inside != tab.main_frame)
    tab.close()


def test_a_report_is_readable_without_colours_of_its_own_choosing(home, tmp_path, browser):
    """Light, dark and on paper: the text stands out from its ground."""
    run = Run.load(write_run(home / "demo"))
    tab, _ = shown(browser, tmp_path / "r.html", to_html(report_of(run, decisions.current(run))))
    for media in ({"color_scheme": "light"}, {"color_scheme": "dark"}, {"media": "print"}):
        tab.emulate_media(**media)
        ink, paper = (
            np.mean([int(v) for v in re.findall(r"\d+", tab.evaluate(code))[:3]])
            for code in (
                "getComputedStyle(document.querySelector('h1')).color",
                "getComputedStyle(document.body).backgroundColor",
            )
        )
        assert abs(ink - paper) > 150, media
    tab.emulate_media(media="screen")
    tab.set_viewport_size({"width": 390, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    tab.close()


def test_what_was_checked_about_the_model_is_listed_and_warnings_come_first(home: Path) -> None:
    checks = [
        {"name": "inputs", "outcome": "fine", "sentence": "Prepared images fit."},
        {"name": "accuracy", "outcome": "warning", "sentence": "3 of 50 are right <& no more>."},
    ]
    preprocessing = {"resize": [96, 64], "crop": [96, 64], "mean": [0.5] * 3, "std": [0.5] * 3}
    write_run(home / "demo", checks=checks, settings={"preprocessing": preprocessing})
    run = Run.load(home / "demo")
    report = report_of(run, decisions.default(run))
    assert [check.name for check in report.checks] == ["accuracy", "inputs"]
    page = to_html(report)
    top = page[: page.index("The limits of this audit")]
    assert '<p class="warning">3 of 50 are right &lt;&amp; no more&gt;.</p>' in top
    listed = page[page.index("What was checked about the model") :]
    assert "<b>Warning:</b> 3 of 50 are right" in listed
    assert "<li>Prepared images fit.</li>" in listed
    assert (
        " correctly. The image is stretched to 96×64 pixels (bilinear); mean 0.5, standard dev"
        in page
    )


@pytest.mark.slow
def test_a_run_of_an_earlier_version_has_no_list_of_checks(home: Path) -> None:
    write_run(home / "demo")
    run = Run.load(home / "demo")
    report = report_of(run, decisions.default(run))
    assert (report.checks, report.prepared) == ((), None)
    assert "What was checked about the model" not in to_html(report)
