"""The report's HTML page as a tree of elements, for another program to set.

HTML and PDF cannot differ when the one is read from the other. Names stay text: the
parser turns what was escaped into characters of a string, and nobody reads those as markup again.
"""

import base64
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from xml.etree.ElementTree import fromstring

VOID = frozenset({"br", "img", "meta", "link", "hr"})
UNSEEN = frozenset({"head", "style", "script", "template"})
_FIGURE = re.compile(r"<svg .*?</svg>", re.DOTALL)  # in a name the bracket would be escaped
_DATA_URL = re.compile(r"data:image/(\w+);base64,")

Node = dict[str, Any]
"""`tag`, `class` (a list), `children` (strings and nodes); images: `file` and `alt`."""


@dataclass(frozen=True)
class Tree:
    """The page's body, and the images it shows by their file names."""

    root: Node
    files: dict[str, bytes] = field(default_factory=dict)


def tree_of(page: str) -> Tree:
    """Parse a page of `to_html`, whose charts are inline SVG and whose images are data URLs."""
    reader = _Reader()
    at = 0
    for match in _FIGURE.finditer(page):
        reader.feed(page[at : match.start()])
        reader.chart(match.group())
        at = match.end()
    reader.feed(page[at:])
    reader.close()
    return Tree(reader.root, reader.files)


class _Reader(HTMLParser):
    """Builds the tree; text is kept as it is, but for white space that HTML would not show."""

    def __init__(self) -> None:
        super().__init__()
        self.root: Node = {"tag": "page", "class": [], "children": []}
        self.files: dict[str, bytes] = {}
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        node: Node = {"tag": tag, "class": (found.get("class") or "").split(), "children": []}
        if tag == "img":
            node |= {"file": self._picture(found.get("src") or ""), "alt": found.get("alt") or ""}
        self._open[-1]["children"].append(node)
        if tag not in VOID:
            self._open.append(node)

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        closed = self._open.pop()
        assert closed["tag"] == tag, f"{closed['tag']} is closed as {tag}"
        if tag in UNSEEN:
            self._open[-1]["children"].pop()

    def handle_data(self, data: str) -> None:
        self._open[-1]["children"].append(re.sub(r"\s+", " ", data))

    def chart(self, svg: str) -> None:
        """An inline chart becomes a file; one without words is decoration."""
        about = fromstring(svg).get("aria-label", "")  # noqa: S314 - written by `figures`
        node = {"tag": "svg", "class": [], "children": []}
        node |= {"file": self._stored(svg.encode(), "svg"), "alt": about}
        self._open[-1]["children"].append(node)

    def _picture(self, url: str) -> str:
        kind = _DATA_URL.match(url)
        assert kind is not None, "an image in the report is a data URL"
        return self._stored(base64.b64decode(url[kind.end() :]), kind[1])

    def _stored(self, content: bytes, kind: str) -> str:
        name = f"{len(self.files)}.{kind}"
        self.files[name] = content
        return name
