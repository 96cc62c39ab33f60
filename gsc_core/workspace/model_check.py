"""What a worker finds out about a classifier that was added: whether it fits, and its facts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from gsc_core import imagenet
from gsc_core.audit.checks.inputs import normalisation
from gsc_core.audit.inputs import device_of
from gsc_core.classifier import ModelSpec
from gsc_core.classifier.arithmetic import Precision
from gsc_core.classifier.guard import said_by
from gsc_core.classifier.load import Classifier, load_classifier
from gsc_core.classifier.network import Network
from gsc_core.classifier.programs.ending import may_be_bounded
from gsc_core.classifier.programs.scale import Scale, probabilities_refused, scale_of
from gsc_core.classifier.split import default_split, splits
from gsc_core.errors import CheckpointError, ImageError
from gsc_core.images.decode import decode
from gsc_core.progress import Progress
from gsc_core.workspace.model_facts import MAX_IMAGES, ModelFacts, Prediction, SplitFacts

BATCH = 8
_SECONDS, _RUNS = 2.0, 10  # to measure the speed: whichever comes first


def examine(
    spec: ModelSpec,
    images: Sequence[Path] = (),
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> ModelFacts:
    """Load a classifier, run it, and let it name some images.

    Raises CheckpointError or SpecError when it does not fit: the sentence says why.
    """
    on_progress(Progress("opening the model", 0, 1))
    classifier = load_classifier(spec)
    layers = splits(classifier.program)
    usual = default_split(layers)
    device = device_of("auto")
    network = Network(classifier.program, None, device, Precision.of("auto", device))
    on_progress(Progress("measuring its speed", 0, 1))
    seconds = _speed(network, classifier)
    on_progress(Progress("classifying some images", 0, 1))
    check = normalisation(classifier, images)
    return ModelFacts(
        sha256=classifier.sha256,
        source=classifier.source,
        architecture=classifier.architecture,
        num_classes=classifier.num_classes,
        class_names=classifier.class_names,
        parameters=classifier.parameters,
        input_size=classifier.preprocessing.crop,
        preprocessing=classifier.preprocessing,
        splits=tuple(
            SplitFacts(name=s.name, shape=s.shape, linear=s.linear, default=s is usual)
            for s in layers
        ),
        seconds_per_image=seconds,
        predictions=tuple(_named(network, classifier, images)),
        device=str(network.device),
        checks=() if check is None else (check,),
        notes=classifier.notes,
    )


def _speed(network: Network, classifier: Classifier) -> float:
    """Seconds an image of noise: the fastest of several batches, least disturbed by others."""
    images = torch.randn(BATCH, *classifier.preprocessing.shape, device=network.device)
    logits = _logits(network, classifier, images)  # which also warms it up
    if not bool(logits.isfinite().all()):
        raise CheckpointError(
            f"{classifier.source} gives values that are not numbers: check its weights and its "
            "preprocessing."
        )
    scale = scale_of(logits, bounded=may_be_bounded(classifier.program))
    if scale in (Scale.PROBABILITIES, Scale.UNIT):
        raise CheckpointError(probabilities_refused(scale, classifier.source, "noise"))
    times: list[float] = []
    while len(times) < _RUNS and (sum(times) < _SECONDS or len(times) < 2):
        started = time.perf_counter()
        _logits(network, classifier, images)
        times.append(time.perf_counter() - started)
    return min(times) / BATCH


def _logits(network: Network, classifier: Classifier, images: torch.Tensor) -> torch.Tensor:
    try:
        with torch.no_grad():
            return network(images).cpu()  # which waits for the device
    except RuntimeError as error:
        raise CheckpointError(
            f"{classifier.source} cannot be run on {len(images)} images at once "
            f"({said_by(error)}): export it again."
        ) from error


def _named(network: Network, classifier: Classifier, paths: Sequence[Path]) -> list[Prediction]:
    named = []
    names = classifier.class_names
    if names is None and imagenet.is_meant_by(map(str, paths), classifier.num_classes):
        names = imagenet.class_names()
    for path in paths[:: max(1, len(paths) // MAX_IMAGES)][:MAX_IMAGES]:
        try:
            pixels = classifier.preprocessing.resize_crop(decode(path))[None]
        except ImageError:
            continue  # it is told where the set is shown
        images = classifier.preprocessing.normalise(pixels.to(network.device))
        share, index = _logits(network, classifier, images).softmax(dim=1)[0].max(dim=0)
        name = names[int(index)] if names else f"class {int(index)}"
        named.append(Prediction(file=str(path), class_name=name, confidence=float(share)))
    return named
