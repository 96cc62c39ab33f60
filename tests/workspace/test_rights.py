"""Each thing that changes the workspace asks who acts, whatever a page shows."""

import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filled_workspace import fill
from stored_run import write_run

from gsc_core.errors.questions import Answer
from gsc_core.jobs import queue
from gsc_core.jobs.database import Job, Kind, State
from gsc_core.run import decisions
from gsc_core.run.marks import Doubt
from gsc_core.run.stored import Run
from gsc_core.team import acting, journal
from gsc_core.team.journal import JOURNAL_FILE, Event, Wanted
from gsc_core.team.roles import ALONE, OUTSIDE, Person, Role
from gsc_core.workspace import (
    ablations,
    demo,
    explanations,
    exports,
    history,
    imagesets,
    models,
    release_policy,
    report_images,
    run_decisions,
    run_marks,
    runs,
    shares,
)

ANN = Person("ann@example.org", Role.AUDITOR)
OTHERS = {
    "another auditor": Person("bob@example.org", Role.AUDITOR),
    "a reader": Person("rita@example.org", Role.READER),
    "who is outside": OUTSIDE,
    "whose login has ended": Person("ann@example.org", Role.AUDITOR, until=1.0),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Iterator[Path]:
    """A workspace of Ann's, with a model, sets, a finished run, a waiting one and a share."""
    folder = tmp_path_factory.mktemp("rights")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GSC_HOME", str(folder / "home"))
        with acting.acting_as(ANN):
            fill(folder / "stage")
            job = queue.submit(Kind.AUDIT, "the run", "run1", {})
            assert queue.claim(job.lane, 1) is not None
            queue.end(job.id, State.DONE)
            write_run(folder / "home" / "runs" / "run1")
            shares.publish("run1", "<p>report", days=7)
            queue.submit(Kind.AUDIT, "waits", "run2", {})
        yield folder / "home"


def run() -> Run:
    return Run.load(runs.run_folder("run1"))


def decision() -> decisions.Decision:
    return decisions.default(run())


def job(subject: str) -> Job:
    found = queue.latest(subject)
    assert found is not None
    return found


def model_id() -> str:
    return models.list_models()[0].id


def set_id() -> str:
    return imagesets.list_sets("id")[0].id


ANSWER = Answer(choices=())
OF_OWNERS: dict[str, Callable[[], object]] = {
    "rename a model": lambda: models.rename_model(model_id(), "mine"),
    "revise a model": lambda: models.revise_model(model_id()),
    "answer about a model": lambda: models.answer_model(model_id(), ANSWER),
    "delete a model": lambda: models.delete_model(model_id()),
    "rename a set": lambda: imagesets.rename_set(set_id(), "mine"),
    "change a role": lambda: imagesets.change_role(set_id(), "ood"),
    "read a set again": lambda: imagesets.look_again(set_id()),
    "answer about a set": lambda: imagesets.answer_set(set_id(), ANSWER),
    "delete a set": lambda: imagesets.delete_set(set_id()),
    "cancel an audit": lambda: queue.cancel(job("run2").id),
    "try an audit again": lambda: queue.retry(job("run1").id),
    "delete a run": lambda: history.delete_run("run1"),
    "decide": lambda: run_decisions.decide(run(), decision()),
    "go back to the default": lambda: run_decisions.decide(run(), None),
    "share": lambda: shares.publish("run1", "<p>", days=1),
    "revoke": lambda: shares.revoke(shares.shared("run1")[0].id),
    "delete an export": lambda: exports.delete_export("run1", "0123456789ab"),
}
OF_AUDITORS: dict[str, Callable[[], object]] = {
    "add a model": lambda: models.add_model(io.BytesIO(b"x"), "x.pt", name="x"),
    "add images": lambda: imagesets.add_upload([("x.png", io.BytesIO(b"x"))], name="x", role="id"),
    "add a folder": lambda: imagesets.add_folder("x", name="x", role="id"),
    "add an address": lambda: imagesets.add_address("s3://b/x", name="x", role="id"),
    "make surrogates": lambda: imagesets.submit_surrogates(set_id(), ["noise"]),
    "start the demo": demo.submit_demo,
    "start an ablation": lambda: ablations.submit_ablation("run1"),
    "explain an image": lambda: explanations.ask("run1", 0, "gsc"),
    "mark images": lambda: run_marks.mark(run(), [260], doubt=Doubt.UNUSABLE),
    "take marks back": lambda: run_marks.unmark(run(), [260]),
    "undo a mark": lambda: run_marks.undo(run(), run_marks.Change((), ())),
    "try an image": lambda: explanations.ask_try("run1", io.BytesIO(b"x"), "x.png"),
    "export": lambda: exports.submit_export("run1", decision()),
    "explain for the report": lambda: report_images.ask(run(), decision()),
    "start anything": lambda: queue.submit(Kind.AUDIT, "x", "x", {}),
}
OF_OPERATORS: dict[str, Callable[[], object]] = {
    "set limits": lambda: release_policy.keep(b""),
    "remove limits": release_policy.forget,
}


def state(home: Path) -> list[str]:
    """All files but the log, and all that the index says."""
    files = [
        f"{file.relative_to(home)} {hashlib.sha256(file.read_bytes()).hexdigest()}"
        for file in sorted(home.rglob("*"))
        if file.is_file() and file.name not in (JOURNAL_FILE, "workspace.db")
    ]
    rows = [*models.list_models(), *imagesets.list_sets(), *queue.jobs()]
    return files + [row.model_dump_json() for row in rows]


FORBIDDEN = [
    (who, what)
    for who in OTHERS
    for what in (*OF_OWNERS, *OF_AUDITORS, *OF_OPERATORS)
    if who != "another auditor" or what not in OF_AUDITORS
]


@pytest.mark.slow
@pytest.mark.parametrize(("who", "what"), FORBIDDEN)
def test_nobody_does_what_they_may_not(home, who, what):
    before, act = state(home), (OF_OWNERS | OF_AUDITORS | OF_OPERATORS)[what]
    with acting.acting_as(OTHERS[who]), pytest.raises(acting.NotAllowedError) as refused:
        act()
    assert str(refused.value).endswith((".", "again."))
    assert state(home) == before


def test_a_refusal_is_logged(home):
    with acting.acting_as(OTHERS["a reader"]), pytest.raises(acting.NotAllowedError):
        history.delete_run("run1")
    newest = journal.read(Wanted(events=(Event.REFUSED,)), 1).entries[0]
    assert (newest.person, newest.role) == ("rita@example.org", "reader")


def test_everything_has_its_owner(home):
    records = [*models.list_models(), *imagesets.list_sets(), *queue.jobs()]
    assert {record.owner for record in records} == {"ann@example.org"}
    assert shares.shared("run1")[0].owner == "ann@example.org"
    assert (runs.owner("run1"), runs.owner("another")) == ("ann@example.org", None)


def test_owners_and_operators_may(home):
    for person, name in ((ANN, "ann's"), (ALONE, "the operator's")):
        with acting.acting_as(person):
            models.rename_model(model_id(), name)
            run_decisions.decide(run(), decision(), "because")
            shares.revoke(shares.publish("run1", "<p>", days=1).share.id)
    assert models.list_models()[0].name == "the operator's"
    assert decisions.stored(run()).who is None
    events = {entry.event for entry in journal.read(Wanted(person="ann@example.org")).entries}
    assert {Event.ADDED, Event.STARTED, Event.CHANGED, Event.DECIDED} <= events
    assert {Event.SHARED, Event.REVOKED} <= events


def test_what_has_no_owner_is_the_operators(home):
    imagesets.register(
        Path(imagesets.list_sets("ood")[0].folder), name="old", role="ood", origin=""
    )
    (old,) = (each for each in imagesets.list_sets("ood") if each.name == "old")
    assert old.owner is None
    with acting.acting_as(ANN), pytest.raises(acting.NotAllowedError, match="ask an operator"):
        imagesets.rename_set(old.id, "mine")
    imagesets.rename_set(old.id, "renamed")
