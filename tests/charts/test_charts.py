"""The charts: what they draw is true, readable without colour, small, and safe with any name."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gsc_core.charts import scores as score_charts
from gsc_core.charts.threshold import figures
from gsc_core.evaluation.histogram import Histograms, shared_edges, shares
from gsc_core.evaluation.metrics import curve, metrics
from gsc_core.evaluation.tradeoff import Tradeoff
from gsc_core.run.set_colours import ID_COLOUR, MORE_COLOURS, OOD_COLOURS, SetColours

LIGHT = 50_000


def sets(count: int, size: int = 400) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(count)
    found = {"id": rng.normal(0, 1, size)}
    return found | {f"set {i}": rng.normal(1 + i / 4, 1, size) for i in range(count)}


def histogram(scores, **more):
    return score_charts.histogram(Histograms.of(scores, **more), colours=SetColours.of(scores))


def roc(found, **more):
    return score_charts.roc(found, colours=SetColours.of(found), **more)


def precision_recall(found, *positive, **more):
    return score_charts.precision_recall(found, *positive, colours=SetColours.of(found), **more)


def curves(scores: dict[str, np.ndarray]):
    return {name: curve(scores["id"], values) for name, values in scores.items() if name != "id"}


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 4, 12])
def test_no_figure_is_heavy(count):
    scores = sets(count, size=20_000)
    assert len(histogram(scores, bins=200).to_json()) < LIGHT
    assert len(roc(curves(scores)).to_json()) < LIGHT
    assert len(roc(curves(scores), log_x=True).to_json()) < LIGHT
    assert len(precision_recall(curves(scores), "ood").to_json()) < LIGHT
    assert len(precision_recall(curves(scores), "id", log_x=True).to_json()) < LIGHT


def test_bars_are_shares_of_each_set_on_one_grid():
    scores = sets(3)
    figure = histogram(scores, bins=40)
    assert {(bar.x0, bar.dx, len(bar.y)) for bar in figure.data} == {
        (figure.data[0].x0, figure.data[0].dx, 40)
    }
    for bar in figure.data:
        name = "id" if bar.name == "Familiar images" else bar.name
        assert np.sum(bar.y) == pytest.approx(1, abs=1e-5)
        edge = bar.x0 + bar.dx * 19.5  # right edge of bin 20
        assert np.sum(bar.y[:20]) == pytest.approx(np.mean(scores[name] < edge), abs=1e-5)


def test_a_long_tail_goes_to_a_labelled_end_bin():
    rng = np.random.default_rng(0)
    scores = {"id": rng.normal(0, 1, 1000), "far": np.append(rng.normal(2, 1, 998), [1e9, 2e9])}
    figure = histogram(scores)
    last = figure.data[0].x0 + figure.data[0].dx * len(figure.data[0].y)
    assert last < 10
    ticks = figure.layout.xaxis.ticktext
    assert ticks[0].startswith("≤ −")
    assert ticks[-1].startswith("≥ ")
    far = next(bar for bar in figure.data if bar.name == "far")
    assert far.y[-1] >= 0.002


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e9, 1e9)),
    arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e9, 1e9)),
)
def test_any_scores_lie_in_some_bin(known, strange):
    edges = shared_edges([known, strange], 50)
    assert np.all(np.diff(edges) > 0)
    for scores in (known, strange):
        assert shares(scores, edges).sum() == pytest.approx(1, abs=1e-5)


def test_one_constant_score_can_be_drawn():
    figure = histogram({"id": [3.0], "x": [3.0, 3.0]})
    assert [float(np.sum(bar.y)) for bar in figure.data] == [1, 1]


@pytest.mark.parametrize("log_x", [False, True])
def test_the_roc_line_is_the_curve(log_x):
    scores = sets(2)
    figure = roc(curves(scores), log_x=log_x)
    for line in figure.data:
        found = metrics(scores["id"], scores[line.name])
        assert np.trapezoid(line.y, line.x) == pytest.approx(found.auroc, abs=5e-3)
        assert np.min(line.x[line.y >= 0.95]) == pytest.approx(found.fpr95, abs=1e-6)
        assert np.all(line.x > 0) or not log_x
    assert figure.layout.xaxis.type == ("log" if log_x else None)


@pytest.mark.parametrize("positive", ["id", "ood"])
def test_the_precision_line_is_that_of_the_scores(positive):
    """Each drawn point, against a count over the images at the threshold with that recall."""
    scores = sets(2, size=300)
    for line in precision_recall(curves(scores), positive).data:
        known, strange = scores["id"], scores[line.name]
        points = {}
        for t in [-np.inf, *known, *strange]:
            taken = [known <= t, strange <= t] if positive == "id" else [strange > t, known > t]
            right, wrong = (int(np.sum(each)) for each in taken)
            recall = round(right / 300, 4)
            points.setdefault(recall, set()).add(round(right / max(right + wrong, 1), 4))
        for x, y in zip(line.x, line.y, strict=True):
            found = points[round(float(x), 4)]
            assert min(abs(float(y) - each) for each in found | ({1.0} if x == 0 else set())) < 1e-3
        area = abs(np.trapezoid(line.y, line.x))
        name = "aupr_in" if positive == "id" else "aupr_out"
        assert area == pytest.approx(getattr(metrics(known, strange), name), abs=0.01)


def test_precision_bends_where_the_roc_curve_is_straight():
    """Two unfamiliar images first, then familiar images alone: n of n + 2, which no chord tells."""
    known, strange = np.arange(10.0, 2010.0), np.concatenate([[0.0, 1.0], np.arange(5e3, 6e3)])
    (line,) = precision_recall({"x": curve(known, strange)}, "id").data
    for n in (10, 40, 200, 1000):
        assert np.interp(n / 2000, line.x[1:], line.y[1:]) == pytest.approx(n / (n + 2), abs=0.02)
    (line,) = precision_recall({"x": curve(-strange, -known)}, "ood").data
    order = np.argsort(line.x)[1:]
    found = np.interp(0.02, line.x[order], line.y[order])
    assert found == pytest.approx(40 / 42, abs=0.02)


@pytest.mark.parametrize("count", [1, 12])
def test_the_point_at_95_percent_is_always_drawn(count):
    scores = sets(count, size=3000)
    for line in roc(curves(scores)).data:
        found = metrics(scores["id"], scores[line.name])
        assert np.min(line.x[line.y >= 0.95 - 1e-7]) == pytest.approx(found.fpr95, abs=1e-6)
        assert (line.x[0], line.y[0], line.x[-1], line.y[-1]) == (0, 0, 1, 1)


def test_the_end_labels_of_the_threshold_histogram_say_what_the_end_bars_hold():
    rng = np.random.default_rng(0)
    known = np.concatenate([rng.normal(0, 1, 1000), [-50.0, 50.0]])
    drawn = figures(
        Tradeoff.of(known, {"x": known + 1}), ["x"], colours=SetColours.of(["x"])
    ).histogram
    bars, ticks = drawn.data[0], drawn.layout.xaxis.ticktext
    first, last = (float(text[2:].replace("−", "-")) for text in (ticks[0], ticks[-1]))
    assert bars.x0 + bars.dx / 2 == pytest.approx(first, rel=0.01)
    assert bars.x0 + bars.dx * (len(bars.y) - 1.5) == pytest.approx(last, rel=0.01)
    assert bars.y[0] == pytest.approx(np.mean(known <= first), abs=0.003)
    assert bars.y[-1] == pytest.approx(np.mean(known >= last), abs=0.003)


def test_precision_on_a_logarithmic_axis_starts_above_zero():
    figure = precision_recall(curves(sets(2)), "ood", log_x=True)
    assert figure.layout.xaxis.type == "log"
    assert all(np.all(line.x > 0) for line in figure.data)
    assert figure.layout.xaxis.title.text == "Share of unfamiliar images flagged (recall)"
    title = precision_recall(curves(sets(2)), "id").layout.yaxis.title.text
    assert title == "Share of accepted images that are familiar (precision)"


def test_a_perfect_detector_is_seen_on_a_logarithmic_axis():
    figure = roc({"x": curve(np.arange(50.0), np.arange(100.0, 150.0))}, log_x=True)
    assert np.max(figure.data[0].y[figure.data[0].x < 0.02]) == 1


def test_axes_say_what_they_show():
    scores = sets(2)
    figure = roc(curves(scores))
    assert figure.layout.xaxis.title.text == "Share of unfamiliar images accepted (FPR)"
    assert figure.layout.xaxis.tickformat == ".0%"
    titles = json.loads(histogram(scores).to_json())["layout"]
    texts = [
        axis["title"]["text"]
        for axis in titles.values()
        if isinstance(axis, dict) and axis.get("title")
    ]
    assert "Outlier score (higher = less familiar)" in texts
    assert "Share of images" in texts


def test_a_set_keeps_its_look_and_no_two_sets_share_one():
    names = [f"{i:02}" for i in range(72)]
    colours = SetColours.of(names)
    looks = {(colours.colour(name), colours.dash(name)) for name in names}
    assert len(looks) == 72
    assert len({colours.colour(name) for name in names[:12]}) == 12
    assert colours.colour("id") == ID_COLOUR
    assert ID_COLOUR not in {colour for colour, _ in looks}
    assert SetColours.of(["id", *names, *names]) == colours
    with pytest.raises(ValueError):
        colours.colour("of another run")


def test_neighbouring_colours_differ_in_lightness_or_hue_for_the_colour_blind():
    """Viénot, Brettel and Mollon (1999): what a reader without red or green cones sees."""
    for missing in ("red", "green"):
        seen = [_dichromat(colour, missing) for colour in OOD_COLOURS + MORE_COLOURS]
        gaps = [np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]]
        assert min(gaps) > 0.08, missing


def _dichromat(colour: str, missing: str) -> np.ndarray:
    rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]) ** 2.2
    lms = np.array(
        [[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]]
    )
    without = {
        "red": np.array([[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]]),
        "green": np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]]),
    }[missing]
    return np.clip(np.linalg.inv(lms) @ without @ lms @ rgb, 0, 1) ** (1 / 2.2)


def test_a_hostile_name_is_only_text():
    name = '<a href="https://evil.example">x</a> \x00\u202e %{x}'
    figure = histogram({"id": [0.0, 1.0], name: [1.0, 2.0]})
    shown = " ".join([figure.data[1].name, *(note.text for note in figure.layout.annotations)])
    assert "<a" not in shown
    assert "&lt;a href" in shown
    assert "\x00" not in shown
    assert "\u202e" not in shown
    assert "evil" not in figure.data[1].hovertemplate
    assert len(score_charts.label("y" * 500)) == score_charts.LONGEST_NAME
    assert score_charts.label("bread & butter") == "bread &amp; butter"
