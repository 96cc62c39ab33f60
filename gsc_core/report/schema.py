"""The report as JSON, and the JSON Schema it follows: for other people's programs."""

import json
from typing import Any

from gsc_core.errors import GscError
from gsc_core.report.model import Report
from gsc_core.run.schema import DIALECT

VERSION = int(Report.model_fields["version"].default)
SCHEMA = f"urn:gsc-audit:report:{VERSION}"
"""The name of the schema in its version."""


def report_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of what `report_json` writes.

    Published as docs/report.schema.json.
    """
    found = Report.model_json_schema(mode="serialization")
    # An infinite threshold accepts every image, or none; JSON has no number for it.
    value = found["$defs"]["Decided"]["properties"]["value"]
    infinite = {"enum": ["Infinity", "-Infinity"]}
    found["$defs"]["Decided"]["properties"]["value"] = {
        "title": value["title"],
        "anyOf": [{"type": "number"}, infinite],
    }
    found["properties"]["$schema"] = {"const": SCHEMA}
    found["required"] = ["$schema", *Report.model_fields]
    about = {"$schema": DIALECT, "$id": SCHEMA, "title": "GSC Audit report", "version": VERSION}
    return about | {name: part for name, part in found.items() if name != "title"}


def schema_json() -> str:
    """The schema as text, as it is published."""
    return json.dumps(report_schema(), indent=1, ensure_ascii=False) + "\n"


def report_json(report: Report) -> str:
    """The report as one JSON object, which names its schema first."""
    document = {"$schema": SCHEMA, **json.loads(report.model_dump_json())}
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)


def read_report(text: str | bytes) -> Report:
    """A report that `report_json` wrote. Raises GscError when it is another file or version."""
    try:
        document = json.loads(text)
        if isinstance(document, dict):
            document.pop("$schema", None)
        return Report.model_validate(document)
    except ValueError as error:
        raise GscError(
            f"This is not a report of GSC Audit in version {VERSION}: write it again from its run."
        ) from error
