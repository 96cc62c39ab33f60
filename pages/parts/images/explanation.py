"""What a look into the network found, for an image of the run or one that a person tried."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from gsc_core.charts.image import TITLES, channel_bars
from gsc_core.evaluation.counts import percent
from gsc_core.explanation import ClassShare, Explanation
from gsc_core.images.overlay import overlaid
from gsc_core.run import gallery
from gsc_core.run.contributions import Contribution
from gsc_core.run.placement import Placement
from gsc_core.run.stored import Run
from gsc_core.sentences.depths import UNUSUAL, depth_sentence
from gsc_core.workspace.image_results import Judged
from pages.parts.shared.pictures import Tile, picture_grid
from pages.parts.shared.text import plain

SHOWN = 10  # channels until somebody asks for more
LEADING = 3  # classes before and after


def picture_seen(found: Judged) -> None:
    """The image as the model saw it, and where the short-circuited channels look."""
    heat = None
    if found.heat is not None:
        show = st.toggle(
            "Show where GSC cuts",
            value=True,
            key="images_heat",
            help="Bright: here the short-circuited channels supported the answer.",
        )
        heat = found.heat if show else None
    try:
        data = found.crop.read_bytes()
        data = data if heat is None else overlaid(data, heat.read_bytes())
    except OSError:
        st.caption("The image as the model saw it is no longer stored: explain it again.")
        return
    alt = f"{found.name} as the model saw it"
    st.image(data, alt=alt if heat is None else f"{alt}, with a heat map", width="stretch")
    st.caption("As the model saw it: resized and cropped.")
    if found.explanation is not None and found.explanation.no_heat is not None:
        st.caption(plain(f"No heat map: {found.explanation.no_heat}."))


def why(run: Run, found: Judged, label: int | None) -> None:
    """The prediction before and after the short-circuit, in words and as a table."""
    told = found.explanation
    if told is None:
        seen = gallery.class_name(run, found.predicted)
        st.markdown(plain(f"The model calls it {seen}, {_percent(found.confidence)} sure."))
        st.info(plain(found.unexplained or "There is no explanation."))
        return
    st.markdown(plain(_in_words(told)))
    if label is not None:
        how = "correctly" if label == told.before[0].index else "wrongly"
        st.caption(plain(f"It is {gallery.class_name(run, label)}: classified {how}."))
    _classes(told)
    if told.same_for_class:
        st.caption(
            "After the cut this network is linear, so the same channels are switched off for every "
            "image of this class."
        )


def channels(found: Judged) -> None:
    """What the leading channels do, beside what they usually do on familiar images."""
    told = found.explanation
    if told is None:
        return
    st.header("The channels behind the answer", anchor=False)
    most = len(told.channels)
    count = min(SHOWN, most)
    if most > 1:
        count = st.slider(
            "Channels", 1, most, count, key="images_k", help="How many of the top channels to show."
        )
    some_left = any(not each.short_circuited for each in told.channels[:count])
    unchanged = "; hatched blue: unchanged" if some_left else ""
    st.caption(
        f"The top {count} of {told.channel_count:,} channels at layer {plain(told.split)}, by "
        f"number. Orange: switched off, wholly or in part{unchanged}. "
        "Grey brackets: the middle 90 % of familiar images; a bar beyond its bracket is unusual."
    )
    for column, reading in zip(st.columns(len(TITLES)), TITLES, strict=True):
        column.plotly_chart(
            channel_bars(told.channels[:count], reading),
            key=f"images_channels_{reading}",
            config={"displayModeBar": False},
            alt=f"{TITLES[reading]} of {count} channels beside their usual range",
        )


def parts_of_score(fused: str, parts: Sequence[Contribution]) -> None:
    """What each part adds to a weighted score; nothing for a detector that weighs none."""
    if not parts:
        return
    total = sum(part.added for part in parts)
    st.caption(
        plain(f"What makes up the score of {fused}, {total:+.2f}: 0 is usual for a familiar image.")
    )
    st.dataframe(
        pd.DataFrame({"Part": [p.detector for p in parts], "Adds": [p.added for p in parts]}),
        hide_index=True,
        key="images_parts",
        height="content",
        column_config={"Adds": st.column_config.NumberColumn(format="%+.2f")},
        alt=f"How much each detector adds to the score of {fused}.",
    )


def places_table(places: Sequence[Placement]) -> None:
    """Where each detector's score lies among familiar images."""
    st.header("What each detector says", anchor=False)
    frame = pd.DataFrame(
        {
            "Detector": [each.detector for each in places],
            "Verdict": [_verdict(each) for each in places],
            "At or below": [each.percentile for each in places],
            "Score": [each.score for each in places],
            "Threshold": [each.threshold for each in places],
        }
    )
    percentile = st.column_config.ProgressColumn(
        "Familiar images that score no higher", min_value=0, max_value=100, format="%.0f %%"
    )
    st.dataframe(
        frame,
        hide_index=True,
        key="images_places",
        column_config={"At or below": percentile},
        placeholder="–",
        height="content" if len(places) <= 30 else 720,
        alt="For each detector: its verdict, and the share of familiar images that score no higher",
    )
    st.caption("Each threshold accepts 95 % of the calibration images, unless the run has its own.")


def depths(found: Judged) -> None:
    """How unusual the image is at each depth of the network; nothing without a layer profile."""
    if not found.depths:
        return
    st.header("Which depth finds it unusual", anchor=False)
    st.markdown(plain(depth_sentence([each.percentile for each in found.depths])))
    numbered = list(enumerate(found.depths, 1))
    st.dataframe(
        pd.DataFrame(
            {
                "Depth": [f"{at} · {each.layer}" for at, each in numbered],
                "Percentile": [each.percentile for _, each in numbered],
                "Counts": [100 * each.weight for _, each in numbered],
            }
        ),
        hide_index=True,
        key="images_depths",
        height="content",
        column_config={
            "Percentile": st.column_config.ProgressColumn(
                "At most as far out", min_value=0, max_value=100, format="%.0f %%"
            ),
            "Counts": st.column_config.NumberColumn(
                "Weight",
                format="%.0f %%",
                width=64,
                help="How much this depth counts in the score of layers, learned from surrogate "
                "images.",
            ),
        },
        alt="For each depth of the network: the share of familiar images that are at most as far "
        "from the others there.",
    )
    st.caption(
        "The share of calibration images that are at most as far out there; over "
        f"{UNUSUAL:.0f} % is called unusual. The first depths react to colours and edges, the last "
        "to whole objects."
    )


def neighbours(run: Run, found: Judged) -> None:
    """The calibration images most like this one, as the model sees them."""
    if not found.nearest:
        return
    st.header("The familiar images most similar to it", anchor=False)
    st.caption("Among the calibration images, by the cosine of their features: 1 is identical.")
    tiles = []
    near = gallery.run_images(run, [each.row for each in found.nearest])
    for one, picture in zip(found.nearest, near, strict=True):
        known = picture.label if picture.label is not None else picture.predicted
        name = gallery.class_name(run, known)
        tiles.append(
            Tile(
                picture.path,
                f"{one.similarity:.2f} · {name}",
                f"{picture.file}, {name}, similarity {one.similarity:.2f}",
                ("images", {"run": run.id, "image": str(one.row)}),
            )
        )
    picture_grid(tiles)


def number(value: float, digits: int = 3) -> str:
    """Three digits, with a real minus sign."""
    return f"{value:.{digits}g}".replace("-", "−")


def told_apart(score: float, threshold: float) -> tuple[str, str]:
    """Two numbers with three digits, or as many more as it takes to see which is the higher."""
    texts = number(score), number(threshold)
    for digits in range(4, 10):
        if texts[0] != texts[1] or score == threshold:
            break
        texts = number(score, digits), number(threshold, digits)
    return texts


def _in_words(told: Explanation) -> str:
    first, then = told.before[0], told.after[0]
    text = f"The model calls it {_name(first)} and is {_percent(first.share)} sure. "
    cut = f"{told.channels_touched:,} of {told.channel_count:,} channels"
    if told.settings.get("granularity") == "element":
        cut = f"{percent(told.short_circuited_share, 0)} of the feature's values, in {cut}"
    text += (
        f"GSC switches off {cut}, those that this answer relies on: its logit goes from "
        f"{number(told.logit_before)} to {number(told.logit_after)}, and "
    )
    if then.index == first.index:
        return text + f"the model keeps this answer, {_percent(then.share)} sure."
    return text + f"the model answers {_name(then)}, {_percent(then.share)} sure."


def _classes(told: Explanation) -> None:
    before = {each.index: each for each in told.before}
    after = {each.index: each for each in told.after}
    classes = list(dict.fromkeys([*list(before)[:LEADING], *list(after)[:LEADING]]))
    frame = pd.DataFrame(
        {
            "Class": [_name((before | after)[index]) for index in classes],
            "Before": [_share(before, index) for index in classes],
            "After": [_share(after, index) for index in classes],
        }
    )
    st.dataframe(
        frame,
        hide_index=True,
        key="images_classes",
        placeholder="–",
        column_config={
            name: st.column_config.NumberColumn(format="%.1f %%") for name in ("Before", "After")
        },
        alt="The likeliest classes before and after the short-circuit, in percent",
    )


def _share(shares: dict[int, ClassShare], index: int) -> float | None:
    return 100 * shares[index].share if index in shares else None


def _name(one: ClassShare) -> str:
    return one.name if one.name is not None else f"class {one.index}"


def _verdict(place: Placement) -> str:
    if place.threshold is None:
        return "no threshold"
    return "flagged" if place.outside else "accepted"


def _percent(share: float) -> str:
    return "over 99.9 %" if share > 0.9995 else percent(share, 1)
