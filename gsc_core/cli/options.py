"""Options of the command line that several commands take, and what they mean."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gsc_core.errors import SpecError

if TYPE_CHECKING:
    from gsc_core.classifier import ModelSpec
    from gsc_core.images.sources.uri import Uri

Checkpoint = Annotated[
    Path | None,
    typer.Option(
        "--model", help="A .pt2, .safetensors, .pt or .pth file, or a Hugging Face folder."
    ),
]
Architecture = Annotated[
    str | None,
    typer.Option("--arch", help="For a file of weights: torchvision/NAME or timm/NAME."),
]
Pretrained = Annotated[
    bool,
    typer.Option("--pretrained", help="Use the architecture's own weights from its library."),
]
OptionTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        help="An argument of the architecture's constructor, as NAME=VALUE: aux_logits=false, "
        "img_size=96; may be given several times.",
    ),
]
WeightsName = Annotated[
    str | None,
    typer.Option(
        "--weights",
        help="Which weights, where a file holds several: plain, ema (the average over training), "
        "or what their names begin with.",
    ),
]
Preprocess = Annotated[
    str | None,
    typer.Option(
        "--preprocess",
        help="resize=256,crop=224,interpolation=bicubic,mean=0.5,std=0.5: one value or three "
        "separated by /; pixel values in 0…1. resize=224x224 does not keep the aspect; "
        "resize=224,crop_mode=border,fill=0 pads to a square.",
    ),
]
Names = Annotated[
    Path | None,
    typer.Option(
        "--class-names",
        help="Class names: a .txt (one per line) or .json file, or imagenet for its 1,000.",
    ),
]

IdSet = Annotated[
    str,
    typer.Option(
        "--id",
        help="Familiar images (ID), of the kind the model was made for: a folder or ZIP; a CSV or "
        "Parquet with the columns uri and label; tar shards; or a prefix such as s3://bucket/photos.",
    ),
]
Calibration = Annotated[
    str,
    typer.Option(help="A folder of further familiar images, or the share of --id to set aside."),
]
OodSets = Annotated[
    list[str],
    typer.Option(
        "--ood", help="Unfamiliar images (OOD) as NAME=DIR, or any other source; may be repeated."
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        help="A CSV table with the columns file and label for --id; or folders, to take the names "
        "of its folders."
    ),
]
CalibrationLabels = Annotated[
    Path | None,
    typer.Option(help="The same for a --calibration folder."),
]
LabelOrderName = Annotated[
    Literal[
        "names", "numeric", "wordnet", "text", "from-1", "natural", "text-from-1", "text-decomposed"
    ]
    | None,
    typer.Option(
        "--label-order",
        help="How labels stand for classes: by their names, as numbers (from 0), from-1, or sorted "
        "as text (ImageFolder) or natural (timm). By default the first that fits, compared with "
        "the predictions.",
    ),
]
DetectorNames = Annotated[
    str,
    typer.Option(
        help="Names such as gsc-auto,knn:k=10,gsc-auto+react (the mean of their ranks), or all; "
        "see `gsc detectors`."
    ),
]
GscConfig = Annotated[
    Path | None,
    typer.Option(help="A file written by `gsc tune`: sets gsc-auto, auto-ensemble and --split."),
]
SplitName = Annotated[str | None, typer.Option(help="Where GSC cuts; see `gsc splits`.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
PrecisionName = Annotated[
    Literal["auto", "float32", "bf16"],
    typer.Option(
        help="auto: TF32 on CUDA, float32 elsewhere. float32: nothing is rounded. "
        "bf16: faster, and scores differ."
    ),
]
Compiled = Annotated[
    bool,
    typer.Option("--compile", help="On CUDA: compile the network; used where that is faster."),
]
BatchSize = Annotated[
    int | None,
    typer.Option(help="Images in a batch; by default 8 on a CPU, and found by trial on CUDA."),
]
Threads = Annotated[int, typer.Option(help="Threads that decode images.")]
DecoderProcesses = Annotated[
    int | None,
    typer.Option(
        "--decoders",
        help="At most this many processes that decode images, 0 for --threads alone; by default "
        "what suits the images, the cores and the network.",
    ),
]
EngineName = Annotated[
    Literal["local", "ray"],
    typer.Option(help="What scores the test images: this process, or actors on a Ray cluster."),
]
RayAddress = Annotated[
    str | None,
    typer.Option(help="The cluster of --engine ray; by default one is started here for the audit."),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Actors of --engine ray; by default one per GPU, or one per CPU."),
]
Seed = Annotated[int, typer.Option(help="The seed of everything random.")]
Profile = Annotated[
    bool, typer.Option("--profile", help="Print where the time went, on standard error.")
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the whole result as one JSON document.")
]


def model_spec(
    checkpoint: Path | None,
    arch: str | None,
    pretrained: bool,
    preprocess: str | None,
    class_names: Path | None,
    options: list[str] | None = None,
    weights: str | None = None,
) -> ModelSpec:
    """The model that the options name. Raises SpecError."""
    from gsc_core.classifier import ModelSpec, Preprocessing
    from gsc_core.classifier.options import parse_options

    return ModelSpec(
        checkpoint=checkpoint,
        architecture=arch,
        options=parse_options(options or ()),
        weights=weights,
        pretrained=pretrained,
        preprocessing=None if preprocess is None else Preprocessing.parse(preprocess),
        class_names=_class_names(class_names),
    )


def _class_names(path: Path | None) -> Literal["imagenet"] | Path | None:
    """ImageNet's by its name, unless that is a file here."""
    return "imagenet" if path == Path("imagenet") and not path.exists() else path


def image_source(text: str) -> Path | Uri:
    """A path, or an address in a bucket. Raises ImageError."""
    from gsc_core.images.sources.uri import source_of

    return source_of(text)


def named_folders(named: list[str]) -> dict[str, Path | Uri]:
    """OOD sets by name, from `NAME=DIR` each. Raises SpecError."""
    folders: dict[str, Path | Uri] = {}
    for text in named:
        name, folder = _name_and_folder(text)
        if name in folders:
            raise SpecError(f"Two OOD sets are named {name!r}; give each its own name.")
        folders[name] = image_source(folder)
    return folders


def _name_and_folder(text: str) -> tuple[str, str]:
    """Both may hold `=` themselves: the first cut with a path that exists, else the first."""
    cuts = [at for at in range(1, len(text) - 1) if text[at] == "="]
    if not cuts:
        raise SpecError(f"--ood {text!r} must be NAME=DIR, such as textures=photos/textures.")
    at = next((at for at in cuts if os.path.lexists(text[at + 1 :])), cuts[0])
    return text[:at], text[at + 1 :]


def share_or_folder(text: str) -> float | Path | Uri:
    """What `--calibration` asks for. Raises SpecError for a share out of 0 to 1."""
    try:
        share = float(text)
    except ValueError:
        return image_source(text)
    if not 0 < share < 1:
        raise SpecError(f"--calibration {text} must be a folder, or a share between 0 and 1.")
    return share
