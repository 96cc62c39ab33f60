"""The PDF says what the HTML page says, for eyes and for screen readers."""

import io
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from pypdf import PdfReader
from pypdf.generic import ArrayObject, DictionaryObject, IndirectObject
from written_report import data_url, groups, written_report

from gsc_core.errors import GscError
from gsc_core.report import model, pdf, to_html
from gsc_core.report.pdf import to_pdf

BLOCKS = {"h1", "h2", "h3", "p", "li", "td", "th", "dt", "dd", "caption", "figcaption", "pre"}
A4 = (595.28, 841.89)  # points
FOOTER = re.compile(r"Road signs · run demo · \d\d \w+ \d{4}\s*Page \d+ of \d+")


class Blocks(HTMLParser):
    """The text of every block of a page, by its element."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self._inside: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag in BLOCKS:
            self.found.append((tag, ""))
        if tag in BLOCKS | {"svg", "style"}:
            self._inside.append(tag)

    def handle_endtag(self, tag):
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data):
        if self._inside and self._inside[-1] in BLOCKS:
            tag, text = self.found[-1]
            self.found[-1] = (tag, text + data)


def opened(report: model.Report) -> PdfReader:
    return PdfReader(io.BytesIO(to_pdf(report)))


def close(text: str) -> str:
    """Text without the spaces, which lines break at."""
    return "".join(text.split())


def text_of(pdf: PdfReader) -> str:
    return "\n".join(FOOTER.sub("", page.extract_text()) for page in pdf.pages)


def structure(pdf: PdfReader) -> Iterator[DictionaryObject]:
    """Every element of the structure that a screen reader follows, in reading order."""

    def walk(node: object) -> Iterator[DictionaryObject]:
        node = node.get_object() if isinstance(node, IndirectObject) else node
        if isinstance(node, ArrayObject):
            for one in node:
                yield from walk(one)
        elif isinstance(node, DictionaryObject):
            if "/S" in node:
                yield node
            yield from walk(node.get("/K"))

    yield from walk(pdf.trailer["/Root"]["/StructTreeRoot"])


def outline(pdf: PdfReader) -> list[str]:
    def flat(items: list) -> Iterator[str]:
        for item in items:
            if isinstance(item, list):
                yield from flat(item)
            else:
                yield item.title

    return list(flat(pdf.outline))


@pytest.mark.slow
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
            "accuracy_after": {},
            "classes": (),
        },
        {"pictures": (), "images_left_out": True},
        {"settings": {}, "provenance": {}, "glossary": (), "excused": {}, "own_choices": ()},
        {"pictures": groups(explained=None), "channels_note": "Nobody asked for the channels."},
        {"pictures": groups(thumbnail=None, explained=None)},
    ],
)
def test_every_block_of_the_page_is_in_it(changed):
    report = written_report(**changed)
    text = close(text_of(opened(report)))
    blocks = Blocks(to_html(report)).found
    assert len(blocks) > 40
    missing = [block for block in blocks if close(block[1]) not in text]
    assert not missing


def test_who_was_left_out_and_why_is_in_it():
    """One that cannot run here and one that failed midway, by what they are called."""
    excused = {
        "she": "needs calibration images with class labels, and there are none",
        "vra": "failed: ValueError: no root <b>, a fault of GSC Audit; the log has the details",
    }
    names = {"she": "Simplified Hopfield energy (she)", "vra": "Rectified activation (vra)"}
    text = close(text_of(opened(written_report(excused=excused, names=names))))
    listed = text[text.index(close("Left out:")) : text.index(close("How it was done"))]
    for name, reason in excused.items():
        assert close(f"{names[name]}: {reason}") in listed
    assert "notrun" not in text.lower()


def test_headings_come_in_the_same_order():
    report = written_report()
    headings = [text for tag, text in Blocks(to_html(report)).found if tag in {"h1", "h2", "h3"}]
    assert [close(title) for title in outline(opened(report))] == [close(h) for h in headings]


def test_it_is_for_screen_readers_and_for_the_archive():
    pdf = opened(written_report())
    root = pdf.trailer["/Root"]
    assert root["/Lang"] == "en"
    assert root["/MarkInfo"]["/Marked"] is True or root["/MarkInfo"]["/Marked"].value
    assert root["/ViewerPreferences"]["/DisplayDocTitle"]
    assert pdf.metadata.title == "GSC Audit: Road signs"
    claims = root["/Metadata"].get_data().decode()
    assert re.search(r"pdfuaid:part>1<", claims)
    assert re.search(r"pdfaid:part>2<", claims)
    assert re.search(r"pdfaid:conformance>A<", claims)


def test_pictures_and_charts_have_words_and_tables_have_heads():
    report = written_report(pictures=groups(file="a photo.png"))
    elements = list(structure(opened(report)))
    spoken = [str(one["/Alt"]) for one in elements if one["/S"] == "/Figure"]
    assert len([words for words in spoken if "a photo.png" in words]) == 12
    page = to_html(report)
    charts = re.findall(r'aria-label="([^"]+)"', page)
    shown = re.findall(r'<img [^>]*alt="([^"]+)"', page)
    assert sorted(spoken) == sorted(charts + shown)
    # the ROC, refusing, the confidence, the accepted errors
    assert len(charts) == len(report.histogram.strangers) + 4
    assert {"/H1", "/H2", "/H3", "/Table", "/TH", "/TD", "/L"} <= {one["/S"] for one in elements}


def test_pages_are_a4_and_numbered():
    pdf = opened(written_report())
    for number, page in enumerate(pdf.pages, start=1):
        assert tuple(map(float, page.mediabox[2:])) == pytest.approx(A4, abs=0.1)
        text = " ".join(page.extract_text().split())
        assert f"Page {number} of {len(pdf.pages)}" in text
        assert "Road signs · run demo · 02 January 2026" in text


def test_the_same_report_makes_the_same_bytes():
    assert to_pdf(written_report()) == to_pdf(written_report())
    assert to_pdf(written_report()) != to_pdf(written_report(verdict="Another."))


@pytest.mark.slow
def test_a_long_table_has_its_head_on_every_page():
    report = written_report(classes=tuple(f"class-{i}-of-many" for i in range(300)))
    pages = [page.extract_text() for page in opened(report).pages]
    with_rows = [page for page in pages if "-of-many" in page and "95 of 100" in page]
    assert len(with_rows) > 4
    assert all("Familiar images accepted" in page for page in with_rows)
    assert all(any(f"class-{i}-of-many" in page for page in pages) for i in range(300))


@pytest.mark.slow
@pytest.mark.parametrize("length", [30, 64, 255])
def test_a_long_name_stays_on_the_paper(length):
    """Where each piece of text starts, and how wide it is, by the font's own widths."""
    name = "W" * length
    report = written_report(sets=(name,), classes=(name,), file=name, title=name)
    ends: list[float] = []

    def visit(text, cm, tm, font, size):
        if text.strip():
            ends.append(tm[4] * cm[0] + cm[4])

    pdf = opened(report)
    for page in pdf.pages:
        page.extract_text(visitor_text=visit)
    assert max(ends) < A4[0] - 57  # the margin is 20 mm
    assert name in close(text_of(pdf))


@pytest.mark.slow
def test_letters_that_no_font_has_do_not_stop_it():
    """Few machines have a font with hieroglyphs: PDF/A would refuse what shows as a box."""
    pdf = opened(written_report(sets=("\U00013000\U0001342e hieroglyphs", "noise")))
    assert "hieroglyphs" in text_of(pdf)
    assert list(structure(pdf))


def test_what_cannot_be_set_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    to_pdf(written_report())
    broken = data_url()[: len("data:image/jpeg;base64,") + 40]
    with pytest.raises(GscError, match="print the HTML report"):
        to_pdf(written_report(pictures=groups(thumbnail=broken)))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_few_last_lines_get_no_page_of_their_own(monkeypatch):
    """Narrower margins are taken where they spare the page, and nowhere else."""
    spared = []
    for terms in (9, 17, *range(48, 56, 2)):
        glossary = [
            model.Term(word=f"Word {n}", meaning="It means this. " * 6) for n in range(terms)
        ]
        report = written_report(glossary=tuple(glossary))
        monkeypatch.setattr(pdf, "FEW_MM", 0)
        wide = opened(report).pages
        monkeypatch.setattr(pdf, "FEW_MM", 80)
        pages = opened(report).pages
        lines = len(wide[-1].extract_text().splitlines())
        if len(pages) < len(wide):
            assert lines < 30
            spared.append(terms)
        else:
            assert [page.extract_text() for page in pages] == [page.extract_text() for page in wide]
    assert spared
