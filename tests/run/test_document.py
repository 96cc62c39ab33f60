"""`metrics.json` is typed and versioned, and one place reads it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from opened_page import opened, words
from places import ROOT
from stored_run import own_choices, write_run

from gsc_core.errors import GscError
from gsc_core.evaluation.intervals import MEAN
from gsc_core.evaluation.metrics import METRICS
from gsc_core.report import report_of, to_html
from gsc_core.run import decisions
from gsc_core.run.document import VERSION, RunDocument
from gsc_core.run.schema import SCHEMA, run_schema, schema_json
from gsc_core.run.stored import Run
from gsc_core.sentences.run import answer

PUBLISHED = ROOT / "docs" / "run.schema.json"
WRITE_IT = "from gsc_core.run.schema import schema_json; print(schema_json(), end='')"


def changed(folder: Path, **changes: object) -> None:
    file = folder / "metrics.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def without(folder: Path, *metrics: str) -> Path:
    """The run as a version wrote it that did not measure these."""
    rows = json.loads((folder / "metrics.json").read_text())["results"]
    gone = {name + end for name in metrics for end in ("", "_low", "_high")}
    changed(folder, results=[{k: v for k, v in row.items() if k not in gone} for row in rows])
    return folder


def test_what_is_written_is_what_was_read(home: Path) -> None:
    folder = write_run(home / "demo", **own_choices())
    document = RunDocument.read(folder)
    before = json.loads((folder / "metrics.json").read_text())
    document.write(folder)
    after = json.loads((folder / "metrics.json").read_text())
    assert RunDocument.read(folder) == document
    assert after["results"] == before["results"]
    assert (after["format"], after["version"]) == ("gsc-audit-run", VERSION)
    for name, value in before.items():
        if name in ("results", "settings", "provenance", "selections"):
            continue
        assert after[name] == value, name
    assert before["settings"].items() <= after["settings"].items()
    assert before["provenance"].items() <= after["provenance"].items(), "and what we do not know"


def test_the_published_schema_is_the_one_of_the_code_and_holds(home: Path) -> None:
    hint = f'write it again: python -c "{WRITE_IT}" > docs/run.schema.json'
    assert PUBLISHED.read_text(encoding="utf-8") == schema_json(), hint
    jsonschema.Draft202012Validator.check_schema(run_schema())
    validator = jsonschema.Draft202012Validator(run_schema())
    folder = write_run(home / "demo", **own_choices())
    RunDocument.read(folder).write(folder)
    written = json.loads((folder / "metrics.json").read_text())
    validator.validate(written)
    assert run_schema()["$id"] == SCHEMA and str(VERSION) in SCHEMA
    row = written["results"][0]
    for wrong in (row | {"auroc": 2}, row | {"fpr95_low": "x"}, {"detector": "energy"}):
        assert not validator.is_valid(written | {"results": [wrong]})
    assert not validator.is_valid(written | {"version": VERSION + 1})


@pytest.mark.slow
@pytest.mark.parametrize("gone", METRICS)
def test_a_run_without_one_metric_opens_and_shows_a_dash(home: Path, gone: str) -> None:
    whole = Run.load(write_run(home / "whole"))
    run = Run.load(without(write_run(home / "demo"), gone))
    assert run.rows[0].metric(gone) is None
    rest = [name for name in METRICS if name != gone]
    assert [run.rows[0].metric(name) for name in rest] == [
        whole.rows[0].metric(name) for name in rest
    ]
    if gone not in ("fpr95", "auroc"):
        assert run.ranked() == whole.ranked()
    page = to_html(report_of(run, decisions.current(run), images=False))
    assert ('<td class="n">–' in re.sub(r">\s+", ">", page)) == (gone in ("fpr95", "auroc"))
    app = opened("results", run="demo", results_judged_on="All images")
    app = app.selectbox(key="results_metric").select(gone).run()
    assert not app.exception and not app.error
    table = next(frame.value for frame in app.dataframe if MEAN in frame.value.columns)
    assert table.isna().all(axis=None)
    app = opened("runs").multiselect(key="runs_compare").set_value(["demo", "whole"]).run()
    app = app.selectbox(key="runs_compare_metric").select(gone).run()
    assert not app.exception and not app.error
    assert not opened("home").exception


@pytest.mark.slow
def test_without_its_main_figure_it_has_its_answer_all_the_same(home: Path) -> None:
    run = Run.load(without(write_run(home / "demo"), "fpr95"))
    assert answer(run) in words(opened("results", run="demo"))


@pytest.mark.slow
@pytest.mark.parametrize("metrics", [("fpr95",), ("fpr95", "auroc"), METRICS])
def test_the_command_line_shows_it_too(home: Path, metrics: tuple[str, ...]) -> None:
    folder = without(write_run(home / "demo"), *metrics)
    code = (
        "from pathlib import Path; from gsc_core.run.stored import Run; "
        "from gsc_core.cli.output import print_result; "
        f"print_result(Run.load(Path({str(folder)!r})))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("–") >= 4 * len(set(metrics) & {"fpr95", "auroc"})


@pytest.mark.slow
def test_a_later_version_is_refused_in_one_sentence(home: Path) -> None:
    folder = write_run(home / "demo")
    changed(folder, format="gsc-audit-run", version=VERSION + 1, results="of another form")
    with pytest.raises(GscError, match="later version of this program") as refused:
        Run.load(folder)
    assert str(VERSION + 1) in str(refused.value) and "update the program" in str(refused.value)
    app = opened("results", run="demo")
    assert not app.exception and "later version" in words(app)


@pytest.mark.parametrize(
    "changes",
    [
        {"results": []},
        {"results": None},
        {"results": [{"detector": "energy", "ood_set": "mean", "auroc": 0.5, "auroc_low": None}]},
        {"results": [{"detector": "energy", "ood_set": "mean", "auroc": "NaN"}]},
        {"results": [{"detector": None, "ood_set": "mean"}]},
        {"results": [{"detector": "energy", "ood_set": "noise"}]},
        {"version": "1"},
        {"format": "gsc-audit-run", "version": 0},
        {"format": "another"},
        {"settings": []},
        {"provenance": {"seconds": "long"}},
        {"settings": {"ood": "a folder"}},
        {"selections": {"gsc-auto": {}}},
        {"excused": ["she"]},
        {"detectors": [{"name": "energy"}], "format": "gsc-audit-run"},
    ],
    ids=repr,
)
def test_what_is_damaged_is_one_sentence(home: Path, changes: dict) -> None:
    folder = write_run(home / "demo")
    changed(folder, **changes)
    with pytest.raises(GscError, match=r"is damaged \(metrics\.json\): run the audit again"):
        Run.load(folder)


def test_a_document_of_before_knows_its_detectors(home: Path) -> None:
    run = Run.load(write_run(home / "demo", detectors={"knn": 1.0, "energy+knn": 1.0}))
    knn, pair, energy = (run.record(name) for name in ("knn", "energy+knn", "energy"))
    assert knn.title == "Nearest neighbours" and knn.fitted_with == ("images",)
    assert pair.fitted_with == ("images",) and pair.about == "Mean rank of energy and knn."
    assert energy.paper.venue and not energy.fitted_with
    assert run.record("nobody") is None


def test_one_place_reads_the_document() -> None:
    """Others may ask whether it is there or name it to a person, but not open it."""
    opens = re.compile(
        r"(?:metrics\.json\"|METRICS_FILE)\)?\s*\.(?:read_|open)|json\.loads?\(.*METRICS"
    )
    sources = [p for folder in ("gsc_core", "pages") for p in (ROOT / folder).rglob("*.py")]
    readers = {p.relative_to(ROOT).as_posix() for p in sources if opens.search(p.read_text())}
    assert readers == {"gsc_core/run/document.py"}
    fields = "results|provenance|selections|partners|id_accuracy|excused"
    by_string = re.compile(rf"\[\"(?:{fields})\"\]")
    assert not [p for p in sources if by_string.search(p.read_text())]
