"""A finished run as a document for a colleague: one model, from which HTML, JSON and CSV come."""

# ruff: noqa: E402 - the sentence for a library that is missing comes first

from gsc_core.extras import require

require("sqlmodel", extra="report")  # titles are in the index of the workspace

from gsc_core.report.build import report_of
from gsc_core.report.html import framed, to_html
from gsc_core.report.model import Report
from gsc_core.report.table import scores_csv

__all__ = ["Report", "framed", "report_of", "scores_csv", "to_html"]
