"""The report as a PDF for print and for files: the HTML page, set by Typst."""

import json
from contextlib import suppress
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gsc_core.errors import GscError
from gsc_core.extras import require
from gsc_core.report.html import to_html
from gsc_core.report.model import Report
from gsc_core.report.printable import printable
from gsc_core.report.tree import tree_of

TEMPLATE = "report.typ"
IN_FOOTER = 40  # letters of the title
FEW_MM = 80
"""How far down the last page goes at least, unless narrower margins leave no fewer pages."""
STANDARDS = ["ua-1", "a-2a"]
"""PDF/UA-1: readable by screen readers. PDF/A-2a: readable for decades."""


def to_pdf(report: Report) -> bytes:
    """The content of `to_html` on A4 pages, tagged for screen readers; same report, same bytes.

    Names reach Typst as JSON strings, never as markup. The file keeps PDF/UA-1 and PDF/A-2a, but
    for a name with letters that no font of this machine can draw. Raises GscError when Typst fails,
    MissingExtra when it is not installed.
    """
    require("typst")
    tree = tree_of(to_html(report))
    title = printable(report.title)
    short = title if len(title) <= IN_FOOTER else title[: IN_FOOTER - 1] + "…"
    about = {
        "title": f"GSC Audit: {title}",
        "footer": f"{short} · run {printable(report.run)} · {report.made:%d %B %Y}",
        "made": report.made.timetuple()[:6],
        "page": tree.root,
    }
    sources = {
        "main.typ": files("gsc_core.report").joinpath(TEMPLATE).read_bytes(),
        "report.json": json.dumps(about).encode(),
        **tree.files,
    }
    with TemporaryDirectory(prefix="gsc-report-") as folder:
        for name, content in sources.items():
            Path(folder, name).write_bytes(content)
        return _set(Path(folder), report.made)


def _set(folder: Path, made: datetime) -> bytes:
    """Set by Typst, which sees this folder and nothing else.

    Where the standards cannot be kept, most likely for a letter that no font has, without them.
    """
    import typst  # noqa: PLC0415 - comes with an extra

    main = folder / "main.typ"

    def end(tight: str) -> tuple[int, float]:
        """The last page, and how far down its last line is."""
        found = typst.query(
            main, "<end>", field="value", one=True, root=folder, sys_inputs={"tight": tight}
        )
        place = json.loads(found)
        return place["page"], place["mm"]

    def set_with(tight: str, standards: list[Any]) -> bytes:
        return typst.compile(
            main,
            root=folder,
            format="pdf",
            timestamp=made,
            pdf_standards=standards,
            sys_inputs={"tight": tight},
        )

    def compiled(standards: list[Any]) -> bytes:
        usual = set_with("no", standards)  # first: only this says in its own words what is wrong
        last, down = end("no")
        return set_with("yes", standards) if down < FEW_MM and end("yes")[0] < last else usual

    with suppress(typst.TypstError):
        return compiled(STANDARDS)
    try:
        return compiled([])
    except typst.TypstError as error:
        raise GscError(
            f"The PDF could not be typeset ({error.message}): print the HTML report instead."
        ) from error
