"""`gsc audit`: familiar and unfamiliar images to a finished run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from gsc_core.cli.options import (
    Architecture,
    AsJson,
    BatchSize,
    Calibration,
    CalibrationLabels,
    Checkpoint,
    Compiled,
    DecoderProcesses,
    DetectorNames,
    Device,
    EngineName,
    GscConfig,
    IdSet,
    LabelOrderName,
    Labels,
    Names,
    OodSets,
    OptionTexts,
    PrecisionName,
    Preprocess,
    Pretrained,
    Profile,
    RayAddress,
    Seed,
    SplitName,
    Threads,
    WeightsName,
    Workers,
    image_source,
    model_spec,
    named_folders,
    share_or_folder,
)
from gsc_core.cli.output import (
    print_profile,
    show_run,
    shown_progress,
)
from gsc_core.cli.terminal import write_error
from gsc_core.run.detector_names import note_of
from gsc_core.stopwatch import Stopwatch

IMPORTING = "importing"


def audit(
    context: typer.Context,
    id_set: IdSet,
    ood: OodSets,
    out: Annotated[Path, typer.Option("--out", help="The folder for the result.")],
    model: Checkpoint = None,
    arch: Architecture = None,
    option: OptionTexts = None,
    weights: WeightsName = None,
    pretrained: Pretrained = False,
    preprocess: Preprocess = None,
    class_names: Names = None,
    calibration: Calibration = "0.5",
    labels: Labels = None,
    calibration_labels: CalibrationLabels = None,
    label_order: LabelOrderName = None,
    detectors: DetectorNames = "all",
    split: SplitName = None,
    gsc_config: GscConfig = None,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    compiled: Compiled = False,
    batch_size: BatchSize = None,
    threads: Threads = 2,
    decoders: DecoderProcesses = None,
    engine: EngineName = "local",
    ray_address: RayAddress = None,
    workers: Workers = None,
    seed: Seed = 0,
    profile: Profile = False,
    as_json: AsJson = False,
) -> None:
    """Score familiar and unfamiliar images, and say how well each detector separates them."""
    watch = context.find_object(Stopwatch) or Stopwatch()
    watch.exact = profile
    with watch.phase(IMPORTING):
        from gsc_core.audit.run import run_audit
        from gsc_core.audit.spec import AuditSpec, DetectorSpec
        from gsc_core.audit.tuning_file import with_tuned
        from gsc_core.detectors.catalogue import parse_detectors
        from gsc_core.images.labels import labels_from

    if note := note_of(re.split(r"[,+:]", detectors)):
        write_error(f"{note}\n")
    chosen = tuple(DetectorSpec.of(detector) for detector in parse_detectors(detectors))
    spec = AuditSpec(
        model=model_spec(model, arch, pretrained, preprocess, class_names, option, weights),
        id=image_source(id_set),
        ood=named_folders(ood),
        calibration=share_or_folder(calibration),
        labels=labels_from(labels),
        calibration_labels=labels_from(calibration_labels),
        label_order=label_order,
        detectors=chosen,
        split=split,
        device=device,
        precision=precision,
        compiled=compiled,
        batch_size=batch_size,
        threads=threads,
        decoders=decoders,
        engine=engine,
        ray_address=ray_address,
        workers=workers,
        seed=seed,
    )
    if gsc_config is not None:
        spec = with_tuned(spec, gsc_config)
    with shown_progress() as on_progress:
        run = run_audit(spec, out, on_progress, watch)
    with watch.phase("printing"):
        show_run(run, as_json)
    if profile:
        print_profile(watch)
