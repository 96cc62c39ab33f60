"""The report's figures: drawn to scale, complete by themselves, and every name is only text."""

import io
import re
from urllib.parse import quote
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser
from written_report import bars, counted, refusing, roc_line, written_report

from gsc_core.report import figures, model
from gsc_core.report.svg import LINE, MARK, SIZE, WIDE
from gsc_core.run.set_colours import SetColours

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</svg><script>1</script> \"q\" & 'x' \u202egnp\x00\x07\n.png"
ELEMENTS = {f"{SVG}{tag}" for tag in ("svg", "g", "path", "polyline", "circle", "text")}


def drawings(report: model.Report) -> list[str]:
    sets = range(len(report.histogram.strangers))
    return [
        *(figures.histogram_svg(report, i) for i in sets),
        figures.roc_svg(report),
        figures.refusing_svg(report),
        figures.reliability_svg(report),
        figures.errors_svg(report),
        *map(figures.way_svg, figures.LOOKS),
        *(figures.swatch_svg(report, line.name) for line in report.roc),
    ]


def parse(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def texts(svg: str) -> list[str]:
    return [one.text or "" for one in parse(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("name", ["noise", HOSTILE, "漢字 العربية", "", "x" * 300])
def test_each_is_complete_by_itself(name):
    for svg in drawings(written_report(sets=(name, "textures"))):
        root = parse(svg)
        assert root.tag == f"{SVG}svg"
        elements = list(root.iter())
        assert {one.tag for one in elements} <= ELEMENTS
        attributes = {key for one in elements for key in one.attrib}
        assert not attributes & {"class", "style", "href", "id"}
        assert not [key for key in attributes if key.startswith("on")]
        assert "currentColor" not in svg
        decoration = root.get("aria-hidden") == "true"
        assert decoration or (root.get("role") == "img" and root.get("aria-label"))


def test_a_hostile_name_is_shown_as_text():
    report = written_report(sets=(HOSTILE, "textures"))
    svg = figures.histogram_svg(report, 0, width=900)
    shown = texts(svg)[0]
    assert shown == "</svg><script>1</script> \"q\" & 'x' �gnp�� .png"
    assert shown in parse(svg).get("aria-label").replace("\n", " ")
    assert not [c for c in svg if not c.isprintable() and c != "\n"]


def test_long_names_that_differ_at_their_end_stay_different():
    names = tuple("a very long name " * 9 + end for end in ("one", "two"))
    shown = [texts(svg)[0] for svg in drawings(written_report(sets=names))[:2]]
    assert shown[0] != shown[1]
    assert max(map(len, shown)) <= 520 / SIZE  # the widest letters are that wide


def test_the_name_can_be_left_to_the_page():
    report = written_report()
    assert "noise" in texts(figures.histogram_svg(report, 0))
    assert "noise" not in texts(figures.histogram_svg(report, 0, named=False))


def outline(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Right edges and heights above the ground of a histogram's steps."""
    ground = float(re.match(r"M0 ([\d.]+)", path)[1])
    steps = np.array(re.findall(r"V([\d.]+)H([\d.]+)", path), float)
    return steps[:, 1], ground - steps[:, 0]


@pytest.mark.parametrize("width", [520, 640])
def test_bars_stand_to_scale(width):
    report = written_report()
    svg = figures.histogram_svg(report, 1, width=width)
    paths = [one for one in parse(svg).iter(f"{SVG}path") if one.get("fill") != "none"]
    drawn = (report.histogram.familiar, report.histogram.strangers[1])
    scales = []
    for path, one in zip(paths, drawn, strict=True):
        edges, heights = outline(path.get("d"))
        assert np.allclose(edges, np.linspace(0, width, len(one.shares) + 1)[1:], atol=0.06)
        high = np.array(one.shares) > 0.02
        scales.append(heights[high] / np.array(one.shares)[high])
    scale = np.concatenate(scales)
    assert np.allclose(scale, np.median(scale), rtol=0.05)  # one scale for both


@pytest.mark.parametrize(
    ("value", "share"), [(-1.0, 0), (0.5, 0.5), (1.25, 0.75), (2.0, 1), (9.0, 1), (-9.0, 0)]
)
def test_the_threshold_stands_at_its_score(value, share):
    report = written_report()
    decision = report.decision.model_copy(update={"value": value})
    svg = figures.histogram_svg(report.model_copy(update={"decision": decision}), 0)
    marks = [one.get("d") for one in parse(svg).iter() if one.get("stroke") == MARK]
    x = float(re.match(r"M([\d.]+) ", marks[0])[1])
    assert x == pytest.approx(520 * share, abs=0.06)
    words = texts(svg)
    assert ("← accepted" in words) is (share > 0.2)
    assert ("flagged →" in words) is (share < 0.8)


def test_an_infinite_threshold_lets_everything_pass():
    report = written_report()
    decision = report.decision.model_copy(update={"value": float("inf")})
    words = texts(figures.histogram_svg(report.model_copy(update={"decision": decision}), 0))
    assert "← accepted" in words
    assert "flagged →" not in words


def test_ends_of_the_scale_are_the_inner_edges_of_the_end_bars():
    report = written_report(
        histogram=model.Histogram(
            low=-1, high=3, familiar=bars("f", 0.3, 4), strangers=(bars("noise", 0.7, 4),)
        )
    )
    assert texts(figures.histogram_svg(report, 0))[-2:] == ["≤ 0", "≥ 2"]


def test_the_roc_is_drawn_to_scale_with_a_point_on_each_curve():
    """Sets of `decision` and `roc` are matched by name, whatever their order."""
    curves = {"b": 0.25, "a": 0.5}
    familiar, passed = counted("Familiar images", 90), {"a": 81, "b": 66}
    report = written_report(sets=("a", "b"), roc=tuple(roc_line(n, p) for n, p in curves.items()))
    report = report.model_copy(
        update={
            "decision": report.decision.model_copy(
                update={
                    "familiar": familiar,
                    "strangers": tuple(counted(name, n) for name, n in passed.items()),
                }
            )
        }
    )
    root = parse(figures.roc_svg(report))
    lines = list(root.iter(f"{SVG}polyline"))
    circles = [(float(c.get("cx")), float(c.get("cy"))) for c in root.iter(f"{SVG}circle")]
    colours = SetColours.of(("a", "b"))  # in the order of the run
    assert len(lines) == len(circles) == 2
    for (name, power), line, (cx, cy) in zip(curves.items(), lines, circles, strict=True):
        points = np.array([point.split(",") for point in line.get("points").split()], float)
        x, y = points[:, 0] / WIDE, 1 - points[:, 1] / WIDE
        assert np.allclose(y, x**power, atol=0.02)
        assert line.get("stroke") == colours.colour(name)
        assert cx / WIDE == pytest.approx(passed[name] / 100, abs=1e-3)
        assert 1 - cy / WIDE == pytest.approx(familiar.share, abs=1e-3)


@pytest.mark.parametrize("worst", [0, 0.0004, 0.003, 0.0199, 0.02, 0.11, 0.35, 0.6, 1])
def test_risk_over_coverage_fits_its_axis(worst):
    """Read back through the axis' own tick labels: the curve ends at the risk of keeping all."""
    kept = np.linspace(0.1, 1, 20)
    points = tuple(zip(kept.tolist(), (worst * kept).tolist(), strict=True))
    least = min(1, 2 * worst + 0.01)  # beyond the curve
    found = refusing().model_copy(
        update={"points": points, "accuracy": 1 - worst, "accuracy_passing": 1 - 0.9 * worst}
        | {"kept": 0.9, "low": 1 - least, "high": 1}
    )
    root = parse(figures.refusing_svg(written_report(refusing=found)))
    (line,) = root.iter(f"{SVG}polyline")
    ys = [float(point.split(",")[1]) for point in line.get("points").split()]
    assert all(-0.05 <= y <= figures.FLAT + 0.05 for y in ys)
    ticks = [
        (float(t.get("y")) - 4, float(t.text.removesuffix(" %")) / 100)
        for t in root.iter(f"{SVG}text")
        if t.get("text-anchor") == "end"
    ]
    assert 2 <= len(ticks) <= 7
    heights, values = np.array(ticks).T
    assert np.all(np.diff(values) > 0)
    assert np.interp(-ys[-1], -heights, values) == pytest.approx(worst, abs=values[-1] / 200)
    (circle,) = root.iter(f"{SVG}circle")
    risk = np.interp(-float(circle.get("cy")), -heights, values)
    assert risk == pytest.approx(0.9 * worst, abs=values[-1] / 200)
    (interval,) = [p for p in root.iter(f"{SVG}path") if p.get("stroke") == MARK]
    ends = [float(part.split()[1]) for part in interval.get("d").removeprefix("M").split("L")]
    shares = np.interp(-np.array(ends), -heights, values)
    assert shares == pytest.approx([0, least], abs=values[-1] / 200)


@pytest.mark.parametrize("sure", [(0.3, 0.6, 0.9), (0.7, 0.95), (0.97, 0.99)])
def test_a_reliability_diagram_has_a_dot_and_a_line_for_each_group(sure):
    """Read back through the axes' own labels: few groups near 100 % are seen apart, too."""
    groups = tuple(
        model.ConfidenceGroup(images=20, right=18, confidence=x, accuracy=a, low=low, high=1)
        for x, a, low in ((x, 0.98 * x, 0.93 * x) for x in sure)
    )
    confidence = written_report().confidence.model_copy(update={"groups": groups})
    root = parse(figures.reliability_svg(written_report(confidence=confidence)))

    def scale(anchor: str, way: str, labels: int) -> np.ndarray:
        found = [t for t in root.iter(f"{SVG}text") if t.get("text-anchor") == anchor][:labels]
        shares = [float(t.text.removesuffix(" %")) / 100 for t in found]
        return np.polyfit([float(t.get(way)) for t in found], shares, 1)

    across, up = scale("middle", "x", 5), scale("end", "y", 5)
    up[1] += 4 * up[0]  # a label's line is 4 units above its letters' foot
    dots = [(float(c.get("cx")), float(c.get("cy"))) for c in root.iter(f"{SVG}circle")]
    lines = [p.get("d") for p in root.iter(f"{SVG}path") if p.get("stroke") == MARK]
    assert len(dots) == len(lines) == len(groups)
    for (x, y), group, line in zip(dots, groups, lines, strict=True):
        assert np.polyval(across, x) == pytest.approx(group.confidence, abs=1e-3)
        assert np.polyval(up, y) == pytest.approx(group.accuracy, abs=1e-3)
        ends = [part.split() for part in line.removeprefix("M").split("L")]
        shares = [np.polyval(up, float(end[1])) for end in ends]
        assert shares == pytest.approx([group.low, group.high], abs=1e-3)
        assert all(0 <= float(place) <= WIDE for place in (x, y, *ends[0]))
    assert np.ptp([x for x, _ in dots]) > 0.15 * WIDE


def test_each_way_to_refuse_has_its_curve_and_its_look():
    report = written_report()
    svg = figures.errors_svg(report)
    lines = list(parse(svg).iter(f"{SVG}polyline"))
    assert [one.get("stroke") for one in lines] == [look.colour for look in figures.LOOKS.values()]
    heights = [float(one.get("points").split(",")[-1]) for one in lines]
    assert heights == sorted(heights), "the more are wrong, the higher the curve ends"
    for way, look in figures.LOOKS.items():
        assert look.colour in figures.way_svg(way)


def test_without_labels_there_is_no_curve():
    with pytest.raises(ValueError, match="labels"):
        figures.refusing_svg(written_report(refusing=None))
    with pytest.raises(ValueError, match="labels"):
        figures.reliability_svg(written_report(confidence=None))
    with pytest.raises(ValueError, match="labels"):
        figures.errors_svg(written_report(errors=None))


@pytest.mark.slow
def test_a_browser_draws_them_as_files(browser: Browser):
    """Opened by itself, without a style sheet: every strong line is there in its colour."""
    page = browser.new_page(viewport={"width": 700, "height": 600})
    for svg in drawings(written_report()):
        page.set_content(f'<img src="data:image/svg+xml,{quote(svg)}" style="width:100%">')
        page.wait_for_function("document.images[0].complete")
        shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        pixels = np.asarray(shot).reshape(-1, 3).astype(int)
        strokes = set(re.findall(r'stroke="(#\w{6})"', svg)) - {LINE}
        for colour in strokes:
            wanted = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)])
            assert np.abs(pixels - wanted).max(axis=1).min() < 12, colour
        assert strokes
    page.close()
