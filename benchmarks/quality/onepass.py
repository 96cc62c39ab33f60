"""Each image is decoded for the benchmark and passes the network once, whoever asks for it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmarks.quality.subjects import Subject
from gsc_core.classifier.network import Network
from gsc_core.detectors.base import Detector, Need, Representation
from gsc_core.images import ImageSet, class_indices, partition
from gsc_core.scoring.loading import Pace, read_batches
from gsc_core.scoring.scorer import Scorer

BATCH = 16  # of a CPU's cache
CALIBRATION_SHARE = 0.5

_WHOLE = Need.FEATURES | Need.FEATURE_MAP | Need.GRADIENT | Need.LAYERS

Seen = dict[bytes, Representation]


class Remembering(Scorer):
    """A scorer that remembers what the network made of each image, by the image's pixels.

    So an audit's own `calibrate` can be run on split after split: only its surrogate outliers, made
    anew from each split's images, are new to the network. `seen` is shared by the scorers of one
    network; it holds maps and gradients, but no pixels.
    """

    def __init__(self, subject: Subject, network: Network, each: Sequence[Detector], seen: Seen):
        super().__init__(network, subject.classifier.preprocessing, each)
        self._seen = seen

    @property
    def needs(self) -> Need:
        """All that one pass yields: an image is passed before it is asked who reads it."""
        return super().needs | _WHOLE

    def represent(self, pixels: Tensor) -> Representation:
        """One pass over `pixels [B,3,H,W]` uint8, or none where all of them are known."""
        keys = [hashlib.sha256(picture.numpy().data).digest() for picture in pixels]
        if not all(key in self._seen for key in keys):
            made = super().represent(pixels)
            bare = replace(made, images=None)
            self._seen.update((key, bare[at : at + 1]) for at, key in enumerate(keys))
            return made
        known = Representation.cat([self._seen[key] for key in keys])
        if Need.IMAGES not in self.needs:
            return known
        return replace(known, images=self.preprocessing.normalise(pixels))


@dataclass(frozen=True)
class Shown:
    """All images of a subject: `pixels [N,3,H,W]` uint8; `row` by the digest of a file."""

    pixels: Tensor
    row: Mapping[str, int]

    @classmethod
    def read(cls, subject: Subject, pace: Pace) -> Shown:
        """Decode every image; one that is broken is left out."""
        sets = (subject.known, *subject.ood.values())
        unique = list({image.sha256: image for each in sets for image in each.images}.values())
        pixels: list[Tensor] = []
        row: dict[str, int] = {}
        for batch in read_batches(
            unique, subject.classifier.preprocessing, pace.batch_size, pace.threads
        ):
            row.update({image.sha256: len(row) + at for at, image in enumerate(batch.images)})
            pixels += [batch.pixels] if batch.images else []
            pace.step("decoding", len(row), len(unique))
        return cls(torch.cat(pixels), row)

    def rows(self, images: ImageSet) -> Tensor:
        """Rows of a set's images, in their order."""
        return torch.tensor([self.row[i.sha256] for i in images.images if i.sha256 in self.row])

    def batches(self, rows: Tensor | None = None) -> Iterator[Tensor]:
        """Pixels of some or all images, some at a time."""
        chosen = torch.arange(len(self.pixels)) if rows is None else rows
        return (self.pixels[part] for part in torch.split(chosen, BATCH))


@dataclass(frozen=True)
class Division:
    """One division of the ID images into halves.

    `calibration` holds the files to calibrate on and `calibration_rows [N]` their rows of `Shown`;
    `test` the rows of the other half ("id") and of each OOD set. `label_of` gives the class index
    by digest.
    """

    seed: int
    calibration: ImageSet
    calibration_rows: Tensor
    test: Mapping[str, Tensor]
    label_of: Mapping[str, int]
    labels: Tensor
    id_labels: Tensor

    @classmethod
    def of(cls, subject: Subject, shown: Shown, seed: int) -> Division:
        """Divide as an audit with this seed does."""
        sets = partition(subject.known, CALIBRATION_SHARE, subject.ood, seed)
        pictures, classifier = subject.known.images, subject.classifier
        names = [picture.label for picture in pictures]
        match = class_indices(names, classifier.class_names, classifier.num_classes)
        digests = (picture.sha256 for picture in pictures)
        label_of = dict(zip(digests, match.indices, strict=True))

        def labels(images: ImageSet) -> Tensor:
            digests = (image.sha256 for image in images.images)
            return torch.tensor([label_of[each] for each in digests if each in shown.row])

        return cls(
            seed=seed,
            calibration=sets.calibration,
            calibration_rows=shown.rows(sets.calibration),
            test={name: shown.rows(images) for name, images in sets.test.items()},
            label_of=label_of,
            labels=labels(sets.calibration),
            id_labels=labels(sets.test["id"]),
        )
