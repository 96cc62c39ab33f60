"""A job carries a typed order for its kind; rows that earlier versions wrote open unchanged."""

import re
from pathlib import Path

import pytest
from places import ROOT
from pydantic import ValidationError

from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec
from gsc_core.errors import GscError
from gsc_core.evaluation.thresholds import KeepId
from gsc_core.jobs import orders, queue
from gsc_core.jobs.database import Job, Kind
from gsc_core.jobs.orders import JobOrder
from gsc_core.run.decisions import Decision
from gsc_core.workspace import tasks
from gsc_core.workspace.ablations import AblationOrder
from gsc_core.workspace.audits import AuditOrder
from gsc_core.workspace.demo import DemoOrder
from gsc_core.workspace.explanations import ExplainOrder, TryOrder, try_id
from gsc_core.workspace.exports import Order as ExportOrder
from gsc_core.workspace.imagesets import SetOrder, SurrogatesOrder
from gsc_core.workspace.maps import MapOrder
from gsc_core.workspace.models import ModelOrder
from gsc_core.workspace.remainders import RemainderOrder
from gsc_core.workspace.report_images import ReportImagesOrder
from gsc_core.workspace.tried_images import TryManyOrder

DECISION = {
    "detector": "energy",
    "rule": {"name": "keep_id", "share": 0.9},
    "value": 1.25,
    "chosen": "2026-11-26T12:00:00Z",
    "audited": "2026-11-26T11:00:00+00:00",
    "halved": False,
}
SPEC = AuditSpec(
    model=ModelSpec(checkpoint=Path("/data/model.pt2")),
    id=Path("/data/id"),
    ood={"noise": Path("/data/noise")},
    detectors=(DetectorSpec(name="energy"),),
)

# What the version before wrote, by hand.
ROWS: list[tuple[JobOrder, dict]] = [
    (AuditOrder(spec=SPEC), {"spec": SPEC.model_dump(mode="json")}),
    (DemoOrder(), {}),
    (AblationOrder(images_per_set=64), {"images_per_set": 64}),
    (ModelOrder(), {}),
    (SetOrder(), {}),
    (
        SurrogatesOrder(source="0123456789ab", surrogate="shuffled"),
        {"source": "0123456789ab", "kind": "shuffled"},
    ),
    (
        ExplainOrder(row=7, detector="gsc", version=3),
        {"row": 7, "detector": "gsc", "version": 3},
    ),
    (
        TryOrder(try_id="0123456789ab", file_name="löwe.jpg"),
        {"try": "0123456789ab", "file_name": "löwe.jpg"},
    ),
    (TryManyOrder(try_id="0123456789ab"), {"try_id": "0123456789ab"}),
    (
        ReportImagesOrder(rows=(1, 5), detector="gsc", version=3),
        {"rows": [1, 5], "detector": "gsc", "version": 3},
    ),
    (
        ExportOrder(decision=Decision.model_validate(DECISION), onnx=True, version=3),
        {"decision": DECISION, "onnx": True, "version": 3},
    ),
    (MapOrder(version=3), {"version": 3}),
    (
        RemainderOrder(run="0123456789ab", set="id", without=("a" * 64,)),
        {"run": "0123456789ab", "set": "id", "without": ["a" * 64]},
    ),
]
each_row = pytest.mark.parametrize(("order", "row"), ROWS, ids=[order.kind for order, _ in ROWS])


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(tmp_path))


def stored(kind: Kind, payload: dict) -> Job:
    """A job as it is read back from the index."""
    job = queue.get(queue.submit(kind, "A job", "subject", payload).id)
    assert job is not None
    return job


def test_every_kind_has_one_order_and_one_task():
    kinds = [order.kind for order in JobOrder.__subclasses__() if order.__module__ != __name__]
    assert sorted(kinds) == sorted(Kind)
    assert set(tasks.TASKS) == set(Kind)
    assert sorted(order.kind for order, _ in ROWS) == sorted(Kind)


@each_row
def test_a_row_of_the_version_before_opens_unchanged(order, row):
    job = stored(order.kind, row)
    assert type(order).of(job) == order
    assert order.is_of(job)


@each_row
def test_an_order_is_written_as_the_version_before_wrote_it(order, row):
    job = orders.submit(order, "A job", "subject", 12)
    assert (job.kind, job.lane, job.images_total) == (order.kind, order.kind.lane, 12)
    again = queue.get(job.id)
    assert again is not None
    assert again.payload == _with_new_parts(row)
    assert type(order).of(again) == order


def _with_new_parts(row: dict) -> dict:
    """What came to a decision since: who picked a detector, and why."""
    if "decision" not in row:
        return row
    return row | {"decision": row["decision"] | {"picked": False, "who": None, "note": None}}


def test_what_an_old_row_left_out_has_a_default():
    assert AblationOrder.of(stored(Kind.ABLATION, {})) == AblationOrder()
    assert ExplainOrder.of(stored(Kind.EXPLAIN, {"row": 1, "detector": "gsc"})).row == 1
    more = {"source": "a", "kind": "b", "of_a_later": "version"}
    assert SurrogatesOrder.of(stored(Kind.SURROGATES, more)).source == "a"


@pytest.mark.parametrize(
    ("order", "row"),
    [
        (AuditOrder, {}),
        (AuditOrder, {"spec": {"id": 3}}),
        (ExplainOrder, {"row": "first", "detector": "gsc"}),
        (TryOrder, {"file_name": "x"}),
        (ReportImagesOrder, {"rows": 3, "detector": "gsc"}),
        (ExportOrder, {"decision": {}, "onnx": True, "version": 1}),
        (SurrogatesOrder, {"source": None}),
    ],
)
def test_a_damaged_row_is_one_sentence(order, row):
    job = stored(order.kind, row)
    assert order.read(job) is None
    with pytest.raises(GscError, match="start it again") as told:
        order.of(job)
    assert "\n" not in str(told.value)


def test_the_order_of_another_kind_is_not_read():
    job = stored(Kind.TRY, {"row": 1, "detector": "gsc", "version": 1})
    assert ExplainOrder.read(job) is None
    assert not ExplainOrder(row=1, detector="gsc", version=1).is_of(job)
    assert try_id(job) is None
    assert try_id(stored(Kind.TRY, {"try": "abc", "file_name": "x"})) == "abc"


def test_an_order_does_not_change():
    with pytest.raises(ValidationError):
        ExplainOrder(row=1, detector="gsc").row = 2
    assert ExportOrder(
        decision=Decision(detector="x", rule=KeepId(share=0.9), value=1), onnx=False, version=1
    ) != ExportOrder(
        decision=Decision(detector="x", rule=KeepId(share=0.8), value=1), onnx=False, version=1
    )


def test_a_text_is_named_as_a_whole():
    job = stored(Kind.SURROGATES, {"source": "0123456789ab", "kind": "löwe"})
    assert orders.names(job, "0123456789ab")
    assert orders.names(job, "löwe")
    assert not orders.names(job, "0123456789a")


def test_payloads_are_read_and_written_in_one_place():
    root = ROOT
    files = [*(root / "gsc_core").rglob("*.py"), *(root / "pages").rglob("*.py")]
    reading = {path.name for path in files if re.search(r"\.payload\b", path.read_text("utf-8"))}
    assert reading == {"orders.py"}
    submitting = {path.name for path in files if "queue.submit(" in path.read_text("utf-8")}
    assert submitting == {"orders.py"}
