"""The contract every detector keeps: what it declares, what it is fitted on, what it scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from enum import Flag, auto
from functools import cached_property
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor

from gsc_core.classifier.network import Linear, Network
from gsc_core.detectors.facts import Family, Knob, Paper, parsed_settings
from gsc_core.errors import Excused

T = TypeVar("T")


class Need(Flag):
    """What a detector reads of the one pass."""

    LOGITS = auto()
    FEATURES = auto()  # input of the last linear map
    FEATURE_MAP = auto()  # output of the layer at which the network is cut
    GRADIENT = auto()  # of the predicted logit, at the cut
    IMAGES = auto()  # the preprocessed images themselves
    LAYERS = auto()  # channel means at the end of each stage of the network
    SHAPES = auto()  # the coarse shapes of the image, which no detector reads


class Fit(Flag):
    """What a detector must be fitted with."""

    NOTHING = 0
    IMAGES = auto()  # calibration images
    LABELS = auto()  # their classes as well
    SURROGATES = auto()  # surrogate outliers made from them


@dataclass(frozen=True)
class Representation:
    """What one pass yields for a batch; a field nobody needs is None.

    `logits [B,K]`, `features [B,D]`, `feature_map` and `gradient` `[B,C,H,W]`, `[B,H,W,C]` or
    `[B,N,C]`, `images [B,3,H,W]` after preprocessing, `layers [B,S]` the channel means of all
    `Network.stages`, one after the other, `shapes [B,63]` what `images.shapes` makes of the images.
    All float32.
    """

    logits: Tensor
    features: Tensor | None = None
    feature_map: Tensor | None = None
    gradient: Tensor | None = None
    images: Tensor | None = None
    layers: Tensor | None = None
    shapes: Tensor | None = None

    def __len__(self) -> int:
        return self.logits.shape[0]

    def __getitem__(self, index: slice | Tensor) -> Self:
        """The chosen images of the batch."""
        return self._map(lambda tensor: tensor[index])

    def to(self, device: torch.device | str) -> Self:
        """The same batch on another device."""
        return self._map(lambda tensor: tensor.to(device))

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """One batch of several."""
        first, *_ = parts
        tensors = {
            f.name: torch.cat([getattr(part, f.name) for part in parts])
            for f in fields(cls)
            if getattr(first, f.name) is not None
        }
        return cls(**tensors)

    @cached_property
    def predicted(self) -> Tensor:
        """Predicted class of each image, `[B]`."""
        return self.logits.argmax(dim=1)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, made the first time this batch is asked for `key`.

        For what several detectors read of the same batch; `key` holds all that it depends on.
        """
        if key not in self._made:
            self._made[key] = make()
        made: T = self._made[key]
        return made

    @cached_property
    def _made(self) -> dict[Hashable, Any]:
        return {}

    def _map(self, do: Callable[[Tensor], Tensor]) -> Self:
        held = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: do(t) for name, t in held.items() if t is not None})


@dataclass(frozen=True)
class Surrogates(Representation):
    """What one pass yields for surrogate outliers, and of which kind each of them is.

    `kinds [B]` are indices into `KINDS`. They are sliced, joined and moved with the images:
    in whatever order these come, and whichever of them could not be made.
    """

    kinds: Tensor = field(kw_only=True)

    @classmethod
    def of(cls, images: Representation, kinds: Tensor) -> Self:
        """One pass over surrogates, of these `kinds [B]` on any device."""
        held = {f.name: getattr(images, f.name) for f in fields(Representation)}
        return cls(**held, kinds=kinds.to(images.logits.device))


@dataclass(frozen=True)
class Calibration:
    """What detectors are fitted on: ID images only, never scored as test.

    Logits, features, `layers` and `shapes` of all N calibration images are kept; feature maps,
    gradients and images only for a bounded `sample` of them and for `surrogates` made from that.

    `labels [N]` is −1 where unknown. `step` is told how far a long fit is, as (phase, done, total),
    and may raise to stop it. `learned` is what detectors learned from the sample's pixels, by name:
    a calibration that was stored has these no more. `tuned_on [N]` are the images that settings
    were learned from which the detectors are given; None where there are no such.
    """

    network: Network
    logits: Tensor
    features: Tensor | None
    labels: Tensor
    sample: Representation
    surrogates: Surrogates | None = None
    step: Callable[[str, int, int], None] = lambda phase, done, total: None
    learned: Mapping[str, Tensor] = field(default_factory=dict)
    layers: Tensor | None = None
    tuned_on: Tensor | None = None
    shapes: Tensor | None = None

    @property
    def images(self) -> Representation:
        """What is kept of all calibration images."""
        return Representation(self.logits, self.features, layers=self.layers, shapes=self.shapes)

    def only(self, which: slice | Tensor) -> Self:
        """The same with some of the calibration images; sample and surrogates stay."""
        some = self.images[which]
        return replace(
            self,
            logits=some.logits,
            features=some.features,
            layers=some.layers,
            shapes=some.shapes,
            labels=self.labels[which],
            tuned_on=None if self.tuned_on is None else self.tuned_on[which],
        )

    @property
    def linear(self) -> Linear:
        """The last linear map; raises Excused when the network does not end in one."""
        if self.network.linear is None:
            raise Excused("the network does not end in a linear layer")
        return self.network.linear

    def require_features(self, at_least: int = 2) -> Tensor:
        """Features `[N,D]`; raises Excused when there are none or fewer than `at_least` images."""
        if self.features is None:
            raise Excused("the network does not end in a linear layer, so it has no features")
        self.require_images(at_least)
        return self.features

    def require_layers(self, at_least: int = 2) -> Tensor:
        """Channel means `[N,S]`; raises Excused when there are none or fewer than `at_least`."""
        if self.layers is None or not self.network.stages:
            raise Excused("no layer of the network can be read on the way to its logits")
        self.require_images(at_least)
        return self.layers

    def require_images(self, at_least: int) -> None:
        """Raise Excused when there are fewer than `at_least` calibration images."""
        if len(self.logits) < at_least:
            raise Excused(
                f"needs at least {at_least} calibration images; there are {len(self.logits)}"
            )

    def require_labels(self) -> Tensor:
        """Mask `[N]` of labelled images; raises Excused when no image has a label."""
        labelled = self.labels >= 0
        if not bool(labelled.any()):
            raise Excused("needs calibration images with class labels, and there are none")
        return labelled


def knob(
    default: Any,
    about: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] = (),
    former: Any = None,
) -> Any:
    """A setting of a detector: a dataclass field with its plain explanation and limits.

    `former` is what runs made before this setting existed did, where that is not the default.
    """
    about_it = {"about": about, "low": low, "high": high, "choices": tuple(choices)}
    return field(default=default, metadata={**about_it, "former": former})


@dataclass(eq=False)
class Detector(ABC):
    """Gives each image one outlier score: higher = more likely out-of-distribution.

    Constructors only store knobs; `fit` learns attributes that end in `_`. One of your own:

    >>> from dataclasses import dataclass
    >>> from gsc_core import Detector
    >>> @dataclass(eq=False)
    ... class Doubt(Detector):
    ...     name, title, about = "doubt", "Doubt", "How far the best class is from certain."
    ...
    ...     def score(self, batch):
    ...         return 1 - batch.logits.softmax(dim=1).amax(dim=1)
    >>> Doubt().settings()
    {}
    """

    name: ClassVar[str]
    title: ClassVar[str]
    about: ClassVar[str]  # one plain sentence
    family: ClassVar[Family] = Family.OTHER
    fails_on: ClassVar[str | None] = None  # where it is known to fail, in a few plain words
    paper: ClassVar[Paper | None] = None
    needs: ClassVar[Need] = Need.LOGITS
    fitted_with: ClassVar[Fit] = Fit.NOTHING
    extra_forwards: ClassVar[float] = 0.0  # forward-pass equivalents beyond the shared one
    explains: ClassVar[bool] = False  # whether it short-circuits channels that can be shown

    held_out_: Tensor | None = field(default=None, init=False, repr=False)
    """Where it learns weights: scores of the first calibration images, each learned without it."""

    def fit(self, calibration: Calibration) -> Self:
        """Learn from calibration images; raises Excused where model or images do not allow it."""
        return self

    @abstractmethod
    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]`: higher = more likely OOD, finite, detached."""

    def logits_after(self, batch: Representation) -> Tensor | None:
        """Logits `[B,K]` after this detector's intervention on the feature; None without one."""
        return None

    def learned_from_pixels(self) -> Tensor | None:
        """What `fit` learned from pixels, to be stored for `Calibration.learned`, if anything."""
        return None

    @classmethod
    def knobs(cls) -> tuple[Knob, ...]:
        """The settings this detector takes."""
        return tuple(
            Knob(name=f.name, default=f.default, **f.metadata)
            for f in fields(cls)
            if f.default is not MISSING and f.metadata
        )

    def settings(self) -> dict[str, Any]:
        """The value of every knob."""
        return {item.name: getattr(self, item.name) for item in self.knobs()}

    def frozen(self) -> dict[str, Any]:
        """The settings with which another one, fitted alike, has nothing left to choose."""
        return self.settings()

    @classmethod
    def former_settings(cls) -> dict[str, Any]:
        """The knobs that once were not, as runs of then mean them."""
        return {item.name: item.former for item in cls.knobs() if item.former is not None}

    @classmethod
    def configured(cls, values: Mapping[str, Any]) -> Self:
        """This detector with some knobs set; raises SpecError for an unknown knob or value."""
        return cls(**parsed_settings(cls.name, cls.knobs(), values))


__all__ = [
    "Calibration",
    "Detector",
    "Excused",
    "Fit",
    "Need",
    "Representation",
    "Surrogates",
    "knob",
]
