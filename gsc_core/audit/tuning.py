"""What `gsc-auto` and `auto-ensemble` choose, without an audit: kept in a file for audits.

What is chosen is what an audit of the same images, share and seed chooses, so the file saves the
search and holds the choice still.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from pydantic import Field

from gsc_core.audit.inputs import batch_size, decoders_of, device_of, network_of, read_sets
from gsc_core.audit.measure import fused_score, versions
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.audit.tuning_file import RunnerUp, Tuned, content_of
from gsc_core.classifier import Preprocessing
from gsc_core.classifier.load import load_classifier
from gsc_core.classifier.network import Network
from gsc_core.detectors.auto import AutoGSC
from gsc_core.detectors.auto_ensemble import AutoEnsemble
from gsc_core.errors import SpecError
from gsc_core.evaluation.selection import Selection
from gsc_core.files import sole_writer_of, writing_to, written_aside
from gsc_core.images import ImageFile
from gsc_core.images.sources.uri import ImageSource
from gsc_core.log import logged_to
from gsc_core.progress import Progress
from gsc_core.run.document import FusedScore
from gsc_core.scoring.calibration import calibrate
from gsc_core.scoring.loading import Pace
from gsc_core.scoring.scorer import Scorer

MAX_RUNNERS_UP = 10


class TuneSpec(AuditSpec):
    """What to choose on: an audit that has no unfamiliar images.

    layers: where the network may be cut, to choose from; none of them leaves it to `split`.
    """

    ood: dict[str, ImageSource] = Field(default_factory=dict)
    detectors: tuple[DetectorSpec, ...] = (DetectorSpec(name=AutoGSC.name),)
    layers: tuple[str, ...] = ()


def tune(
    spec: TuneSpec, out: Path, on_progress: Callable[[Progress], None] = lambda _: None
) -> Tuned:
    """Choose `gsc-auto`'s settings on the calibration images of `spec`, and write them to `out`.

    With them go the weights of `auto-ensemble`, where two of its parts can run at that layer. Of
    several layers the one with the least loss on surrogate outliers is taken. `on_progress` is
    called after every batch and candidate, and may raise to stop; nothing is left then. Raises
    GscError for whatever the user can fix.
    """
    busy = f"Another tuning is writing to {out}: wait until it has ended, or name another file."
    _check_file(out)
    with sole_writer_of(out, busy):
        return _tuned(spec, out, on_progress)


def _tuned(spec: TuneSpec, out: Path, on_progress: Callable[[Progress], None]) -> Tuned:
    def step(phase: str, done: int, total: int) -> None:
        on_progress(Progress(phase, done, total))

    step("opening the model", 0, 1)
    classifier = load_classifier(spec.model)
    device = device_of(spec.device)
    cut = [network_of(spec, classifier, name, device) for name in spec.layers or (spec.split,)]
    networks = {_layer(network): network for network in cut}
    with _unpacked(out) as unpacked:
        step("reading the images", 0, 1)
        images = read_sets(spec, unpacked, with_labels=False).calibration.images
        with decoders_of(spec, device, len(images)) as decoders:
            pace = Pace(batch_size(spec, device), spec.threads, step, decoders)
            fitted = {
                name: _fitted(
                    network,
                    classifier.preprocessing,
                    images,
                    spec.seed,
                    pace,
                    log=_log_beside(out),
                )
                for name, network in networks.items()
            }
    selections = {name: _selection(layer.auto_gsc) for name, layer in fitted.items()}
    best = min(selections, key=lambda name: selections[name].chosen.loss)
    tuned = Tuned(
        split=best,
        settings=fitted[best].auto_gsc.frozen(),
        chosen=selections[best].chosen,
        nothing=selections[best].nothing,
        runners_up=_runners_up(selections, best),
        images=selections[best].images,
        surrogates=selections[best].surrogates,
        seed=spec.seed,
        model_sha256=classifier.sha256,
        versions=versions(),
        ensemble=fitted[best].ensemble,
        tuned_on=tuple(image.sha256 for image in images),
    )
    with written_aside(out) as part:
        part.write_text(tuned.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return tuned


class _Fitted(NamedTuple):
    """What was chosen at one layer."""

    auto_gsc: AutoGSC
    ensemble: FusedScore | None


def _layer(network: Network) -> str | None:
    return None if network.split is None else network.split.name


def _fitted(
    network: Network,
    preprocessing: Preprocessing,
    images: Sequence[ImageFile],
    seed: int,
    pace: Pace,
    log: Path,
) -> _Fitted:
    """The detectors after an audit's calibration; they do without labels.

    What fails in them is told in `log`.
    """
    detector, ensemble = AutoGSC(), AutoEnsemble()
    scorer = Scorer(network, preprocessing, [detector, ensemble])
    with logged_to(log, at_fault=True):
        calibrate(scorer, images, [-1] * len(images), seed=seed, pace=pace)
    if reason := scorer.excused.get(detector.name):
        raise SpecError(f"Nothing can be chosen here: {detector.name} {reason}.")
    return _Fitted(detector, None if ensemble.fusion_ is None else fused_score(ensemble))


def _log_beside(out: Path) -> Path:
    """Where a fault is told; else there is no such file."""
    return out.with_name(f"{out.name}.log")


def _selection(detector: AutoGSC) -> Selection:
    if detector.selection_ is None:
        raise SpecError("This network has nothing to short-circuit, so there is nothing to choose.")
    return detector.selection_


def _runners_up(
    selections: Mapping[str | None, Selection], best: str | None
) -> tuple[RunnerUp, ...]:
    """The next best over all layers; what cuts nothing is the same at each, so it is there once."""
    others = [
        RunnerUp(split=name, tried=tried)
        for name, selection in selections.items()
        for tried in selection.tried
        if (name, tried) != (best, selections[best].chosen)
        and (name == best or tried.short_circuit.layer == "split")
    ]
    return tuple(sorted(others, key=lambda runner_up: runner_up.tried.loss)[:MAX_RUNNERS_UP])


def _check_file(out: Path) -> None:
    """Raise SpecError unless `out` is free, or holds an earlier choice."""
    if out.exists() and (not out.is_file() or content_of(out) is None):
        raise SpecError(f"{out} already exists and was not written by gsc tune: name another file.")


@contextmanager
def _unpacked(out: Path) -> Iterator[Path]:
    """A folder beside `out` for what ZIPs hold, gone at the end; tells early if none can be."""
    with writing_to(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = TemporaryDirectory(prefix=".tuning-", dir=out.parent)
    with folder as name:
        yield Path(name)
