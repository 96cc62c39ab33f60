"""A verdict as JUnit XML, which every CI system shows: one test case a limit."""

from typing import Any

from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite

from gsc_core.release.verdict import Judged, Outcome, Verdict
from gsc_core.release.words import printable

SUITE = "release policy"


def junit_xml(verdict: Verdict, run: str) -> bytes:
    """The XML document for a run of this name.

    A broken limit is a failure. Too little data is an error, not a skipped test: CI systems show
    skipped tests as harmless, and a limit that was not shown to hold is not.
    """
    suite = TestSuite(SUITE)
    for judged in verdict.rules:
        suite.add_testcase(_case(judged, run))
    document: Any = JUnitXml(SUITE)  # which is only half typed
    document.add_testsuite(suite)
    document.update_statistics()
    text: bytes = document.tostring()
    return text


def _case(judged: Judged, run: str) -> TestCase:
    case = TestCase(
        f"{judged.title}: {judged.limit}", classname=f"{SUITE}.{printable(run)}", time=0
    )
    said = f"{judged.figure}, required: {judged.limit}. {judged.because}"
    if judged.outcome is Outcome.MET:
        case.system_out = said
    else:
        kind = Failure if judged.outcome is Outcome.BROKEN else Error
        case.result = [kind(said, str(judged.outcome))]
    return case
