"""Images that come as preprocessed tensors: a bounded sample of a stream, and images of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from gsc_core.classifier import Preprocessing
from gsc_core.errors import SpecError
from gsc_core.scoring.calibration import SAMPLE_BYTES, SAMPLE_IMAGES

_CLIPPED = 0.05  # share of values that may lie beyond black and white, as after sharpening


class Reservoir:
    """A random sample of a stream of images, bounded in number and bytes, kept on the CPU.

    Every image has the same chance, whatever the length of the stream and the size of its batches:
    Vitter 1985, ACM Transactions on Mathematical Software 11, algorithm R.
    """

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._held: list[tuple[Tensor, Tensor]] = []
        self._seen = 0

    def add(self, images: Tensor, labels: Tensor) -> None:
        """Look at the next images `[B,…]` and their labels `[B]`."""
        room = max(2, min(SAMPLE_IMAGES, SAMPLE_BYTES // images[0].nbytes))
        for image, label in zip(images, labels, strict=True):
            at = self._below(self._seen + 1) if self._seen >= room else self._seen
            self._seen += 1
            if at < room:  # a copy: a view would keep the whole batch alive
                self._held[at : at + 1] = [(image.detach().to("cpu", copy=True), label)]

    def shuffled(self) -> tuple[Tensor, Tensor]:
        """The sample `[n,…]` and its labels `[n]` in a random order."""
        order = torch.randperm(len(self._held), generator=self._generator).tolist()
        images, labels = zip(*(self._held[at] for at in order), strict=True)
        return torch.stack(images), torch.stack(labels)

    def _below(self, limit: int) -> int:
        return int(torch.randint(limit, (), generator=self._generator))


@dataclass(frozen=True)
class Colours:
    """What black and white have become by preprocessing, in each channel: `[C,1,1]`."""

    black: Tensor
    white: Tensor

    @classmethod
    def of(cls, images: Tensor, preprocessing: Preprocessing | None) -> Self:
        """By the preprocessing, or else the darkest and brightest of these images `[N,C,H,W]`.

        Raises SpecError when the images cannot have come from that preprocessing.
        """
        if preprocessing is None:
            return cls(images.amin((0, 2, 3))[:, None, None], images.amax((0, 2, 3))[:, None, None])
        channels = images.shape[1]
        ends = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).repeat(1, channels, 1, 1)
        black, white = preprocessing.for_channels(channels).normalise(ends)
        outside = (images < black - 1e-3) | (images > white + 1e-3)
        if float(outside.float().mean()) > _CLIPPED:
            raise SpecError(
                "Many values of the images lie outside of what the preprocessing can give: state "
                "the mean and standard deviation with which the loader normalises."
            )
        return cls(black, white)

    def pixels(self, images: Tensor) -> Tensor:
        """Preprocessed images as uint8 images."""
        scaled = (images - self.black) / (self.white - self.black).clamp(min=1e-12)
        return (255 * scaled).round().clamp(0, 255).to(torch.uint8)

    def images(self, pixels: Tensor) -> Tensor:
        """Images as preprocessed images."""
        return torch.lerp(self.black, self.white, pixels.float() / 255)
