"""What an audit is asked to do, as it is stored in `spec.json`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gsc_core.classifier import ModelSpec
from gsc_core.classifier.spec import PrecisionSetting
from gsc_core.errors import SpecError
from gsc_core.images.class_orders import LabelOrder
from gsc_core.images.sources.uri import ImageSource
from gsc_core.run.layout import SPEC_FILE

if TYPE_CHECKING:
    from gsc_core.detectors.base import Detector

RESERVED = ("id", "calibration", "mean")
MAX_CHARACTERS, MAX_BYTES = 60, 100  # of an OOD set's name, from which files are named


class DetectorSpec(BaseModel):
    """A detector by name, with the knobs that differ from their defaults.

    >>> from gsc_core import DetectorSpec
    >>> DetectorSpec(name="knn", settings={"k": 10}).build().settings()["k"]
    10
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    settings: dict[str, Any] = {}

    @classmethod
    def of(cls, detector: Detector) -> DetectorSpec:
        """The specification of a detector that was built already."""
        usual = {knob.name: knob.default for knob in detector.knobs()}
        changed = {
            name: value for name, value in detector.settings().items() if value != usual[name]
        }
        return cls(name=detector.name, settings=changed)

    def build(self) -> Detector:
        """A fresh detector; raises SpecError for an unknown name or knob."""
        from gsc_core.detectors.catalogue import find  # noqa: PLC0415 - heavy

        return find(self.name).configured(self.settings)


class AuditSpec(BaseModel):
    """What to audit, on which images, with which detectors.

    Attributes:
        id: images the classifier was made for, with labels where known: a folder or a ZIP; a
            manifest (`.csv` or `.parquet` with the columns uri and label), tar shards, Parquet with
            a column of images, or a prefix in a bucket (`s3://`, `gs://`, `az://`).
        ood: sets of images it was not made for, by name.
        calibration: a folder of further ID images, or the share of `id` to set apart.
        labels: a CSV table for `id`, where class folders do not give them; or `folders`, where
            those are right and a table beside them is not.
        calibration_labels: the same for a folder of further ID images.
        label_order: how labels stand for classes, see `images.class_orders`; None takes the first
            order that fits, and asks where the predictions fit another far better.
        split: the layer at which GSC cuts the network; None takes the deepest block
            with a non-linearity, and 1 to 40 % of the operations, after it.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
        precision: of the network; `auto` is TF32 on CUDA and float32 elsewhere.
        compiled: whether to compile the network's forward passes, on CUDA alone; kept where that
            is seen to be faster.
        batch_size: images at a time; None takes 8 on a CPU, whose cache that fits, else 64.
        threads: how many threads decode images, as long as no process does.
        decoders: at most so many processes decode images; 0 leaves it to the threads, None to the
            number of images, the cores and the pace of the network.
        engine: what scores the test images: this process, or actors on a Ray cluster.
        ray_address: of the cluster; None starts one on this machine for the time of the audit.
        workers: how many actors score there; None takes as many as there are GPUs, else CPUs.
        tuned_on: digests of the images that settings from a file of `gsc tune` were learned from,
            whose scores then set no threshold in sample; None without such a file.
        repeats: bootstrap replicates behind the intervals of AUPR and detection error.

    >>> from gsc_core import AuditSpec
    >>> stored = Path("result/spec.json").read_text(encoding="utf-8")
    >>> list(AuditSpec.model_validate_json(stored).ood)
    ['textures', 'noise']
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: ModelSpec
    id: ImageSource
    ood: dict[str, ImageSource] = Field(min_length=1)
    calibration: Annotated[float, Field(gt=0, lt=1)] | ImageSource = 0.5
    labels: Literal["folders"] | Path | None = None
    calibration_labels: Literal["folders"] | Path | None = None
    label_order: LabelOrder | None = None
    detectors: tuple[DetectorSpec, ...] = Field(min_length=1)
    split: str | None = None
    device: str = "auto"
    precision: PrecisionSetting = "auto"
    compiled: bool = False
    batch_size: int | None = Field(default=None, ge=1, le=4096)
    threads: int = Field(default=2, ge=1, le=64)
    decoders: int | None = Field(default=None, ge=0, le=64)
    engine: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    workers: int | None = Field(default=None, ge=1, le=1024)
    tuned_on: tuple[str, ...] | None = None
    seed: int = Field(default=0, ge=0)
    repeats: int = Field(default=1000, ge=10)

    @classmethod
    def of_run(cls, folder: Path) -> AuditSpec:
        """What a run's folder says was audited; raises SpecError when it does not say."""
        try:
            return cls.model_validate_json((folder / SPEC_FILE).read_bytes())
        except OSError as error:
            raise SpecError(
                f'The run "{folder.name}" has no {SPEC_FILE}, so its audit cannot be repeated: '
                "run the audit again."
            ) from error
        except ValidationError as error:
            raise SpecError(
                f'The file {SPEC_FILE} of run "{folder.name}" is damaged: run the audit again.'
            ) from error

    @field_validator("ood")
    @classmethod
    def _names_are_free(cls, ood: dict[str, ImageSource]) -> dict[str, ImageSource]:
        for name in ood:
            fits = 0 < len(name) <= MAX_CHARACTERS and name.isprintable()
            if name in RESERVED or not fits or len(name.encode()) > MAX_BYTES:
                raise ValueError(
                    f"An OOD set cannot be named {name!r}: use 1 to {MAX_CHARACTERS} characters "
                    f"({MAX_BYTES} bytes), and not {', '.join(RESERVED)}"
                )
        return ood
