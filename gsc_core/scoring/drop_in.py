"""Our detectors in pytorch-ood's own loops: its `fit(loader)`, `predict(x)`, metrics and search.

Labels of 0 and more are in-distribution there, negative ones out-of-distribution:

    detector = PytorchOodDetector(model, GSC(share=0.1), Preprocessing()).fit(train_loader)
    metrics = pytorch_ood.metrics.OODMetrics()
    for x, y in test_loader:
        metrics.update(detector(x), y)
    print(metrics.compute()["AUROC"])
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice
from typing import Any, Self

import torch
from pytorch_ood import api
from pytorch_ood.utils import is_known
from torch import Tensor, nn
from torch.export import ExportedProgram

from gsc_core.classifier import Preprocessing
from gsc_core.classifier.network import Network
from gsc_core.classifier.programs.program import export
from gsc_core.detectors.base import Calibration, Detector, Fit, Need, Representation, Surrogates
from gsc_core.detectors.gsc import GSC
from gsc_core.errors import Excused, ImageError, SpecError
from gsc_core.images.surrogates import KINDS, SURROGATES, surrogates_of_tensor
from gsc_core.scoring.calibration import SAMPLE_BYTES, SAMPLE_IMAGES
from gsc_core.scoring.onepass import represent
from gsc_core.scoring.tensors import Colours, Reservoir

Batches = Iterable[tuple[Tensor, Tensor]]

_AT_ONCE = 32  # images of the sample


class PytorchOodDetector(api.Detector):  # type: ignore[misc]
    """One of our detectors as one of pytorch-ood's: outlier scores are higher for OOD.

    A detector that reads feature maps or surrogate outliers learns from a random sample of the
    loader, bounded in images and bytes, whatever the loader's length; any other learns from all
    images and keeps their logits and features.

    Args:
        module: an image classifier, `[B,3,H,W]` to logits `[B,K]`. It is copied as it is now, and
            put in eval mode; train it further, and you need a new detector.
        detector: ours, `GSC()` if none is given.
        preprocessing: with whose mean and standard deviation the loader's images were normalised.
            Without it, surrogate outliers are cut off at the sample's own darkest and brightest.
        split: the layer at which the network is cut.
        seed: of the sample and the surrogate outliers.

    >>> import torch
    >>> from torchvision.models import resnet18
    >>> from gsc_core import DetectorSpec, PytorchOodDetector
    >>> energy = PytorchOodDetector(resnet18(num_classes=5), DetectorSpec(name="energy").build())
    >>> energy.predict(torch.rand(3, 3, 64, 64)).shape
    torch.Size([3])
    """

    def __init__(
        self,
        module: nn.Module,
        detector: Detector | None = None,
        preprocessing: Preprocessing | None = None,
        split: str | None = None,
        seed: int = 0,
    ) -> None:
        self.detector = GSC() if detector is None else detector
        self.preprocessing, self.split, self.seed = preprocessing, split, seed
        self.requires_fit = bool(self.detector.fitted_with)
        self.hyperparameter_space = {
            knob.name: list(knob.choices) for knob in self.detector.knobs() if knob.choices
        }
        self.info = _info(self.detector)
        tensors = chain(module.parameters(), module.buffers())
        self._device = next((tensor.device for tensor in tensors), torch.device("cpu"))
        with torch.inference_mode(False):  # here and below: in any mode of the loop around
            self._module = copy.deepcopy(module).cpu()
        self._size: tuple[int, ...] = ()
        self._program: ExportedProgram | None = None
        self._network: Network | None = None
        self._calibration: Calibration | None = None

    def fit(self, data_loader: Batches) -> Self:
        """Learn from the batches `(x [B,3,H,W], y [B])`, leaving out the OOD images (`y < 0`).

        Raises ImageError when there is no ID image, CheckpointError when the module is not an image
        classifier that can be exported, SpecError when the detector cannot be used on it.
        """
        self._calibration = None
        with torch.inference_mode(False):
            reads = self.detector.needs & ~(Need.LOGITS | Need.FEATURES | Need.LAYERS)
            sampled = bool(reads) or Fit.SURROGATES in self.detector.fitted_with
            id_batches = self._id_batches(data_loader)
            if not self.requires_fit:
                id_batches = islice(id_batches, 1)  # it takes no more than the network
            self._learn(self._from_sample(id_batches) if sampled else self._from_all(id_batches))
        return self

    def predict(self, x: Tensor) -> Tensor:
        """Outlier scores `[B]` of images `[B,3,H,W]`, without a graph, on the device of `x`.

        Raises pytorch-ood's RequiresFittingException before `fit` if there is something to learn.
        """
        if self._calibration is None:
            if self.requires_fit:
                raise api.RequiresFittingException
            self.fit([(x, torch.zeros(len(x)))])  # what learns nothing takes the network alone
        with torch.inference_mode(False):
            self._check(x)
            return self.detector.score(self._represent(x)).detach().float().to(x.device)

    def get_hyperparameters(self) -> dict[str, Any]:
        """The value of every knob in the search space."""
        return {name: self.detector.settings()[name] for name in self.hyperparameter_space}

    def set_hyperparameters(self, **kwargs: Any) -> Self:
        """Set any knobs of the detector; if it was fitted, it is fitted again on the same images.

        Raises SpecError for an unknown knob or value.
        """
        settings = self.detector.settings() | kwargs
        self.detector = type(self.detector).configured(settings)
        if self._calibration is not None:
            self._learn(self._calibration)
        return self

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self._device

    def to(self, device: str | torch.device) -> Self:
        """Compute on `device` from here on; if it was fitted, it is fitted again there."""
        if (device := torch.device(device)) != self._device:
            self._device = device
            if self._program is not None:
                self._network = Network(self._program, self.split, device)
            if self._calibration is not None:
                self._learn(_moved(self._calibration, self._cut))
        return self

    @property
    def _cut(self) -> Network:
        assert self._network is not None, "_export() comes first"
        return self._network

    def _learn(self, calibration: Calibration) -> None:
        self._calibration = None
        try:
            with torch.inference_mode(False):
                self.detector.fit(calibration)
        except Excused as reason:
            raise SpecError(f"{self.detector.name} cannot be used here: {reason}.") from reason
        self._calibration = calibration

    def _id_batches(self, batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
        """The ID images of each batch and their classes; the first one tells the size."""
        some = False
        for x, y in batches:
            is_id = is_known(y)
            if not bool(is_id.any()):
                continue
            if not some:
                self._export(x)
            self._check(x)
            some = True
            yield x[is_id.to(x.device)], y[is_id].to(self._device, torch.long)
        if not some:
            raise ImageError("No image to fit on has a label of 0 or more: give familiar images.")

    def _export(self, x: Tensor) -> None:
        """Export and cut the module for images of this size, unless it is."""
        if (size := tuple(x.shape[2:])) != self._size and len(size) == 2:
            self._program = export(self._module, size, type(self._module).__name__)
            self._network = Network(self._program, self.split, self._device)
            self._size = size

    def _check(self, x: Tensor) -> None:
        if not x.is_floating_point() or x.shape[1:] != (3, *self._size):
            wanted = "×".join(map(str, self._size)) or "any"
            raise SpecError(
                f"Images must be preprocessed floats [B, 3, height, width] of one size, {wanted} "
                f"pixels; these are {str(x.dtype).removeprefix('torch.')} {list(x.shape)}."
            )

    def _represent(self, x: Tensor) -> Representation:
        x = x.detach().to(self._device, torch.float32)
        return represent(self._cut, x, self.detector.needs | Need.LOGITS)

    def _from_all(self, id_batches: Iterable[tuple[Tensor, Tensor]]) -> Calibration:
        done = [(self._represent(x), y) for x, y in id_batches]
        whole = Representation.cat([part for part, _ in done])
        labels = torch.cat([y for _, y in done])
        sample = whole[:SAMPLE_IMAGES]
        return Calibration(
            self._cut, whole.logits, whole.features, labels, sample, layers=whole.layers
        )

    def _from_sample(self, id_batches: Iterable[tuple[Tensor, Tensor]]) -> Calibration:
        reservoir = Reservoir(self.seed)
        for x, y in id_batches:
            reservoir.add(x, y)
        images, labels = reservoir.shuffled()
        sample = self._sampled(images)
        n = len(sample)
        return Calibration(
            self._cut,
            sample.logits,
            sample.features,
            labels[:n],
            sample,
            self._surrogates(images[:n]),
            layers=sample.layers,
        )

    def _sampled(self, images: Tensor) -> Representation:
        """One pass over as many images as there is room for beside their surrogates."""
        first = self._represent(images[:_AT_ONCE])
        image_bytes = sum(tensor[0].nbytes for tensor in vars(first).values() if tensor is not None)
        most = max(2, SAMPLE_BYTES // (2 * image_bytes))
        return Representation.cat([first, *self._represented(images[_AT_ONCE:most])])[:most]

    def _represented(self, images: Tensor) -> Iterator[Representation]:
        for at in range(0, len(images), _AT_ONCE):
            yield self._represent(images[at : at + _AT_ONCE])

    def _surrogates(self, images: Tensor) -> Surrogates | None:
        """One pass over surrogate outliers of the sample, as many as it has images."""
        if not self.requires_fit or len(images) < 2:
            return None
        colours = Colours.of(images, self.preprocessing)
        some = colours.pixels(images[: max(2, len(images) // len(SURROGATES))])
        made = colours.images(surrogates_of_tensor(some, SURROGATES, self.seed))
        kinds = torch.tensor([KINDS.index(kind) for kind in SURROGATES]).repeat(len(some))
        return Surrogates.of(Representation.cat(list(self._represented(made))), kinds)


def _info(detector: Detector) -> api.DetectorInfo:
    paper = detector.paper
    cited = paper and api.Paper(paper.title, paper.venue, paper.year, paper.url)
    return api.DetectorInfo(tasks={api.Task.CLASSIFICATION}, paper=cited, ai_coded=True)


def _moved(calibration: Calibration, network: Network) -> Calibration:
    """The calibration for the same network on another device."""
    device, features, surrogates = network.device, calibration.features, calibration.surrogates
    return replace(
        calibration,
        network=network,
        logits=calibration.logits.to(device),
        features=None if features is None else features.to(device),
        labels=calibration.labels.to(device),
        sample=calibration.sample.to(device),
        surrogates=None if surrogates is None else surrogates.to(device),
    )
