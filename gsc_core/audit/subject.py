"""What an audit is of: the model on its device and the images, and what is recorded of both."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch

from gsc_core.audit.class_names import with_shown_names
from gsc_core.audit.inputs import (
    ImageLabels,
    batch_size,
    device_of,
    labels_of,
    network_of,
    read_sets,
    unpacking,
)
from gsc_core.audit.measure import machine, versions
from gsc_core.audit.spec import AuditSpec
from gsc_core.classifier.load import Classifier, load_classifier
from gsc_core.classifier.network import Network
from gsc_core.images import ImageSet, Partition
from gsc_core.images.sources.uri import Reach
from gsc_core.images.surrogates import SURROGATES
from gsc_core.log import Step
from gsc_core.run.document import Provenance, Settings
from gsc_core.run.layout import UNPACKED_FOLDER
from gsc_core.scoring.traces import DIMENSIONS
from gsc_core.scoring.trial import compile_where_faster
from gsc_core.stopwatch import Stopwatch


@dataclass(frozen=True)
class Subject:
    """What an audit is of: the model on its device, and the images with their classes.

    `speedup` is that of the compiled network, where compiling was tried.
    """

    spec: AuditSpec
    classifier: Classifier
    network: Network
    speedup: float | None
    sets: Partition
    labels: ImageLabels


def opened(spec: AuditSpec, out: Path, reach: Reach, step: Step, watch: Stopwatch) -> Subject:
    """The model, cut in two, and the images, read once; `out` is for what has to be unpacked.

    Raises GscError for what the user can fix: in the model, the images or their labels.
    """
    step("opening the model", 0, 1)
    with watch.phase("opening the model", "reading and checking it"):
        classifier = load_classifier(spec.model)
    with watch.phase("opening the model", "cutting it in two, on its device"):
        network = network_of(spec, classifier, spec.split, device_of(spec.device))
    if watch.exact and network.device.type != "cpu":
        watch.settle = partial(torch.accelerator.synchronize, network.device)
    with watch.phase("opening the model", "compiling it"):
        network, speedup = _compiled(spec, network, classifier)
    step("reading the images", 0, 1)
    with watch.phase("reading the images"), unpacking(out / UNPACKED_FOLDER) as unpacked:
        sets = read_sets(spec, unpacked, reach=reach)
        labels = labels_of(spec, sets, classifier)
        classifier = with_shown_names(classifier, sets, labels.indices)
    return Subject(spec, classifier, network, speedup, sets, labels)


def _compiled(
    spec: AuditSpec, network: Network, classifier: Classifier
) -> tuple[Network, float | None]:
    """The network, compiled where that was asked for and is faster; how much, where it was tried.

    Raises SpecError on another device than CUDA.
    """
    if not spec.compiled:
        return network, None
    size = batch_size(spec, network.device)
    images = torch.zeros(size, *classifier.preprocessing.shape, device=network.device)
    trial = compile_where_faster(network, images)
    return trial.network, trial.speedup


def key_of(subject: Subject) -> str:
    """What makes chunks the same: model, images in their order, labels, settings, versions."""
    spec, network = subject.spec, subject.network
    settings = spec.model_dump(mode="json", include={"model", "detectors", "split", "device"})
    content = {
        "settings": settings | {"seed": spec.seed, "batch_size": spec.batch_size},
        "cut": network.split and network.split.name,
        "precision": network.precision,
        "compiled": spec.compiled,
        "traces": DIMENSIONS,
        "model": subject.classifier.sha256,
        "sets": {
            name: _digest(images, subject.labels.indices)
            for name, images in subject.sets.every().items()
        },
        "versions": versions(),
        "surrogates": [kind.name for kind in SURROGATES],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _digest(images: ImageSet, labels: Mapping[str, int]) -> str:
    lines = (f"{image.sha256} {labels.get(image.sha256)} {image.name}" for image in images.images)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def settings_of(subject: Subject, batch_size: int) -> Settings:
    """The specification as it was carried out, with what was selected on the way."""
    classifier, network = subject.classifier, subject.network
    settings = {
        **subject.spec.model_dump(mode="json"),
        "split": None if network.split is None else network.split.name,
        "precision": network.precision,
        "preprocessing": classifier.preprocessing.model_dump(mode="json"),
        "classifier": classifier.source,
        "architecture": classifier.architecture,
        "classes": classifier.num_classes,
        "class_names": classifier.class_names,
        "parameters": classifier.parameters,
        "labels": subject.labels.rule,
        "batch_size": batch_size,
        "compiled_speedup": subject.speedup,
    }
    return Settings.model_validate(settings)


def provenance_of(subject: Subject, watch: Stopwatch, started: float) -> Provenance:
    """What the figures depend on, and where, when and how fast they were made."""
    sets = subject.sets.every()
    return Provenance.model_validate(
        {
            "model_sha256": subject.classifier.sha256,
            "image_sets_sha256": {name: images.sha256 for name, images in sets.items()},
            "versions": versions(),
            "seed": subject.spec.seed,
            **machine(subject.network.device),
            "seconds": round(time.perf_counter() - started, 2),
            "phases": {name: asdict(spent) for name, spent in watch.phases().items()},
        }
    )
