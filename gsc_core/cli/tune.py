"""`gsc tune`: the settings of gsc-auto and auto-ensemble, from familiar images alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gsc_core.cli.options import (
    Architecture,
    AsJson,
    BatchSize,
    Calibration,
    Checkpoint,
    DecoderProcesses,
    Device,
    IdSet,
    OptionTexts,
    PrecisionName,
    Preprocess,
    Pretrained,
    Seed,
    SplitName,
    Threads,
    WeightsName,
    image_source,
    model_spec,
    share_or_folder,
)
from gsc_core.cli.output import (
    print_tuned,
    shown_progress,
)
from gsc_core.cli.terminal import write
from gsc_core.errors import SpecError


def tune(
    id_set: IdSet,
    out: Annotated[Path, typer.Option("--out", help="The file to write, such as gsc.json.")],
    model: Checkpoint = None,
    arch: Architecture = None,
    option: OptionTexts = None,
    weights: WeightsName = None,
    pretrained: Pretrained = False,
    preprocess: Preprocess = None,
    calibration: Calibration = "0.5",
    split: SplitName = None,
    layers: Annotated[
        str | None, typer.Option(help="Layers, separated by commas; the best one is used.")
    ] = None,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    batch_size: BatchSize = None,
    threads: Threads = 2,
    decoders: DecoderProcesses = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Choose settings of gsc-auto and auto-ensemble on familiar images for `audit --gsc-config`."""
    from gsc_core.audit.tuning import TuneSpec
    from gsc_core.audit.tuning import tune as choose

    if split is not None and layers is not None:
        raise SpecError("--split and --layers both name layers: give one of them.")
    spec = TuneSpec(
        model=model_spec(model, arch, pretrained, preprocess, None, option, weights),
        id=image_source(id_set),
        calibration=share_or_folder(calibration),
        split=split,
        layers=() if layers is None else tuple(name.strip() for name in layers.split(",")),
        device=device,
        precision=precision,
        batch_size=batch_size,
        threads=threads,
        decoders=decoders,
        seed=seed,
    )
    with shown_progress() as on_progress:
        tuned = choose(spec, out, on_progress)
    if as_json:
        write(tuned.model_dump_json(indent=2) + "\n")
    else:
        print_tuned(tuned, out)
