"""A run's decision as people make it in the app: by whom, with a note, in the log."""

from gsc_core.run import decisions
from gsc_core.run.decisions import Decision
from gsc_core.run.stored import Run
from gsc_core.team import acting
from gsc_core.team.journal import Event
from gsc_core.team.roles import Action
from gsc_core.workspace import runs


def decide(run: Run, decision: Decision | None, note: str = "") -> None:
    """Save a decision in the name of who acts; None goes back to the default.

    Raises GscError as `decisions.store` does, and NotAllowedError for who may not.
    """
    person = acting.ensure(Action.DECIDE, runs.owner(run.id))
    said = f"{decision.detector}, {decision.rule.words()}" if decision else "back to the default"
    acting.record(Event.DECIDED, "run", run.id, runs.title(run.id), said)
    if decision is None:
        decisions.discard(run)
    else:
        decisions.store(run, decision, who=person.name, note=note)
