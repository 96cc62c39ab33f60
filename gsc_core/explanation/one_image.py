"""One image: which channels GSC short-circuits, what that does to the answer, where they look."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from gsc_core.detectors.base import Representation
from gsc_core.detectors.gsc import GSC
from gsc_core.explanation.channels import READINGS, ChannelNormals, by_channel, positions
from gsc_core.explanation.result import ChannelReading, ClassShare, Explanation

MAX_CHANNELS = 32  # shown of an image
MAX_CLASSES = 5

_NO_PLACE = "the prediction reads only the class token here, which has no place in the image"
_NOTHING_TAKEN = "nothing that supported the prediction was removed"


def explain(
    image: Representation,
    detector: GSC,
    normals: ChannelNormals | None = None,
    class_names: Sequence[str] | None = None,
) -> Explanation:
    """Explain a batch of one image, with logits, feature map and gradient, by a fitted detector."""
    assert detector.network_ is not None, "fit() comes first"
    split = detector.network_.split
    assert split is not None and image.feature_map is not None and image.gradient is not None
    mask = detector.mask(image).expand_as(image.feature_map)
    h, g, change, taken = (
        positions(tensor[0].cpu(), split.channel)
        for tensor in (image.feature_map, image.gradient, detector.change(image), mask)
    )
    removed = 0.0 - g * change  # [positions, C], in logits of the predicted class; never −0
    predicted = int(image.predicted)
    logits, after = image.logits[0], detector.logits_after(image)[0]
    heat, no_heat = heat_of(removed.sum(dim=1), g, _places(image.feature_map, split.channel))
    leading = _leading(detector, image, removed)
    return Explanation(
        detector=detector.name,
        settings=detector.settings(),
        split=split.name,
        update="exact" if split.linear else detector.update,  # the same numbers there
        same_for_class=detector.ranking == "random"
        or (split.linear and detector.ranking == "gradient"),
        before=_top(logits, class_names),
        after=_top(after, class_names),
        logit_before=float(logits[predicted]),
        logit_after=float(detector.predicted_logit_after(image)),
        confidence_before=float(logits.softmax(0)[predicted]),
        confidence_after=float(after.softmax(0)[predicted]),
        channels=_read(h, g, taken, removed, leading, normals),
        channel_count=h.shape[1],
        channels_touched=int(taken.any(dim=0).sum()),
        short_circuited_share=float(taken.double().mean()),
        removed=float(removed.sum()),
        heat=heat,
        no_heat=no_heat,
    )


def heat_of(
    removed: Tensor, gradient: Tensor, places: tuple[int, ...]
) -> tuple[tuple[tuple[float, ...], ...] | None, str | None]:
    """The heat map of what was `removed [positions]`, or None and the reason.

    `places` is the shape of the positions: `(H,W)`, or `(N,)` tokens, which lie on a square, with
    or without a class token before it. `gradient [positions,C]` tells whether only that is read.
    """
    if len(places) == 1:
        tokens = places[0]
        side = math.isqrt(tokens)
        first = 0 if side**2 == tokens else 1
        side = math.isqrt(tokens - first)
        if side**2 != tokens - first:
            return None, f"its {tokens} tokens do not lie on a square grid"
        removed, places = removed[first:], (side, side)
        if first and not bool(gradient[1:].any()):
            return None, _NO_PLACE
    positive = removed.detach().double().clamp(min=0).reshape(places)
    highest = float(positive.max())
    if highest == 0:
        return None, _NOTHING_TAKEN
    return tuple(tuple(row) for row in (positive / highest).tolist()), None


def _places(feature_map: Tensor, channel: int) -> tuple[int, ...]:
    return tuple(n for axis, n in enumerate(feature_map.shape) if axis not in (0, channel))


def _leading(detector: GSC, image: Representation, removed: Tensor) -> list[int]:
    """Channels in the order of the ranking; of single elements, by what was taken from each."""
    if detector.granularity == "channel":
        ranking = detector.channel_ranking(image)[0]
    else:
        ranking = removed.sum(dim=0).abs()
    order: list[int] = ranking.sort(descending=True, stable=True).indices.tolist()
    return order[:MAX_CHANNELS]


def _read(
    h: Tensor,
    g: Tensor,
    taken: Tensor,
    removed: Tensor,
    channels: Sequence[int],
    normals: ChannelNormals | None,
) -> tuple[ChannelReading, ...]:
    rows = zip(
        channels,
        *(values[channels].tolist() for values in by_channel(h, g)),
        taken.double().mean(dim=0)[channels].tolist(),
        removed.sum(dim=0)[channels].tolist(),
        strict=True,
    )
    return tuple(
        ChannelReading(
            index=index,
            rank=rank,
            activation=activation,
            gradient=gradient,
            contribution=contribution,
            positions=positions,
            removed=gone,
            **{}
            if normals is None
            else {f"normal_{name}": normals.usual(name, index) for name in READINGS},
        )
        for rank, (index, activation, gradient, contribution, positions, gone) in enumerate(rows, 1)
    )


def _top(logits: Tensor, names: Sequence[str] | None) -> tuple[ClassShare, ...]:
    shares, indices = logits.softmax(dim=0).topk(min(MAX_CLASSES, len(logits)))
    return tuple(
        ClassShare(index=i, name=None if names is None else names[i], share=share)
        for i, share in zip(indices.tolist(), shares.tolist(), strict=True)
    )
