"""What an audit starts from: the device, the images of its sets, their labels, their decoders."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from os.path import commonpath
from pathlib import Path, PurePosixPath

import torch

from gsc_core.audit.spec import AuditSpec
from gsc_core.classifier.arithmetic import Precision
from gsc_core.classifier.load import Classifier
from gsc_core.classifier.network import Network
from gsc_core.errors import SpecError
from gsc_core.errors.questions import OF_CALIBRATION, Answer, Question, Setting
from gsc_core.files import writing_to
from gsc_core.images import ImageSet, Partition, class_indices, partition, read_images
from gsc_core.images.class_orders import LabelOrder
from gsc_core.images.dataset_parts import repeated_folders
from gsc_core.images.sources.uri import EVERYWHERE, Reach
from gsc_core.scoring.decoders import Decoders

_MARKER = ".gsc-audit"  # marks the folder of what ZIPs hold, which is there before spec.json is


def device_of(name: str) -> torch.device:
    """The device of a setting; `auto` takes CUDA, then MPS, then the CPU. Raises SpecError."""
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        return accelerator or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.ones(1, device=device).tolist()  # `meta` has no values to give
    except (RuntimeError, AssertionError, ImportError) as error:
        raise SpecError(f"This machine has no device {name!r}: try auto.") from error
    return device


def network_of(
    spec: AuditSpec, classifier: Classifier, split: str | None, device: torch.device
) -> Network:
    """The classifier cut at a layer, on a device, in the precision of the specification.

    Raises SpecError for a layer that is not there, and a precision that the device has not.
    """
    return Network(classifier.program, split, device, Precision.of(spec.precision, device))


def in_use(out: Path) -> str:
    """The sentence for a folder into which another process writes."""
    return (
        f"Another audit or ablation is writing to {out}: wait until it has ended, or choose "
        "another folder."
    )


def batch_size(spec: AuditSpec, device: torch.device) -> int:
    """Images at a time: what was asked for, else what suits the device."""
    return spec.batch_size or (8 if device.type == "cpu" else 64)


def decoders_of(spec: AuditSpec, device: torch.device, images: int) -> Decoders:
    """What decodes so many images for a network on this device; not started yet."""
    return Decoders(spec.threads, spec.decoders, images, pinned=device.type == "cuda")


@contextmanager
def unpacking(folder: Path) -> Iterator[Path]:
    """A folder for what ZIPs hold, emptied of an earlier try; nothing is left after an error."""
    shutil.rmtree(folder, ignore_errors=True)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    with writing_to(folder):
        folder.mkdir(parents=True)
        (folder / _MARKER).touch()
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # somebody else put something there meanwhile
            for path in made[1:]:
                path.rmdir()
        raise
    if {path.name for path in folder.iterdir()} == {_MARKER}:  # there was no ZIP
        shutil.rmtree(folder)


def begun(folder: Path) -> bool:
    """Whether `unpacking` made this folder, and did not come to its end."""
    return (folder / _MARKER).exists()


def read_sets(
    spec: AuditSpec, unpacked: Path, *, with_labels: bool = True, reach: Reach = EVERYWHERE
) -> Partition:
    """The images of an audit, told apart; what ZIPs hold goes into `unpacked`.

    `reach` is which addresses its sources may name.

    Raises ImageError or SpecError for what cannot be read or told apart, and for doubtful labels
    unless the work does without (`with_labels`).
    """
    id_images = read_images(spec.id, "id", unpacked / "id", spec.labels, reach)
    if with_labels:
        id_images.with_sure_labels(str(spec.id))
    calibration: ImageSet | float
    if not isinstance(spec.calibration, float):
        calibration = read_images(
            spec.calibration,
            "calibration",
            unpacked / "calibration",
            spec.calibration_labels,
            reach,
        )
        if with_labels:
            calibration.with_sure_labels(str(spec.calibration), OF_CALIBRATION)
    else:
        calibration = spec.calibration
    ood = {
        name: read_images(source, name, unpacked / name.encode().hex(), reach=reach)
        for name, source in spec.ood.items()
    }
    return partition(id_images, calibration, ood, spec.seed)


@dataclass(frozen=True)
class ImageLabels:
    """The classes of the ID images, by the digests of the images.

    Attributes:
        indices: class index of each, −1 unknown.
        rule: in words, how the labels were matched with the classes.
        order: the name of that rule; None where none fits.
        others: the same by each other order that the labels allow; none where one was asked for.
    """

    indices: Mapping[str, int]
    rule: str
    order: LabelOrder | None
    others: Mapping[LabelOrder, Mapping[str, int]]


def _require_one_meaning(
    spec: AuditSpec, sets: Partition, classifier: Classifier, order: LabelOrder | None
) -> None:
    """Raise SpecError where folders are labels and those inside them could be, too."""
    images = sets.test["id"].images
    repeated = repeated_folders([image.name for image in images])
    if repeated is None or spec.labels is not None or order == "names":
        return
    outer, inner = repeated
    if not {image.label for image in images} <= set(outer):
        return  # the labels come from a table
    match = class_indices(inner, classifier.class_names, classifier.num_classes)
    if match.order is not None:
        above = commonpath([PurePosixPath(image.name).parent for image in images])
        question = Question(
            doubt=f"{spec.id} holds the folders {', '.join(inner[:3])} in each of its folders "
            f"{', '.join(outer[:3])}",
            answers=(
                Answer.of(Setting.PART, PurePosixPath(above, outer[0]).as_posix()),
                Answer.of(Setting.LABELS, "folders", f"if {', '.join(outer[:3])} are the classes"),
            ),
        )
        raise SpecError.asking(question)


def labels_of(spec: AuditSpec, sets: Partition, classifier: Classifier) -> ImageLabels:
    """The classes of all ID images.

    Raises SpecError where their labels do not allow the order, or could be the folders within.
    """
    images = [*sets.calibration.images, *sets.test["id"].images]
    names = [image.label for image in images]
    match = class_indices(names, classifier.class_names, classifier.num_classes, spec.label_order)

    def by_digest(indices: Sequence[int]) -> dict[str, int]:
        return {image.sha256: index for image, index in zip(images, indices, strict=True)}

    others = {order: by_digest(indices) for order, indices in match.others.items()}
    _require_one_meaning(spec, sets, classifier, match.order)
    rule = " ".join(filter(None, (match.how, sets.test["id"].label_source)))
    return ImageLabels(by_digest(match.indices), rule, match.order, others)
