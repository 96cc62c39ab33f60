"""The report's JSON keeps the schema that is published, and the schema means something."""

import json
import math

import jsonschema
import pytest
from places import ROOT
from stored_run import own_choices, write_run
from written_report import groups, picture, written_report

from gsc_core.errors import GscError
from gsc_core.evaluation.thresholds import KeepId
from gsc_core.report import model, report_of
from gsc_core.report.schema import (
    SCHEMA,
    VERSION,
    read_report,
    report_json,
    report_schema,
    schema_json,
)
from gsc_core.run import decisions
from gsc_core.run.stored import Run

PUBLISHED = ROOT / "docs" / "report.schema.json"
WRITE_IT = "from gsc_core.report.schema import schema_json; print(schema_json(), end='')"


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def written(report: model.Report) -> dict:
    return json.loads(report_json(report), parse_constant=pytest.fail)


def test_the_published_schema_is_the_one_of_the_code():
    told = f'write it again: python -c "{WRITE_IT}" > docs/report.schema.json'
    assert PUBLISHED.read_text(encoding="utf-8") == schema_json(), told
    assert report_schema()["$id"] == SCHEMA
    assert str(VERSION) in SCHEMA


@pytest.mark.slow
@pytest.mark.parametrize("images", [True, False])
def test_reports_of_a_run_keep_it(validator, tmp_path, monkeypatch, images):
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    run = Run.load(write_run(tmp_path / "runs" / "demo", **own_choices()))
    for decision in (
        decisions.current(run),
        decisions.decide(run, "energy", KeepId(share=0.999)),  # from too few: infinite
    ):
        report = report_of(run, decision, images=images)
        document = written(report)
        validator.validate(document)
        assert document["$schema"] == SCHEMA
        assert read_report(report_json(report)) == report
    assert document["decision"]["value"] == "Infinity"
    assert read_report(report_json(report)).decision.value == math.inf


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {
            "gate": None,
            "refusing": None,
            "confidence": None,
            "errors": None,
            "accuracy": None,
            "classes": (),
        },
        {"pictures": (), "images_left_out": True},
        {"pictures": (model.PictureGroup(title="x", pictures=(picture(explained=None),)),)},
        {"pictures": groups(thumbnail=None)},
    ],
)
def test_every_part_keeps_it(validator, changed):
    report = written_report(**changed)
    validator.validate(written(report))
    assert read_report(report_json(report)) == report


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("verdict",), None),
        (("version",), VERSION - 1),
        (("format",), "another"),
        (("$schema",), "urn:gsc-audit:report:1"),
        (("surprise",), 1),
        (("decision", "value"), "many"),
        (("decision", "value"), "NaN"),
        (("decision", "familiar", "passed"), 0.5),
        (("decision", "strangers"), {}),
        (("gate", "outcome"), "perhaps"),
        (("refusing", "points"), [[0.1]]),
        (("refusing", "points"), [[0.1, 0.2, 0.3]]),
    ],
)
def test_a_broken_report_does_not(validator, path, value):
    document = json.loads(report_json(written_report()))
    *parents, last = path
    part = document
    for name in parents:
        part = part[name]
    part[last] = value
    assert not validator.is_valid(document)


@pytest.mark.parametrize("name", model.Report.model_fields)
def test_no_part_may_be_missing(validator, name):
    document = json.loads(report_json(written_report()))
    del document[name]
    assert not validator.is_valid(document)


@pytest.mark.parametrize("text", ["", "[]", "{}", "not json", "1", '{"version": 1}'])
def test_what_is_no_report_says_so(text):
    with pytest.raises(GscError, match="not a report"):
        read_report(text)
