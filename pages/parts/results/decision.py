"""The first screen of Results: the decision in two numbers, among the scores, and its misses."""

from collections.abc import Iterator

import streamlit as st

from gsc_core.charts.threshold import marked
from gsc_core.errors import GscError
from gsc_core.evaluation.counts import between, in_1000, percent
from gsc_core.evaluation.intervals import Interval
from gsc_core.evaluation.thresholds import Effect
from gsc_core.run import decisions, gallery
from gsc_core.run.decisions import Decision
from gsc_core.run.gallery import RunImage
from gsc_core.run.mistakes import worst_missed
from gsc_core.run.stored import Run
from gsc_core.sentences.decision import excused_sentence, picked_sentence, standing_sentence
from gsc_core.sentences.run import doubt, two_counts
from gsc_core.sentences.threshold import familiar_sentence, shortage
from gsc_core.sentences.warnings import extreme
from pages.parts.shared import links, threshold_figures
from pages.parts.shared.pictures import Tile, picture_grid
from pages.parts.shared.text import UNFAMILIAR, plain

MISSES = 5  # a row at 1280 pixels
HISTOGRAM = 200  # pixels high, so that all fits on the first screen
GOOD, BAD = "#009E73", "#D55E00"  # distinct to colour-blind readers, on white and on dark


def decision(run: Run) -> str:
    """Show what the run's decision does, and give its detector.

    A damaged decision is a sentence, and the default's detector is given.
    """
    try:
        standing = decisions.current(run)
    except GscError as error:
        st.error(plain(str(error)))
        st.page_link(links.to("thresholds"), label="Thresholds", query_params={"run": run.id})
        return decisions.default_detector(run)
    try:
        found = decisions.effect_of(run, standing)
        _numbers(found)
        if warning := _useless(run, standing):
            st.warning(plain(warning))
        st.caption(plain(" ".join(filter(None, _who(run, standing)))))
        _histogram(run, standing, found)
        _misses(run, standing)
        st.markdown(plain(f"{two_counts(found)} {doubt(run)}"), help=UNFAMILIAR)
    except GscError as error:
        st.error(plain(str(error)))
    return standing.detector


def _useless(run: Run, standing: Decision) -> str | None:
    """Why the threshold flags nothing or everything, where it does and means nothing."""
    calibration = len(run.calibration_rows())
    return shortage(standing.rule, calibration) or extreme(standing)


def _who(run: Run, standing: Decision) -> Iterator[str]:
    """Who or what decided, and on which images that is judged."""
    yield standing_sentence(run, standing)
    yield picked_sentence(run, standing)
    yield excused_sentence(run, standing)


def _numbers(found: Effect) -> None:
    """The two counts that a decision trades."""
    left, right = st.columns(2)
    familiar = Interval(found.id.share, found.id.low, found.id.high)
    with left.container(border=True, gap="xxsmall"):
        _number("Unfamiliar images accepted", found.ood_interval, is_good=False)
    with right.container(border=True, gap="xxsmall"):
        _number("Familiar images accepted", familiar, is_good=True)


def _number(title: str, accepted: Interval, *, is_good: bool) -> None:
    """A count in 1,000 with its bar; `is_good` is whether accepting these images is."""
    st.caption(f"{title} (95 % interval {between(accepted.low, accepted.high)})")
    st.html(_count(accepted, GOOD if is_good else BAD))


def _count(accepted: Interval, colour: str) -> str:
    """The count, and its share in colour of a whole in grey, with the interval as a line across."""
    value, low, width = (
        f"{100 * part:.1f}%"
        for part in (accepted.value, accepted.low, accepted.high - accepted.low)
    )
    said = f"{percent(accepted.value, 1)} accepted"
    return (
        f'<div style="font-size:2.25rem;font-weight:600;line-height:1.3;color:{colour}">'
        f"{in_1000(accepted.value)} of 1,000</div>"
        f'<div role="img" aria-label="{said}" style="position:relative;height:14px;'
        'border-radius:4px;background:rgba(128,128,128,0.25)">'
        f'<div style="width:{value};height:14px;border-radius:4px;background:{colour}"></div>'
        f'<div style="position:absolute;top:5px;left:{low};width:{width};height:4px;'
        'background:currentColor;opacity:0.75"></div></div>'
    )


def _histogram(run: Run, standing: Decision, found: Effect) -> None:
    figures = threshold_figures.drawn(run, standing.detector, decisions.part_of(standing))
    histogram, _ = marked(figures, found)
    histogram.update_layout(
        height=HISTOGRAM,
        margin={"t": 24, "b": 40, "l": 48},
        legend={"y": -0.2, "x": 1, "xanchor": "right"},
    )
    histogram.update_xaxes(title_text=None)
    histogram.update_yaxes(title_text=None)
    alt = "Histogram of outlier scores with a line at the threshold. " + familiar_sentence(found)
    st.plotly_chart(histogram, key="results_decision", config={"displayModeBar": False}, alt=alt)


def _misses(run: Run, standing: Decision) -> None:
    """Unfamiliar images that are accepted, those that look most familiar first."""
    part = decisions.part_of(standing)
    rows = worst_missed(run, standing.detector, standing.value, part, MISSES)
    if not rows:
        st.caption("No unfamiliar image was accepted.")
        return
    st.markdown(
        "The worst misses: unfamiliar images accepted, with what the model calls them and how sure "
        "it is"
    )
    scores = run.cells(standing.detector, rows)
    images = gallery.run_images(run, rows)
    picture_grid(
        [_tile(run, image, float(score)) for image, score in zip(images, scores, strict=True)]
    )


def _tile(run: Run, image: RunImage, score: float) -> Tile:
    seen = gallery.class_name(run, image.predicted)
    return Tile(
        path=image.path,
        caption=f"{seen}, {percent(image.confidence, 0)}",
        alt=f"{image.file} of {image.set}, classified as {seen}, outlier score {score:.4g}",
        link=("images", {"run": run.id, "image": str(image.row)}),
    )
