"""The threshold that a person chose for a run: `runs/<id>/threshold.json`."""

from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gsc_core.errors import GscError
from gsc_core.evaluation.metrics import Floats
from gsc_core.evaluation.thresholds import Effect, Evidence, KeepId, Rule, effect
from gsc_core.scoring.chunks import written_aside
from gsc_core.workspace.runs import StoredRun, run_folder

DECISION_FILE = "threshold.json"
KEEP = 0.95  # what is kept of familiar pictures until somebody decides


class Decision(BaseModel):
    """Which detector raises the alarm, at which outlier score, and by which rule that was found.

    A picture passes when its score is at most `value`. `chosen` is when a person decided, None for
    the default. `audited` is when the run's scores were finished: another audit in the same folder
    has other scores, which the value does not fit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    detector: str = Field(min_length=1)
    rule: Rule
    value: float
    chosen: datetime | None = None
    audited: str | None = None


def chosen(run_id: str) -> Decision | None:
    """The run's stored decision; None when nobody decided. Raises GscError when it is damaged."""
    path = _path(run_id)
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _damaged(run_id) from error
    try:
        return Decision.model_validate_json(text)
    except ValidationError as error:
        raise _damaged(run_id) from error


def choose(run_id: str, decision: Decision) -> Decision:
    """Store a decision with the time, in place of an earlier one, and give it back.

    Raises GscError for a threshold that is not a finite number, as nothing would ever be flagged.
    """
    if not abs(decision.value) < float("inf"):
        raise GscError(
            "This threshold would flag nothing at all: ask for a smaller share, or calibrate with "
            "more pictures."
        )
    path = _path(run_id)
    if not path.parent.is_dir():
        raise GscError(f'There is no run "{run_id}" to decide about: choose one from the list.')
    stored = decision.model_copy(update={"chosen": datetime.now(UTC).replace(microsecond=0)})
    with written_aside(path) as part:
        part.write_text(stored.model_dump_json(indent=2), encoding="utf-8")
    return stored


def forget(run_id: str) -> None:
    """Take a stored decision back."""
    _path(run_id).unlink(missing_ok=True)


def standing(run: StoredRun) -> Decision | None:
    """The stored decision, if it was made about the scores that the run has now."""
    decision = chosen(run.id)
    if decision is None or decision.detector not in run.detectors:
        return None
    return decision if decision.audited == _audited(run) else None


def current(run: StoredRun) -> Decision:
    """The standing decision, else the default."""
    return standing(run) or default(run)


def default(run: StoredRun) -> Decision:
    """What holds until somebody decides: the best detector, keeping 95 % of ID."""
    return decide(run, run.best().detector, KeepId(share=KEEP))


def decide(run: StoredRun, detector: str, rule: Rule) -> Decision:
    """The decision that a rule leads to on a run's scores, not yet stored."""
    strangers = _strangers(run, detector) if rule.needs_strangers else {}
    value = rule.threshold(Evidence(run.calibration_scores(detector), strangers))
    return Decision(detector=detector, rule=rule, value=value, audited=_audited(run))


def effect_of(run: StoredRun, decision: Decision) -> Effect:
    """What a decision does on the run's test pictures."""
    scores = run.scores(decision.detector)
    return effect(decision.value, scores.pop("id"), scores)


def version(run_id: str) -> int:
    """A number that changes when another decision is stored: a part of the key of caches."""
    path = _path(run_id)
    return path.stat().st_mtime_ns if path.is_file() else 0


def _strangers(run: StoredRun, detector: str) -> dict[str, Floats]:
    return {name: scores for name, scores in run.scores(detector).items() if name != "id"}


def _audited(run: StoredRun) -> str | None:
    finished = run.provenance.get("finished")
    return None if finished is None else str(finished)


def _path(run_id: str) -> Path:
    return run_folder(run_id) / DECISION_FILE


def _damaged(run_id: str) -> GscError:
    return GscError(
        f'The stored threshold of run "{run_id}" is damaged: delete {DECISION_FILE} in its folder '
        "and choose again."
    )
