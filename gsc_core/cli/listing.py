"""`gsc detectors` and `gsc splits`: what there is to choose from."""

from __future__ import annotations

import json

from gsc_core.cli.options import (
    Architecture,
    AsJson,
    Checkpoint,
    OptionTexts,
    Preprocess,
    Pretrained,
    WeightsName,
    model_spec,
)
from gsc_core.cli.output import (
    print_catalogue,
    print_splits,
    split_row,
)
from gsc_core.cli.terminal import write, write_error


def list_detectors(
    as_json: AsJson = False,
) -> None:
    """List the detectors: what each reads, is fitted with, costs, and its settings."""
    from gsc_core.detectors.catalogue import CATALOGUE, facts_of

    rows = [facts_of(detector).model_dump(mode="json") for detector in CATALOGUE]
    if as_json:
        write(json.dumps(rows, indent=2) + "\n")
        return
    print_catalogue(rows)


def list_splits(
    model: Checkpoint = None,
    arch: Architecture = None,
    option: OptionTexts = None,
    weights: WeightsName = None,
    pretrained: Pretrained = False,
    preprocess: Preprocess = None,
    as_json: AsJson = False,
) -> None:
    """List the layers at which GSC can cut a model, and the one it uses by default."""
    from gsc_core.classifier.load import load_classifier
    from gsc_core.classifier.split import default_split, splits

    spec = model_spec(model, arch, pretrained, preprocess, None, option, weights)
    classifier = load_classifier(spec)
    for note in classifier.notes:
        write_error(f"{note}\n")
    found = splits(classifier.program)
    default = default_split(found)
    rows = [split_row(split, default) for split in found]
    if as_json:
        write(json.dumps(rows, indent=2) + "\n")
        return
    print_splits(rows)


def catalogue() -> None:
    """Print what the web app offers of the engine, which it does not load itself."""
    from gsc_core.workspace.catalogue_maker import make_catalogue

    write(make_catalogue().model_dump_json() + "\n")
