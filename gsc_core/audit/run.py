"""The one use case: an AuditSpec in, a finished run out.

Called by the command line, the worker and the tests alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic_core import PydanticSerializationError

from gsc_core.audit.checks import Examination
from gsc_core.audit.copies import copy_shown
from gsc_core.audit.engine import Recipe, engine_of
from gsc_core.audit.inputs import (
    batch_size,
    begun,
    decoders_of,
    in_use,
)
from gsc_core.audit.measure import counts_of, measure, record
from gsc_core.audit.sets.compare import PHASE, compare
from gsc_core.audit.spec import AuditSpec
from gsc_core.audit.subject import Subject, key_of, opened, provenance_of, settings_of
from gsc_core.audit.temperature import temperature_of
from gsc_core.detectors.base import Detector
from gsc_core.detectors.catalogue import in_preference
from gsc_core.detectors.ensemble import with_parts
from gsc_core.errors import Cancelled, ImageError, SpecError
from gsc_core.explanation.channels import ChannelNormals
from gsc_core.files import sole_writer_in, writing_to, written_aside
from gsc_core.images import Broken, Partition
from gsc_core.images.sources.uri import EVERYWHERE, Reach
from gsc_core.log import LOGGER, RunLog, Step, is_logged_to, logged_to
from gsc_core.progress import Progress
from gsc_core.run.decisions import name_beforehand
from gsc_core.run.document import ModelCheck
from gsc_core.run.layout import (
    CALIBRATION,
    CALIBRATION_FILE,
    CHANNELS_FILE,
    CHUNKS_FOLDER,
    FEATURES_FILE,
    ID,
    LOG_FILE,
    METRICS_FILE,
    SCORES_FILE,
    SPEC_FILE,
    SUMMARY_FILE,
    UNPACKED_FOLDER,
)
from gsc_core.run.set_checks import SetChecks
from gsc_core.run.stored import Run
from gsc_core.run.summarise import summarised
from gsc_core.run.summary import SUMMARISED_FROM
from gsc_core.run.temperature import temperature_record
from gsc_core.scoring.batch import Beside
from gsc_core.scoring.calibration import Calibrated, calibrate
from gsc_core.scoring.calibration_file import keep
from gsc_core.scoring.chunks import ChunkStore, Rows, join
from gsc_core.scoring.faults import FAILED
from gsc_core.scoring.loading import Pace
from gsc_core.scoring.scorer import Scorer
from gsc_core.scoring.traces import TRACED, Tracer, Traces
from gsc_core.scoring.trial import WORTH_A_TRIAL, batch_size_by_trial
from gsc_core.stopwatch import Stopwatch

_OF_ONE_RESULT = (
    METRICS_FILE,
    SCORES_FILE,
    SUMMARY_FILE,
    FEATURES_FILE,
    CALIBRATION_FILE,
    CHANNELS_FILE,
)
_WRITTEN = (*_OF_ONE_RESULT, LOG_FILE, CHUNKS_FOLDER, UNPACKED_FOLDER)


def run_audit(
    spec: AuditSpec,
    out: Path,
    on_progress: Callable[[Progress], None] = lambda _: None,
    watch: Stopwatch | None = None,
    reach: Reach = EVERYWHERE,
) -> Run:
    """Run an audit and write `spec.json`, `scores.parquet` and `metrics.json` into `out`.

    Beside them are `log.txt`, with the phases and what went wrong, and what explains single
    images later: `calibration.safetensors`, on which `gsc_core.audit.reopen` fits the detectors
    again, and `channels.parquet`, what each channel at the split usually does, where GSC looked at
    channels. `features.parquet` has what a map of the images is drawn from.

    `on_progress` is called after every batch, and may raise Cancelled. A run that was cut short is
    continued: chunks that were finished with the same specification and the same bytes are kept.
    An earlier result in `out` is thrown away once the new sets are read. A detector that fails is
    left out, with the reason in `excused`; the others go on. `watch` counts where the time goes,
    from when it was made. `reach` is which addresses image sets may name.

    Raises GscError for whatever the user can mend.

    >>> from gsc_core import AuditSpec, run_audit
    >>> spec = AuditSpec.model_validate_json(Path("result/spec.json").read_text(encoding="utf-8"))
    >>> result = run_audit(spec.model_copy(update={"seed": 1}), Path("another"))
    >>> sorted(path.name for path in Path("another").glob("*.json"))
    ['metrics.json', 'spec.json']
    """
    with sole_writer_in(out, in_use(out)), logged_to(out / LOG_FILE) as log:
        return _audited(spec, out, on_progress, log, watch or Stopwatch(), reach)


@dataclass(frozen=True)
class _Scored:
    """What is left when all images are scored, beside the chunks.

    `batch_size` is that of the end: memory may have run out on the way.
    """

    calibrated: Calibrated
    traces: Traces
    checks: tuple[ModelCheck, ...]
    batch_size: int


def _audited(
    spec: AuditSpec,
    out: Path,
    on_progress: Callable[[Progress], None],
    log: RunLog,
    watch: Stopwatch,
    reach: Reach,
) -> Run:
    started = time.perf_counter()

    @log.phases
    def step(phase: str, done: int, total: int) -> None:
        on_progress(Progress(phase, done, total))

    _check_folder(out)
    written_spec = _as_json(spec)
    detectors = [detector.build() for detector in spec.detectors]
    subject = opened(spec, out, reach, step, watch)
    with written_aside(out / SPEC_FILE) as part:
        for of_another in _OF_ONE_RESULT:
            (out / of_another).unlink(missing_ok=True)
        part.write_text(written_spec, encoding="utf-8")
    log.begin()
    store = ChunkStore(out / CHUNKS_FOLDER, key_of(subject))
    preprocessing = subject.classifier.preprocessing
    scorer = Scorer(subject.network, preprocessing, detectors, watch, also=TRACED)
    scored = _scored(subject, scorer, store, out, step)

    step("measuring", 0, 1)
    with watch.phase("writing"):
        broken, table = _join(subject, scored, store, out)
    _require_detectors(scorer)
    with watch.phase("measuring"):
        measured = measure(
            table,
            scorer.detectors,
            scored.calibrated,
            spec.repeats,
            spec.seed,
            scorer.excusing,
            required=partial(_require_detectors, scorer),
        )
    counts, left_out = counts_of(table, subject.sets.left_out, broken)
    document = measured.model_copy(
        update={
            "detectors": tuple(map(record, with_parts(detectors))),
            "images": counts,
            "left_out": left_out,
            "excused": scorer.excused,
            "checks": scored.checks,
            "set_checks": _set_checks(table, scorer, measured.inverted, subject.sets, step),
            "tuned_on": _tuned_on(spec, scored.calibrated),
            "temperature": temperature_record(table, scored.calibrated.temperature),
            "settings": settings_of(subject, scored.batch_size),
            "provenance": provenance_of(subject, watch, started),
        }
    )
    run = _written_with_decision(Run(out, document), detectors)
    copy_shown(run, subject.sets, {ID: spec.id, CALIBRATION: spec.calibration, **spec.ood})
    _summarise(run, step)
    store.remove()
    return run


def _scored(subject: Subject, scorer: Scorer, store: ChunkStore, out: Path, step: Step) -> _Scored:
    """Fit the detectors on the calibration images, and score all others into `store`."""
    spec, sets, labels = subject.spec, subject.sets, subject.labels.indices
    to_calibrate = sets.calibration.images
    every = sum(map(len, sets.every().values()))
    with (
        engine_of(spec, lambda: Recipe.of(spec, scorer, calibrated, out)) as score_sets,
        decoders_of(spec, subject.network.device, every) as decoders,
    ):
        size = _batch_size(spec, scorer, sets)
        pace = Pace(size, spec.threads, step, decoders, scorer.watch)
        check = Examination(subject.classifier, subject.network, subject.labels)
        calibrated = calibrate(
            scorer,
            to_calibrate,
            [labels[image.sha256] for image in to_calibrate],
            seed=spec.seed,
            pace=pace,
            check=check,
            tuned_on=frozenset(spec.tuned_on or ()),
        )
        _require_detectors(scorer)
        calibrated, tracer, traces = _written_down(calibrated, out, scorer.watch)
        score_sets(
            scorer,
            [*sets.test.values()],
            labels,
            store,
            pace,
            Beside(calibrated.temperature, tracer),
        )
    return _Scored(calibrated, traces, check.results, -(-pace.batch_size // scorer.pieces))


def _written_with_decision(run: Run, asked: Sequence[Detector]) -> Run:
    """Write the document, with the decision that was named beforehand.

    Who decides is one of those that were asked for; else a part of the ensembles among them.
    """
    names = [detector.name for detector in asked]
    parts = [part.name for part in with_parts(asked) if part.name not in names]
    decision = name_beforehand(run, [*in_preference(names), *in_preference(parts)])
    document = run.document.model_copy(update={"decision": decision})
    document.write(run.path)
    return replace(run, document=document)


def _summarise(run: Run, step: Step) -> None:
    """Store what pages show of all scores of a large run; they count it where that goes wrong.

    The run is there by now: whoever cancels this gets it, without a summary.
    """
    if sum(counts.scored for counts in run.images.values()) < SUMMARISED_FROM:
        return
    try:
        summarised(run, step).write(run)
    except Cancelled:
        LOGGER.info("cancelled while counting what pages show: they count it when they open")
    except Exception:
        LOGGER.exception("there is no summary for the pages")


def _tuned_on(spec: AuditSpec, calibrated: Calibrated) -> int | None:
    """How many calibration images the given settings were learned from; None without such."""
    if spec.tuned_on is None:
        return None
    digests = frozenset(spec.tuned_on)
    return sum(image.sha256 in digests for image in calibrated.images)


def _check_folder(out: Path) -> None:
    """Raise SpecError unless `out` can hold a result without harm to files of another kind."""
    with writing_to(out):
        there = {path.name for path in out.iterdir()} if out.exists() else set()
    if begun(out / UNPACKED_FOLDER):  # by an audit that was killed before it wrote spec.json
        there.discard(UNPACKED_FOLDER)
    if is_logged_to(out / LOG_FILE):  # by the worker, which begins before us
        there.discard(LOG_FILE)
    if SPEC_FILE not in there and (foreign := there.intersection(_WRITTEN)):
        raise SpecError(f"{out} holds {min(foreign)}, but no audit: choose an empty folder.")


def _batch_size(spec: AuditSpec, scorer: Scorer, sets: Partition) -> int:
    """Images at a time: what was asked for, else by trial where that pays, else the usual."""
    device, images = scorer.network.device, sum(map(len, sets.every().values()))
    if spec.batch_size is None and device.type == "cuda" and images >= WORTH_A_TRIAL:
        return batch_size_by_trial(scorer)
    return batch_size(spec, device)


def _as_json(spec: AuditSpec) -> str:
    try:
        return spec.model_dump_json(indent=2)
    except PydanticSerializationError as error:
        raise SpecError(
            "A path holds bytes that are not UTF-8 text: rename the file or folder."
        ) from error


def _require_detectors(scorer: Scorer) -> None:
    if scorer.detectors:
        return
    name, reason = next(iter(scorer.excused.items()))
    if all(why.startswith(FAILED) for why in scorer.excused.values()):
        raise SpecError(f"No detector ran to the end, so choose others: {name} {reason}.")
    raise SpecError(f"None of the detectors can run here, so choose others: {name} {reason}.")


def _written_down(
    calibrated: Calibrated, out: Path, watch: Stopwatch
) -> tuple[Calibrated, Tracer, Traces]:
    """Write what explains single images, and let go of it: the memory is needed for scoring.

    Before that, the temperature, which takes all logits, is fitted, and the traces of calibration
    images are made, by what makes those of the images to come.
    """
    calibration = calibrated.calibration
    assert calibration is not None
    with watch.phase("fitting", "temperature"):
        temperature = temperature_of(calibration)
    with watch.phase("fitting", "traces"):
        tracer = Tracer.of(calibration.images, temperature)
        traces = tracer(calibration.images, calibration.labels.tolist())
    with watch.phase("writing"):
        keep(calibration, calibrated.images, out / CALIBRATION_FILE)
        split, sample = calibration.network.split, calibration.sample
        if split is not None and (usual := ChannelNormals.of(sample, split.channel)) is not None:
            with written_aside(out / CHANNELS_FILE) as part:
                pq.write_table(usual.table(), part)
    return replace(calibrated, calibration=None, temperature=temperature), tracer, traces


def _set_checks(
    table: pa.Table, scorer: Scorer, inverted: Sequence[str], sets: Partition, step: Step
) -> SetChecks:
    """What is noticed about the sets, by the detectors that point the right way.

    Whatever goes wrong here, the scores are there, and the audit ends with them.
    """
    detectors = [one.name for one in scorer.detectors if one.name not in inverted]
    try:
        with scorer.watch.phase(PHASE):
            return compare(
                table, sets.every(), detectors, scorer.preprocessing, scorer.network.device, step
            )
    except Cancelled:
        raise
    except Exception:
        LOGGER.exception("the image sets could not be compared")
        return SetChecks(failed=True)


def _join(
    subject: Subject, scored: _Scored, store: ChunkStore, out: Path
) -> tuple[dict[str, list[Broken]], pa.Table]:
    """One table of all scores and traces, and the images of each set that could not be decoded."""
    calibrated = scored.calibrated
    rows = Rows(
        CALIBRATION,
        CALIBRATION,
        calibrated.images,
        [subject.labels.indices[image.sha256] for image in calibrated.images],
        calibrated.scores,
        traces=scored.traces,
    )
    tables, broken = [rows.table(())], {CALIBRATION: list(calibrated.broken)}
    for name in subject.sets.test:
        chunks = list(store.tables(name))
        tables.extend(table for table, _ in chunks)
        broken[name] = [one for _, damaged in chunks for one in damaged]
        if not any(table.num_rows for table, _ in chunks):
            raise ImageError(f"None of the images of {name} can be read: check the files.")
    return broken, join(tables, out / SCORES_FILE, out / FEATURES_FILE)
