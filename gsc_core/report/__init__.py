"""A finished run as a document for a colleague: one model, from which HTML, JSON and CSV come."""

from gsc_core.report.build import report_of
from gsc_core.report.html import framed, to_html
from gsc_core.report.model import Report
from gsc_core.report.table import scores_csv

__all__ = ["Report", "framed", "report_of", "scores_csv", "to_html"]
