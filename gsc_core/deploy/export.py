"""A detector of a finished audit to a file that needs torch alone."""

from __future__ import annotations

import glob
import io
import math
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from gsc_core.audit.measure import versions
from gsc_core.audit.reopen import Reopened, reopen
from gsc_core.classifier.guard import first_line
from gsc_core.classifier.pt2.operators import DETECTOR
from gsc_core.classifier.pt2.reader import checked_copy
from gsc_core.deploy.agreement import Stored, check, stored_scores
from gsc_core.deploy.card import Agreement, DetectorCard, read_card
from gsc_core.deploy.loading import open_detector, sha256_of
from gsc_core.deploy.onnx_form import write_onnx
from gsc_core.deploy.program import Alarm, DetectorProgram, exported, traced
from gsc_core.detectors.base import Need
from gsc_core.errors import CheckpointError, GscError, SpecError
from gsc_core.extras import require
from gsc_core.files import sole_writer_of, writing_to
from gsc_core.progress import Progress
from gsc_core.run.detector_names import name_in
from gsc_core.run.document import RunDocument

_TRACES_MORE = "2.15"  # before it gradients through convolutions have no graph (2.11 was tried)
_PLAIN = Need.LOGITS | Need.FEATURES
_SUFFIXES = (".pt2", ".onnx", ".json")


@dataclass(frozen=True)
class Exported:
    """What was written: the program, its card, and the ONNX form where it was asked for."""

    program: Path
    card_path: Path
    onnx: Path | None
    card: DetectorCard


def export_detector(
    folder: Path,
    detector: str,
    threshold: float,
    rule: str,
    out: Path,
    on_progress: Callable[[Progress], None] = lambda _: None,
    *,
    onnx: bool = False,
) -> Exported:
    """Write a detector of the audit in `folder` to `out`, a `.pt2`, with its card beside it.

    The file takes uint8 images and gives logits, outlier score, percentile among the calibration
    images, and whether the score is above `threshold`. `rule` is where that comes from, as
    `parse_rule` reads it. `onnx` writes `.onnx` as well, from pixels that were resized already.

    What was written is read again and compared with the audit's scores. All files appear, or none;
    those of an earlier export make room, others never. `on_progress` may raise to stop. Raises
    GscError where the comparison fails, or the detector is not a graph of plain operators.

    >>> from gsc_core import export_detector
    >>> exported = export_detector(
    ...     Path("result"), "energy", -2.5, "typed:value=-2.5", Path("detector.pt2")
    ... )
    >>> exported.card.detector
    'energy'
    """
    if out.suffix != ".pt2":
        raise SpecError(f"{out.name} must end in .pt2: rename it.")
    if not math.isfinite(threshold):
        raise SpecError("This threshold flags all images or none at all: choose another.")
    busy = f"Another export is writing to {out}: wait until it has ended, or name another file."
    with sole_writer_of(out, busy):
        return _exported(folder, detector, threshold, rule, out, on_progress, onnx)


def _exported(
    folder: Path,
    detector: str,
    threshold: float,
    rule: str,
    out: Path,
    on_progress: Callable[[Progress], None],
    onnx: bool,
) -> Exported:
    _ensure_free(out)
    if onnx:
        require("onnx", "onnxscript", "onnxruntime")
    audit = reopen(folder, on_progress, device="cpu")
    detector = name_in(audit.detectors, detector)
    _require(audit, detector)
    if audit.spec.precision == "bf16":
        raise SpecError(
            "This audit was computed in bf16, and an exported detector computes in float32, where "
            "this threshold would differ: audit again with precision auto or float32."
        )
    stored = stored_scores(folder, detector)
    on_progress(Progress("writing the detector as one program", 0, 1))
    alarm = _alarm(audit, detector, stored, threshold)
    with _all_or_none(out) as part:
        on_progress(Progress("writing the detector as one program", 0, 1))  # tracing took a while
        _write_program(
            DetectorProgram(audit.classifier.preprocessing, alarm), part, detector, audit
        )
        agreement = check(open_detector(part), audit, detector, stored, threshold, on_progress)
        if onnx:
            on_progress(Progress("writing the ONNX form", 0, 1))
            write_onnx(alarm, audit, detector, stored, part.with_suffix(".onnx"))
        card = _card(audit, detector, threshold, rule, stored, agreement, part)
        part.with_suffix(".json").write_text(card.model_dump_json(indent=2), encoding="utf-8")
    written = out.with_suffix(".onnx") if onnx else None
    return Exported(out, out.with_suffix(".json"), written, card)


def _ensure_free(out: Path) -> None:
    """Raises SpecError where a file would be lost that is not an earlier export: a model, say."""
    taken = [path for path in map(out.with_suffix, _SUFFIXES) if path.exists()]
    if not taken:
        return
    try:
        read_card(out.with_suffix(".json"))
    except SpecError as error:
        raise SpecError(
            f"{taken[0]} already exists and is not an exported detector: choose another name."
        ) from error


def _require(audit: Reopened, detector: str) -> None:
    if detector not in audit.detectors:
        raise SpecError(
            f"This run has no detector {detector!r} to export: choose one of "
            f"{', '.join(audit.detectors)}."
        )


def _alarm(audit: Reopened, detector: str, stored: Stored, threshold: float) -> Alarm:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = traced(audit, detector)
    except Exception as error:  # torch raises anything where code is not a graph
        raise _no_graph(audit, detector, error) from error
    return Alarm(graph, torch.from_numpy(stored.calibration), threshold)


def _write_program(program: DetectorProgram, path: Path, detector: str, audit: Reopened) -> None:
    """Write the checked parts alone: no sample, no source lines, nothing that loading refuses."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            whole = io.BytesIO()  # torch does not survive a full disk
            torch.export.save(exported(program), whole)
        path.write_bytes(whole.getbuffer())
        path.write_bytes(checked_copy(path, DETECTOR).getbuffer())
    except OSError:
        raise
    except Exception as error:
        raise _no_graph(audit, detector, error) from error


def _no_graph(audit: Reopened, detector: str, error: Exception) -> GscError:
    plain = [
        name
        for name, other in audit.detectors.items()
        if name != detector and not other.extra_forwards and other.needs | _PLAIN == _PLAIN
    ]
    instead = f"use {' or '.join(plain[:2])}" if plain else "audit with energy and export that"
    said = first_line(error)[:160].rstrip(".")
    if torch.__version__ < _TRACES_MORE:
        instead += f", or update torch {torch.__version__}"
    return CheckpointError(
        f"torch cannot save {detector} on this network as a graph ({said}): {instead}."
    )


def _card(
    audit: Reopened,
    detector: str,
    threshold: float,
    rule: str,
    stored: Stored,
    agreement: Agreement,
    program: Path,
) -> DetectorCard:
    onnx = program.with_suffix(".onnx")
    return DetectorCard(
        detector=detector,
        title=audit.detectors[detector].title,
        run=audit.folder.resolve().name,
        classes=audit.classifier.class_names,
        threshold=threshold,
        rule=rule,
        calibration=len(stored.calibration),
        calibration_flagged=int(np.count_nonzero(stored.calibration > threshold)),
        in_sample=detector in RunDocument.read(audit.folder).in_sample,
        preprocessing=audit.classifier.preprocessing,
        model_sha256=audit.classifier.sha256,
        program_sha256=sha256_of(program),
        onnx_sha256=sha256_of(onnx) if onnx.is_file() else None,
        agreement=agreement,
        versions=versions(),
        made=datetime.now(UTC).replace(microsecond=0),
        seed=audit.spec.seed,
    )


@contextmanager
def _all_or_none(out: Path) -> Iterator[Path]:
    """A path to write a program to, and files beside it; all take their places when all went well.

    The card goes last, and the old one first: no card ever lies beside another's program. What a
    process left that was killed on the way goes too.
    """
    with writing_to(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".part-{out.name}-"
        for left in out.parent.glob(f"{glob.escape(prefix)}*"):
            shutil.rmtree(left, ignore_errors=True)
        aside = Path(tempfile.mkdtemp(prefix=prefix, dir=out.parent))
        try:
            yield aside / out.name
            if out.with_suffix(".json").is_file():
                out.with_suffix(".json").unlink()
                out.with_suffix(".onnx").unlink(missing_ok=True)
            for suffix in _SUFFIXES:
                if (aside / out.name).with_suffix(suffix).is_file():
                    (aside / out.name).with_suffix(suffix).replace(out.with_suffix(suffix))
        finally:
            shutil.rmtree(aside, ignore_errors=True)
