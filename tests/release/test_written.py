"""What CI reads: JUnit and Markdown, with hostile names."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judged import judged
from junitparser import Error, Failure, JUnitXml
from markdown_it import MarkdownIt
from policies import HOSTILE, rule
from stored_run import write_run

from gsc_core.release.junit import junit_xml
from gsc_core.release.markdown import cell, summary
from gsc_core.release.verdict import Outcome, Verdict


@pytest.fixture
def hostile(home) -> Verdict:
    """A verdict of every outcome about sets and detectors with awkward names."""
    folder = write_run(home / "demo", sets={HOSTILE: 5.0, "easy": 8.0}, detectors={"energy": 1.0})
    text = (
        rule("auroc", at_least=0.5, set="each")
        + rule("fpr95", at_most=0, set=HOSTILE)
        + rule("stranger_pictures", at_least=500, set=HOSTILE)
        + rule("fpr95", at_most=1, detector=HOSTILE)
    )
    verdict = judged(folder, text)
    assert {r.outcome for r in verdict.rules} == set(Outcome)
    return verdict


def test_junit_says_failure_and_error_and_is_read_back(hostile):
    text = junit_xml(hostile, HOSTILE)
    document = JUnitXml.fromstring(text)
    (suite,) = document
    cases = list(suite)
    assert len(cases) == len(hostile.rules)
    for case, judgement in zip(cases, hostile.rules, strict=True):
        assert judgement.title in case.name
        found = [type(result) for result in case.result]
        wanted = {Outcome.MET: [], Outcome.BROKEN: [Failure], Outcome.UNSURE: [Error]}
        assert found == wanted[judgement.outcome]
        if found:
            assert judgement.because in case.result[0].message
    root = ET.fromstring(text)
    assert root.tag == "testsuites"
    assert {each.tag for each in root} == {"testsuite"}
    assert {each.tag for each in root[0]} == {"testcase"}
    assert {each.tag for case in root[0] for each in case} == {"system-out", "failure", "error"}
    for part in (root, root[0]):
        counted_by_hand = {
            "tests": len(cases),
            "failures": len(hostile.having(Outcome.BROKEN)),
            "errors": len(hostile.having(Outcome.UNSURE)),
            "skipped": 0,
        }
        assert {key: int(part.attrib[key]) for key in counted_by_hand} == counted_by_hand
    assert all(case.attrib.keys() >= {"name", "classname", "time"} for case in root[0])


GITHUB = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def test_markdown_keeps_hostile_names_in_their_cells(hostile):
    tokens = GITHUB.parse(summary(hostile, HOSTILE))
    opened = [token.type for token in tokens if token.nesting == 1]
    assert opened.count("table_open") == 1
    assert opened.count("tr_open") == 1 + len(hostile.rules)
    assert opened.count("td_open") == 5 * len(hostile.rules)
    inline = [token for token in tokens if token.type == "inline"]
    assert {child.type for token in inline for child in token.children} <= {"text", "text_special"}
    titles = [shown(token) for token in inline[7::5]]
    assert titles == [" ".join(r.title.split()) for r in hostile.rules]
    assert "html" not in {token.type.split("_")[0] for token in tokens}


def shown(token) -> str:
    text = "".join(child.content for child in token.children)
    return text.replace("\N{WORD JOINER}", "")


@pytest.mark.slow
@given(st.text())
def test_any_text_is_shown_as_it_is(text):
    (token,) = [
        t for t in GITHUB.parse(f"| a |\n|---|\n| x{cell(text)}x |\n") if t.type == "inline"
    ][1:]
    printable = "".join(c if c.isprintable() else " " for c in text).replace("\N{WORD JOINER}", "")
    assert shown(token) == f"x{' '.join(printable.split())}x"
