"""A real audit in which every name wants to be more than text, in all four outputs.

Images, classes, sets and the model's file are named after markup, formulas, scripts and code for
Typst; the whole way is real: files on disk, an audit, explanations, then HTML in a browser that may
run scripts, PDF, JSON and CSV.
"""

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from playwright.sync_api import Browser, Page
from pypdf import PdfReader
from pypdf.generic import ArrayObject, DictionaryObject
from small_audit import PREPROCESS, faint, known, save_program, strange

from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.report import Report, framed, report_of, scores_csv, to_html
from gsc_core.report.model import Gate, GateRule
from gsc_core.report.pdf import to_pdf
from gsc_core.report.printable import printable
from gsc_core.report.schema import report_json, report_schema
from gsc_core.run import decisions
from gsc_core.run.stored import Run
from gsc_core.sentences.csv_safety import harmless
from gsc_core.workspace import report_images

pytestmark = pytest.mark.slow

IMAGE = "<img src=x onerror=alert(1)>.png"
FILES = (
    IMAGE,
    '#eval("panic()")*_$x$ @ref <label> `raw` \\u{41} --- .png',
    "\u202egnp.exe\n\x07<script>window.flag=1<!--.png",
    "'\"><svg onload=window.flag=1>.png",
    "=cmd|'calc'!A0.png",
    "w" * 235 + ".png",
    "&lt;b&gt;&#x41; {{ 7*7 }} ${7*7} %00.png",
    "]]>--><!--<style>*{display:none}<p class=gate>.png",
)
CLASSES = (
    '=HYPERLINK("http://127.0.0.1:9/x","y")',
    '#image("/etc/passwd") #read("/etc/passwd")',
    "</td></table><script>window.flag=1</script>",
    "@SUM(1+1)*cmd|' /C calc'!A0",
)
SETS = (
    '#eval("1")*_$x$ [link](javascript:alert(1))',
    "+1<svg/onload=window.flag=1><a href=//127.0.0.1:9>",
)
TITLE = "</title><script>window.flag=1</script>#sys.exit()"
RULE = "</p></td><img src=x onerror=window.flag=1>#panic()"
GATE = Gate(
    outcome="fail",
    sentence=f"{RULE} is broken.",
    rules=(GateRule(title=RULE, limit=RULE, figure=RULE, outcome="fail", because=RULE),),
)
MODEL = "-1+1<b onmouseover=alert(1)>.pt2"
LIVE = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
ACTIVE = {"/AA", "/OpenAction", "/JS", "/JavaScript", "/URI", "/Launch", "/Annots", "/EF", "/AF"}
ACTIVE |= {"/EmbeddedFiles", "/EmbeddedFile", "/RichMedia", "/AcroForm", "/XFA", "/GoToR"}
CHARTS = 6  # two histograms, the ROC, risk against coverage, the confidence, accepted errors
WAYS = 3  # of refusing, each with its swatch


@dataclass(frozen=True)
class Audited:
    run: Run
    report: Report


def rename(folder: Path) -> Path:
    """Give every image the next of the hostile names, behind a number."""
    for i, path in enumerate(sorted(folder.rglob("*.png"))):
        name = FILES[i % len(FILES)]
        path.rename(path.with_name(name if i < len(FILES) else f"{name[:-4]}{i}.png"))
    return folder


def audit(folder: Path) -> Path:
    save_program(folder / MODEL)
    (folder / "classes.json").write_text(json.dumps(CLASSES), encoding="utf-8")
    familiar = known(folder / "id", 48, seed=11)
    for i, path in enumerate(sorted(path for path in familiar.iterdir())):
        rename(path)
        assert path.name == str(i)
    spec = AuditSpec(
        model=ModelSpec(
            checkpoint=folder / MODEL,
            preprocessing=Preprocessing.parse(PREPROCESS),
            class_names=folder / "classes.json",
        ),
        id=familiar,
        ood={
            SETS[0]: rename(strange(folder / "a", 20, seed=13)),
            SETS[1]: rename(faint(folder / "b", 20, seed=14)),
        },
        detectors=(DetectorSpec(name="gsc"), DetectorSpec(name="energy")),
        repeats=50,
    )
    run_audit(spec, folder / "home" / "runs" / "hostile")
    return folder / "home" / "runs" / "hostile"


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    folder = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GSC_HOME", str(folder / "home"))
        run = Run.load(audit(folder))
        decision = decisions.current(run)
        report_images.explain(run, decision, lambda _: None)
        report = report_of(run, decision).model_copy(update={"title": TITLE, "gate": GATE})
        yield Audited(run, report)


def shown_pictures(report: Report) -> int:
    pictures = [one for group in report.pictures for one in group.pictures]
    heats = [one for one in pictures if one.explained and one.explained.heat]
    assert len(pictures) == len(heats) == 12
    assert all(one.thumbnail for one in pictures)
    return 24


def names_in(report: Report) -> set[str]:
    """Every name that the report must show."""
    pictures = [one for group in report.pictures for one in group.pictures]
    seen = {one.predicted for one in pictures} | {one.file for one in pictures}
    return seen | {*SETS, MODEL, TITLE, RULE} | {row.name for row in report.classes}


def close(text: str) -> str:
    return "".join(text.split())


def test_the_names_are_really_there(audited: Audited) -> None:
    files = {name.rsplit("/", 1)[-1] for name in audited.run.files().to_pylist()}
    assert files >= set(FILES)
    assert tuple(audited.run.ood_sets) == SETS
    assert tuple(audited.run.settings.class_names) == CLASSES
    shown = names_in(audited.report)
    assert shown & set(CLASSES)
    assert any(name.endswith(IMAGE) for name in shown)


@dataclass
class Watched:
    """What a page did besides showing text."""

    page: Page
    dialogs: list[str]
    requests: list[str]


@pytest.fixture(params=[False, True], ids=["as it is", "without its policy"])
def watched(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Watched]:
    """A browser that runs scripts, and once is told not to care for the file's own policy."""
    context = browser.new_context(java_script_enabled=True, bypass_csp=request.param)
    page = context.new_page()
    seen = Watched(page, [], [])

    def dismissed(dialog: object) -> None:
        seen.dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismissed)
    page.on("request", lambda one: seen.requests.append(one.url))
    yield seen
    context.close()


def opened_page(watched: Watched, page: str, folder: Path) -> Page:
    """The file, opened from disk, after everything that could happen by itself has happened."""
    file = folder / "report.html"
    file.write_text(page, encoding="utf-8")
    watched.page.goto(file.as_uri())
    watched.page.wait_for_load_state("networkidle")
    watched.page.mouse.move(300, 300)
    return watched.page


def test_html_in_a_real_browser(audited: Audited, watched: Watched, tmp_path: Path) -> None:
    html = to_html(audited.report)
    page = opened_page(watched, html, tmp_path)
    assert page.evaluate("1 + 1") == 2  # scripts do run here
    assert page.evaluate("window.flag") is None
    assert watched.dialogs == []
    loaded = [url for url in watched.requests if not url.startswith(("data:", "file:"))]
    assert loaded == []
    assert len([url for url in watched.requests if url.startswith("file:")]) == 1
    count = "selector => document.querySelectorAll(selector).length"
    assert page.evaluate(count, "img") == shown_pictures(audited.report)
    swatches = len(audited.report.roc) + WAYS
    assert page.evaluate(count, "svg") == CHARTS + swatches
    assert page.evaluate(count, "script,iframe,object,embed,form,a,link,base") == 0
    assert page.evaluate(count, ".gate") == 1
    handlers = """() => [...document.querySelectorAll('*')].flatMap(one =>
        [...one.attributes].map(each => each.name)).filter(name => name.startsWith('on'))"""
    assert page.evaluate(handlers) == []
    text = close(page.evaluate("document.body.textContent"))
    missing = [n for n in names_in(audited.report) if close(printable(n)) not in text]
    assert missing == []
    assert page.evaluate("document.title") == f"GSC Audit: {TITLE}"
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).display") != "none"
    assert page.evaluate("[...document.images].every(one => one.naturalWidth > 0)")


def test_the_browser_would_notice(watched: Watched, tmp_path: Path) -> None:
    """The same names without escaping: what the test above would see."""
    names = f"{FILES[0]}{FILES[3]}{CLASSES[2]}"
    page = opened_page(watched, f"<!doctype html><meta charset=utf-8><p>{names}", tmp_path)
    assert watched.dialogs == ["1"]
    assert page.evaluate("window.flag") == 1
    assert page.evaluate("document.images.length") == 1


def test_the_preview_in_the_app(audited: Audited, watched: Watched, tmp_path: Path) -> None:
    """The frame in which the app shows the page: nothing runs, nothing leaves it."""
    page = opened_page(watched, framed(to_html(audited.report), 800), tmp_path)
    assert watched.dialogs == []
    assert page.evaluate("window.flag") is None
    assert not [url for url in watched.requests if "127.0.0.1" in url]
    assert page.viewport_size["height"] < 800
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")  # it alone scrolls
    inside = page.frames[1]
    assert inside.locator("img").count() == shown_pictures(audited.report)
    assert SETS[0] in inside.locator("body").inner_text()


def pdf_keys(pdf: PdfReader) -> set[str]:
    """Every key and every name of every object of the file."""

    def walk(part: object) -> Iterator[str]:
        if isinstance(part, DictionaryObject):
            for key, value in part.raw_items() if hasattr(part, "raw_items") else part.items():
                yield str(key)
                yield from walk(value)
        elif isinstance(part, ArrayObject):
            for one in part:
                yield from walk(one)
        elif isinstance(part, str) and part.startswith("/"):
            yield part

    objects = (pdf.get_object(number) for number in range(1, pdf.trailer["/Size"]))
    return {key for one in objects for key in walk(one)}


def test_pdf(audited: Audited) -> None:
    pdf = PdfReader(io.BytesIO(to_pdf(audited.report)))
    text = close("".join(page.extract_text() for page in pdf.pages))
    missing = [n for n in names_in(audited.report) if close(printable(n)) not in text]
    assert missing == []
    assert not pdf_keys(pdf) & ACTIVE
    assert "/Page" in pdf_keys(pdf)  # the walk does see the file
    assert "root:" not in text, "a file of this machine was read"
    assert pdf.attachments == {}
    assert pdf.metadata.title == f"GSC Audit: {TITLE}"
    pictures = sum(len(page.images) for page in pdf.pages)
    assert pictures >= 24


def test_json(audited: Audited) -> None:
    text = report_json(audited.report)
    document = json.loads(text, parse_constant=pytest.fail)
    jsonschema.Draft202012Validator(report_schema()).validate(document)
    pictures = [one for group in document["pictures"] for one in group["pictures"]]
    on_disk = set(audited.run.files().to_pylist())
    assert {one["file"] for one in pictures} <= on_disk  # to the letter
    assert {one["name"] for one in document["decision"]["strangers"]} == set(SETS)
    assert {one["predicted"] for one in pictures} <= set(CLASSES)


def test_csv(audited: Audited) -> None:
    content = scores_csv(audited.run)
    rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    live = [cell for row in rows for cell in row if cell.startswith(LIVE) and not _number(cell)]
    assert live == []
    table = pd.read_csv(io.BytesIO(content), keep_default_na=False)
    assert len(table) == len(rows) - 1 == len(audited.run.files())
    files = audited.run.files().to_pylist()
    assert list(table["file"]) == ["'" * name.startswith(LIVE) + name for name in files]
    for column, expected in (("set", {*SETS, "id", "calibration"}), ("predicted", {*CLASSES})):
        assert {cell.removeprefix("'") for cell in table[column]} <= expected


@given(st.text(alphabet='=+-@;\t\r\n "a1,＝', max_size=12))
@example("a;=1+1")
@example("\t=1")
@example('\n; "=1')
def test_a_table_split_elsewhere_computes_nothing_either(text: str) -> None:
    """Where commas are decimal, semicolons separate; tabs and lines do in what is pasted."""
    (cell,) = harmless(pa.array([text])).to_pylist()
    parts = re.split(r"[;\t\r\n]", cell)
    assert not parts[0].startswith(LIVE)
    assert not [part for part in parts[1:] if part.lstrip(' "').startswith(LIVE)]
    assert re.sub("'", "", cell) == text


@pytest.mark.parametrize("text", ["a-b", "a=b", "a, -b", "a;b=c", "ends with;", "two\tcells"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert harmless(pa.array([text])).to_pylist() == [text]


def test_without_pictures_no_file_is_named(audited: Audited) -> None:
    run = audited.run
    report = report_of(run, decisions.current(run), images=False)
    file_names = {Path(name).name for name in run.files().to_pylist()}
    outputs = [
        to_html(report),
        report_json(report),
        "".join(page.extract_text() for page in PdfReader(io.BytesIO(to_pdf(report))).pages),
    ]
    for text in outputs:
        assert "onerror=alert" not in text
        assert not [name for name in file_names if name in text]


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
