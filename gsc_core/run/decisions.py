"""The one decision of a run: which detector raises the alarm, and from which outlier score on.

Until a person decides it is the one that was named before any OOD image was seen. A person's is in
`threshold.json`. A detector other than that first one is picked by looking at OOD images, and some
rules look at them too: then one half of each OOD set (`halves`) picks and sets, and what comes of
it is counted on the other. ID images set a threshold on calibration and test it on test.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gsc_core.errors import GscError
from gsc_core.evaluation.effects import counted
from gsc_core.evaluation.metrics import Floats
from gsc_core.evaluation.selective import Selective, selective
from gsc_core.evaluation.thresholds import (
    Acceptance,
    Effect,
    Evidence,
    KeepId,
    Rule,
    ThresholdRule,
    effect,
)
from gsc_core.files import written_aside
from gsc_core.run.document import NamedDecision
from gsc_core.run.earlier import in_preference
from gsc_core.run.gallery import class_name
from gsc_core.run.layout import DECISION_FILE
from gsc_core.run.ood_halves import halves, scores_of
from gsc_core.run.score_table import Rows
from gsc_core.run.stored import Run
from gsc_core.run.summary import remembered

KEEP = 0.95  # what is kept of familiar images until somebody decides
MAX_NOTE, MAX_NAME = 500, 200  # characters

Part = Literal["all", "to choose by", "judging"]
"""Of each OOD set: all of its images, or one of the halves."""


class Decision(BaseModel):
    """Which detector raises the alarm, at which outlier score, and by which rule that was found.

    An image is accepted when its score is at most `value`. `chosen` is when a person decided, None
    for the default; `who` is their login's name, None where there is no login, and `note` what they
    wrote about it. `audited` is when the run's scores were finished: another audit in the same
    folder has other scores, which the value does not fit. `halved`: one half of the OOD images set
    the value; `picked`: the detector was picked by what they show. Decisions that were stored
    before that was so say False.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    detector: str = Field(min_length=1)
    rule: Rule
    value: float
    chosen: datetime | None = None
    audited: str | None = None
    halved: bool = False
    picked: bool = False
    who: str | None = Field(default=None, max_length=MAX_NAME)
    note: str | None = Field(default=None, max_length=MAX_NOTE)

    @property
    def spares_half(self) -> bool:
        """Whether only one half of each OOD set tests it, because the other had a part in it."""
        return self.halved or self.picked


@dataclass(frozen=True)
class ClassEffect:
    """How many of the images taken for one class pass; None where there are none of a kind.

    index: of the class.
    """

    name: str
    id: Acceptance | None
    ood: Acceptance | None
    index: int = -1

    @property
    def unnoticed(self) -> int:
        """Unfamiliar images taken for this class that are accepted."""
        return self.ood.accepted if self.ood else 0

    @property
    def lost(self) -> int:
        """Familiar images taken for this class that are flagged."""
        return self.id.flagged if self.id else 0


def stored(run: Run) -> Decision | None:
    """The run's stored decision; None when nobody decided. Raises GscError when it is damaged."""
    try:
        text = (run.path / DECISION_FILE).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _damaged(run) from error
    try:
        return Decision.model_validate_json(text)
    except ValidationError as error:
        raise _damaged(run) from error


def store(
    run: Run, decision: Decision, *, who: str | None = None, note: str | None = None
) -> Decision:
    """Store a decision with the time, in place of an earlier one, and give it back.

    `who` is cut to 200 characters. Raises GscError for a threshold that flags all or nothing, for a
    note of more than 500 characters, for a run with a revision, and when the run is gone.
    """
    if run.revision is not None:
        raise GscError(
            "A threshold can only be saved with the figures as audited, which leave no images "
            "out: show those, and save it there."
        )
    ensure_finite(decision)
    written = (note or "").strip()
    if len(written) > MAX_NOTE:
        raise GscError(f"A note has at most {MAX_NOTE} characters: shorten it.")
    if not run.path.is_dir():
        raise GscError(f'There is no run "{run.id}" to decide about: choose one from the list.')
    dated = decision.model_copy(
        update={
            "chosen": datetime.now(UTC).replace(microsecond=0),
            "who": (who or "").strip()[:MAX_NAME] or None,
            "note": written or None,
        }
    )
    with written_aside(run.path / DECISION_FILE) as part:
        part.write_text(dated.model_dump_json(indent=2), encoding="utf-8")
    return dated


def ensure_finite(decision: Decision) -> None:
    """Raises GscError for a threshold that flags all or nothing: it cannot be kept or deployed."""
    if decision.value == math.inf:
        raise GscError(
            "This threshold would flag nothing at all: ask for a smaller share, change the costs, "
            "or calibrate with more images."
        )
    if not math.isfinite(decision.value):
        raise GscError(
            "This threshold would flag every image: ask for a smaller share, expect fewer "
            "unfamiliar images, change the costs, or take another detector."
        )


def discard(run: Run) -> None:
    """Take a stored decision back."""
    (run.path / DECISION_FILE).unlink(missing_ok=True)


def standing(run: Run) -> Decision | None:
    """The stored decision, if it was made about the scores that the run has now."""
    decision = stored(run)
    if decision is None or decision.detector not in run.detectors:
        return None
    if decision.audited != run.provenance.finished:
        return None
    return decision if run.revision is None else _set_again(run, decision)


def _set_again(run: Run, decision: Decision) -> Decision:
    """The decision with the threshold that its rule sets on the images that a revision leaves.

    A value by hand stays, and one that was set on all OOD images, by an earlier version.
    """
    if decision.rule.by_hand or (decision.rule.needs_ood and not decision.halved):
        return decision
    value = _by_rule(run, decision.detector, decision.rule).value
    return decision.model_copy(update={"value": value})


def current(run: Run) -> Decision:
    """The standing decision, else the default."""
    return standing(run) or default(run)


def default(run: Run) -> Decision:
    """What holds until somebody decides: named before any OOD image was seen."""
    named = run.document.decision
    if named is None or named.detector not in run.detectors:
        return decide(run, default_detector(run), KeepId(share=KEEP))
    return Decision(
        detector=named.detector,
        rule=named.rule,
        value=math.inf if named.value is None else named.value,
        audited=run.provenance.finished,
    )


def default_detector(run: Run) -> str:
    """The detector of `default`; for a run that did not record it, by the order of then."""
    named = run.document.decision
    if named is not None and named.detector in run.detectors:
        return named.detector
    return first_of(run, in_preference(run.detectors))


def first_of(run: Run, preferred: Sequence[str]) -> str:
    """The first of some detectors that the run has, by what is known without OOD images.

    One that scores surrogate outliers, which are made of calibration images, lower than ID images
    comes after the others. Raises ValueError when the run has none of them.
    """
    measured = [name for name in preferred if name in run.detectors]
    return min(measured, key=lambda name: run.document.surrogate_auroc.get(name, 1.0) < 0.5)


def name_beforehand(run: Run, preferred: Sequence[str]) -> NamedDecision:
    """The default decision as an audit records it: `preferred` is the order of its detectors."""
    decision = _by_rule(run, first_of(run, preferred), KeepId(share=KEEP))
    value = decision.value if math.isfinite(decision.value) else None
    return NamedDecision(detector=decision.detector, rule=decision.rule, value=value)


def offered(run: Run, detector: str) -> Decision:
    """The threshold that an export of this detector gets: by the rule that the run is judged by.

    A value set by hand fits the detector it was set for alone; others get the default rule.
    """
    own = current(run)
    if detector == own.detector:
        return own
    rule = KeepId(share=KEEP) if own.rule.by_hand else own.rule
    return decide(run, detector, rule)


def decide(run: Run, detector: str, rule: ThresholdRule) -> Decision:
    """The decision that a rule leads to on a run's scores, not yet stored.

    A detector other than the default one counts as picked. Its value is infinite where the rule
    asks to flag nothing (inf) or everything (−inf). Raises GscError for a detector that the run has
    not, and for too few unfamiliar images to part.
    """
    detector = run.name_of(detector)
    if detector not in run.detectors:
        raise GscError(
            f'This run has no detector "{detector}": choose one of {", ".join(run.detectors)}.'
        )
    picked = detector != default_detector(run)
    return _by_rule(run, detector, rule).model_copy(update={"picked": picked})


def _by_rule(run: Run, detector: str, rule: ThresholdRule) -> Decision:
    halved = rule.needs_ood
    ood = scores_of(run, detector, halves(run).setting) if halved else {}
    value = rule.threshold(Evidence(run.calibration_scores(detector), ood))
    return Decision(
        detector=detector,
        rule=rule,
        value=value,
        audited=run.provenance.finished,
        halved=halved,
    )


def effect_of(run: Run, decision: Decision, *, trial: bool = False) -> Effect:
    """What a decision does on test images: those that had no part in it.

    `trial` is for a picked detector that is only tried: on the half to choose by. Raises GscError
    for a decision that one half tests where a set is too small for halves.
    """
    return effect_at(run, decision.detector, decision.value, part_of(decision, trial=trial))


@remembered
def effect_at(run: Run, detector: str, value: float, part: Part) -> Effect:
    """What a threshold does on ID test images and a part of each OOD set; see `effect_of`."""
    scores = tested_scores(run, detector, part)
    return effect(value, scores.pop("id"), scores)


def part_of(decision: Decision, *, trial: bool = False) -> Part:
    """Which OOD images a decision is counted on; see `effect_of`."""
    if trial and decision.picked:
        return "to choose by"
    return "judging" if decision.spares_half else "all"


def tested_scores(run: Run, detector: str, part: Part) -> dict[str, Floats]:
    """Outlier scores of ID test images, `"id"`, and then of a part of each OOD set."""
    return run.scores(detector) | scores_of(run, detector, rows_of_part(run, part))


def rows_of_part(run: Run, part: Part) -> Mapping[str, Rows]:
    """The rows of a part of each OOD set. Raises GscError for a set too small for halves."""
    if part == "all":
        return {name: run.rows_of([name]) for name in run.ood_sets}
    parted = halves(run)
    return parted.setting if part == "to choose by" else parted.testing


def effect_by_class(
    run: Run, decision: Decision, *, trial: bool = False
) -> tuple[ClassEffect, ...]:
    """What a decision does on test images taken for each class, unfamiliar images of all sets
    together; `trial` as in `effect_of`.

    The classes through which most unfamiliar images are accepted come first, then those that lose
    most familiar images; classes that no test image was taken for are left out.
    """
    id_effects = _by_class(run, decision, [run.rows_of(["id"])])
    tested = rows_of_part(run, part_of(decision, trial=trial))
    ood_effects = _by_class(run, decision, list(tested.values()))
    effects = [
        ClassEffect(class_name(run, index), id_effects.get(index), ood_effects.get(index), index)
        for index in sorted(id_effects.keys() | ood_effects.keys())
    ]
    return tuple(sorted(effects, key=lambda one: (-one.unnoticed, -one.lost)))


def selective_of(run: Run, decision: Decision) -> Selective | None:
    """What refusing flagged images gains on labelled familiar test images.

    None when none of them has a label, or none of those passes.
    """
    return selective_at(run, decision.detector, decision.value)


@remembered
def selective_at(run: Run, detector: str, value: float) -> Selective | None:
    """The same at a threshold."""
    rows = run.rows_of(["id"])
    rows = rows[run.column("label")[rows] >= 0]
    scores = run.column(detector)[rows].astype(np.float64)
    if not (scores <= value).any():
        return None
    correct = run.column("predicted")[rows] == run.column("label")[rows]
    return selective(correct, scores, value)


def version(run: Run) -> int:
    """A number that changes when another decision is stored: a part of the key of caches."""
    return version_of(run.path)


def version_of(folder: Path) -> int:
    """`version` of the run in a folder, which is not read for it."""
    path = folder / DECISION_FILE
    return path.stat().st_mtime_ns if path.is_file() else 0


def _by_class(run: Run, decision: Decision, sets: list[Rows]) -> dict[int, Acceptance]:
    """Of the images in these rows, how many pass, by the class they were taken for."""
    rows = np.concatenate(sets)
    is_accepted = run.column(decision.detector)[rows] <= np.float64(decision.value)
    classes, place = np.unique(run.column("predicted")[rows], return_inverse=True)
    totals, accepted = np.bincount(place), np.bincount(place[is_accepted], minlength=len(classes))
    counts = zip(classes.tolist(), accepted.tolist(), totals.tolist(), strict=True)
    return {index: counted(k, n) for index, k, n in counts}


def _damaged(run: Run) -> GscError:
    return GscError(
        f'The stored threshold of run "{run.id}" is damaged: delete {DECISION_FILE} in its folder '
        "and choose again."
    )
