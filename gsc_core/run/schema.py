"""The JSON Schema of `metrics.json`: for programs of other people."""

import json
from typing import Any

from gsc_core.run.document import VERSION, RunDocument

SCHEMA = f"urn:gsc-audit:run:{VERSION}"
"""The name of the schema in its version."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def run_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a document that an audit writes.

    Published as docs/run.schema.json. Documents from before it had versions have no `format`.
    """
    schema = RunDocument.model_json_schema(mode="serialization")
    schema["required"] = list(RunDocument.model_fields)
    about = {"$schema": DIALECT, "$id": SCHEMA, "title": "GSC Audit run", "version": VERSION}
    return about | {name: part for name, part in schema.items() if name != "title"}


def schema_json() -> str:
    """The schema as text, as it is published."""
    return json.dumps(run_schema(), indent=1, ensure_ascii=False) + "\n"
