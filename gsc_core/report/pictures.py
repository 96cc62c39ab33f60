"""The images of a report that show most: small, with their short-circuited channels if computed."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence

from gsc_core.errors import GscError
from gsc_core.explanation import ChannelReading, Explanation
from gsc_core.images.overlay import overlaid
from gsc_core.images.thumbnails import thumbnail
from gsc_core.report import model
from gsc_core.run import gallery
from gsc_core.run.decisions import Decision
from gsc_core.run.gallery import RunImage
from gsc_core.run.stored import Run
from gsc_core.workspace import report_images
from gsc_core.workspace.explanations import StoredExplanation

THUMBNAIL = 176  # pixels
CHANNELS = 3  # named for an image


def groups_of(run: Run, decision: Decision) -> Iterable[model.PictureGroup]:
    """The groups of telling images; raises GscError when the scores are missing or damaged."""
    column, detector = run.column(decision.detector), report_images.explainer(run, decision)
    for group in report_images.telling(run, decision):
        pictures = tuple(
            _picture(
                run,
                one,
                float(column[one.row]),
                _explained(report_images.explained(run, one.row, decision), detector),
            )
            for one in gallery.run_images(run, group.rows)
        )
        yield model.PictureGroup(title=group.title, pictures=pictures)


def channels_note(run: Run, decision: Decision) -> str | None:
    """Why images have no short-circuited channels beside them; None where all have them."""
    rows = [row for group in report_images.telling(run, decision) for row in group.rows]
    found = [report_images.explained(run, row, decision) for row in rows]
    refused = next((one.unexplained for one in found if one is not None and one.unexplained), None)
    if refused is not None:
        return refused
    without = sum(one is None for one in found)
    if not without:
        return None
    some = "" if without == len(found) else f" {without} of"
    return f"The short-circuited channels of{some} these images were not computed."


def _picture(
    run: Run, one: RunImage, score: float, explained: model.Explained | None
) -> model.Picture:
    return model.Picture(
        file=one.file,
        set="Familiar" if one.role == "id" else one.set,
        label=None if one.label is None else gallery.class_name(run, one.label),
        predicted=gallery.class_name(run, one.predicted),
        confidence=one.confidence,
        score=score,
        thumbnail=_thumbnail(one),
        explained=explained,
    )


def _thumbnail(one: RunImage) -> str | None:
    """A lost image leaves its words: the report is about scores, which are all there."""
    try:
        return _data_url(thumbnail(one.path, THUMBNAIL))
    except GscError:
        return None


def _explained(found: StoredExplanation | None, detector: str) -> model.Explained | None:
    if found is None or found.explanation is None:
        return None
    told = found.explanation
    return model.Explained(
        detector=detector,  # one that set itself explains by the plain one that it chose
        heat=_heat(found),
        no_heat=told.no_heat,
        channels=tuple(_channel(each) for each in _cut_most(told)),
        channels_cut=told.channels_touched,
        channel_count=told.channel_count,
        share_cut=told.short_circuited_share,
        logit_before=told.logit_before,
        logit_after=told.logit_after,
        confidence_before=told.confidence_before,
        confidence_after=told.confidence_after,
    )


def _heat(found: StoredExplanation) -> str | None:
    if found.heat is None:
        return None
    try:
        below, above = found.crop.read_bytes(), found.heat.read_bytes()
    except OSError:
        return None
    return _data_url(overlaid(below, above, THUMBNAIL))


def _cut_most(told: Explanation) -> Sequence[ChannelReading]:
    """The channels that supported the answer and whose loss cost it most."""
    cut = [each for each in told.channels if each.removed > 0]
    return sorted(cut, key=lambda each: -each.removed)[:CHANNELS]


def _channel(one: ChannelReading) -> model.Channel:
    usual = one.normal_contribution
    return model.Channel(
        index=one.index,
        contribution=one.contribution,
        removed=one.removed,
        usual=None if usual is None else (usual.low, usual.high),
    )


def _data_url(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
