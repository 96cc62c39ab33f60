"""Audits as the app asks for them: from records to a specification, a job, a run folder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from gsc_core.audit.answers import answered
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec
from gsc_core.detectors.facts import parsed_settings
from gsc_core.errors import GscError, SpecError
from gsc_core.errors.questions import Answer
from gsc_core.images.labels import LabelsFrom, labels_from
from gsc_core.images.sources.uri import Uri, source_of
from gsc_core.jobs import orders, queue
from gsc_core.jobs.configuration import configuration
from gsc_core.jobs.database import Job, Kind, StoredModel, StoredSet, new_id
from gsc_core.jobs.limits import cores
from gsc_core.jobs.orders import JobOrder
from gsc_core.progress import Progress
from gsc_core.run.detector_names import current_name
from gsc_core.run.layout import METRICS_FILE
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import imagesets, models, runs, usage
from gsc_core.workspace.catalogue import catalogue
from gsc_core.workspace.server_folders import allowed_addresses

QUICK = ("gsc", "msp", "energy", "gradnorm", "react", "knn")
"""GSC and five standard detectors, none of which costs a further pass."""

LONGEST_TITLE = 80
_SURROGATES = 256  # surrogate images are made from at most as many calibration images

# Measured on two CPU cores with EfficientNet-Lite0 and the demo.
_START = 8.0  # seconds to start a worker and open the model
_DECODE = 0.005  # seconds to decode an image, on two threads
_SEARCH = 2.5  # passes of each surrogate image that a detector's setting itself costs
_MEASURE = 0.02  # seconds for the intervals of one detector on one set


class AuditOrder(JobOrder):
    """What to audit."""

    kind: ClassVar[Kind] = Kind.AUDIT
    spec: AuditSpec


@dataclass(frozen=True)
class Workload:
    """How many images go through the network: some to calibrate, the others to be judged."""

    calibration: int
    test: int
    ood_sets: int = 1

    @classmethod
    def of(cls, id_images: int, ood_images: Sequence[int], calibration: float | int) -> "Workload":
        """From the sizes of the sets; `calibration` is a share of the ID ones or a number."""
        if isinstance(calibration, float):
            calibration_images = round(id_images * calibration)
            return cls(
                calibration_images,
                id_images - calibration_images + sum(ood_images),
                len(ood_images),
            )
        return cls(calibration, id_images + sum(ood_images), len(ood_images))

    @property
    def total(self) -> int:
        """All that go through the network, with the surrogate images made of calibration images."""
        return self.calibration + self.test + min(self.calibration, _SURROGATES)


def estimate(seconds_per_image: float, work: Workload, detectors: Sequence[str]) -> float:
    """About how many seconds an audit takes.

    `seconds_per_image` is one forward pass as measured on this machine (`ModelFacts`). The one pass
    with its gradient costs a tenth more; each detector adds its extra passes, and one that sets
    itself the search.
    """
    every = [catalogue().detector(name) for name in detectors]
    search = any(facts.searches for facts in every)
    searching = _SEARCH * seconds_per_image * min(work.calibration, _SURROGATES) * search
    cost = 1.1 + sum(facts.extra_passes for facts in every)
    measuring = _MEASURE * len(detectors) * (1 + work.ood_sets)
    return _START + work.total * (seconds_per_image * cost + _DECODE) + measuring + searching


def scored(detectors: Sequence[DetectorSpec]) -> tuple[str, ...]:
    """The names of all that are scored: the chosen detectors, and what ensembles need beside them.

    Raises SpecError for an unknown detector or setting.
    """
    names = dict.fromkeys(name.name for name in detectors)
    for spec in detectors:
        facts = catalogue().detector(spec.name)
        values = parsed_settings(facts.name, facts.settings, spec.settings)
        names |= dict.fromkeys(facts.scored_beside(values))
    return tuple(names)


def specification(
    model: ModelSpec,
    id_set: StoredSet,
    ood_sets: Sequence[StoredSet],
    calibration: StoredSet | float,
    detectors: Sequence[DetectorSpec],
    **settings: Any,
) -> AuditSpec:
    """What to audit, from the workspace's records; `settings` are further fields of `AuditSpec`.

    Raises SpecError, one sentence, for whatever cannot be audited like this.
    """
    calibration_source = (
        source_of(calibration.folder) if isinstance(calibration, StoredSet) else calibration
    )
    scored(detectors)
    try:
        return AuditSpec(
            model=model,
            id=source_of(id_set.folder),
            ood=_by_name(ood_sets),
            calibration=calibration_source,
            labels=_labels_from(id_set),
            calibration_labels=_labels_from(calibration),
            detectors=tuple(detectors),
            **settings,
        )
    except ValidationError as error:
        raise SpecError(_sentence(error)) from error


def submit_audit(spec: AuditSpec, title: str, images_total: int) -> str:
    """Queue an audit and give the id of its run; `images_total` is `Workload.total`.

    Raises SpecError when a path cannot be saved or the title is empty or too long.
    """
    title = " ".join(title.split())
    if not 0 < len(title) <= LONGEST_TITLE or not title.isprintable():
        raise SpecError(
            f"A title has 1 to {LONGEST_TITLE} printable characters: give the audit one."
        )
    usage.ensure_room(acting.ensure(Action.START).name)
    run_id = new_id()
    try:
        orders.submit(AuditOrder(spec=spec), title, run_id, images_total)
    except PydanticSerializationError as error:
        raise SpecError(
            "A path holds bytes that are not UTF-8 text: rename the file or folder."
        ) from error
    return run_id


def answer_audit(job: Job, answer: Answer) -> None:
    """Let an audit that stopped with a question go on with an answer to it.

    Raises GscError where what was asked for cannot be read.
    """
    spec = answered(AuditOrder.of(job).spec, answer)
    queue.retry(job.id, AuditOrder(spec=spec).stored())


@dataclass(frozen=True)
class Asked:
    """What an audit was asked for, as far as it is still there."""

    model: StoredModel | None = None
    familiar: StoredSet | None = None
    unfamiliar: tuple[StoredSet, ...] = ()
    detectors: tuple[str, ...] = ()


def asked_for(job: Job) -> Asked:
    """What an audit was asked for; nothing of another job."""
    order = AuditOrder.read(job)
    if order is None:
        return Asked()
    spec = order.spec
    of_spec = (stored for stored in models.list_models() if _is_model_of(stored, spec))
    of_folder = {source_of(stored.folder): stored for stored in imagesets.list_sets()}
    return Asked(
        model=next(of_spec, None),
        familiar=of_folder.get(spec.id),
        unfamiliar=tuple(of_folder[one] for one in spec.ood.values() if one in of_folder),
        detectors=tuple(current_name(detector.name) for detector in spec.detectors),
    )


def _is_model_of(stored: StoredModel, spec: AuditSpec) -> bool:
    try:
        return models.spec_of(stored) == spec.model
    except GscError:  # another model whose file is gone says nothing of this audit
        return False


def perform(job: Job, on_progress: Callable[[Progress], None]) -> None:
    """The work of an `AUDIT` job: continues from the chunks a killed process left; see `tasks`."""
    from gsc_core.audit.run import run_audit  # noqa: PLC0415 - heavy

    spec = _more_carefully(AuditOrder.of(job).spec, job.attempts)
    folder = runs.run_folder(job.subject)
    if not (folder / METRICS_FILE).is_file():  # else killed between the result and its record
        run_audit(_placed(spec), folder, on_progress, reach=allowed_addresses())


def has_cluster() -> bool:
    """Whether the operator has a Ray cluster on which audits may be scored."""
    return configuration().ray_address is not None


def _placed(spec: AuditSpec) -> AuditSpec:
    """Where a cluster scores: on the operator's, as it is set now. Raises SpecError without one."""
    if spec.engine == "local":
        return spec
    settings = configuration()
    if settings.ray_address is None:
        raise SpecError(
            "There is no longer a cluster for audits: start the audit again without one."
        )
    return spec.model_copy(
        update={"ray_address": settings.ray_address, "workers": settings.ray_workers}
    )


def _more_carefully(spec: AuditSpec, attempt: int) -> AuditSpec:
    """After an attempt whose process died, images are decoded in processes, however few they are.

    One that crashes its decoder would end every attempt at it; so it costs itself alone.
    """
    if attempt < 2 or spec.decoders is not None:
        return spec
    return spec.model_copy(update={"decoders": cores()})


def _labels_from(source: StoredSet | float) -> LabelsFrom | None:
    return labels_from(source.labels_from) if isinstance(source, StoredSet) else None


def _by_name(ood_sets: Sequence[StoredSet]) -> dict[str, Path | Uri]:
    folders: dict[str, Path | Uri] = {}
    for stored in ood_sets:
        if stored.name in folders:
            raise SpecError(
                f'Two of the chosen sets of unfamiliar images are named "{stored.name}": rename '
                "one "
                "of them."
            )
        folders[stored.name] = source_of(stored.folder)
    return folders


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    match first:
        case {"type": "value_error", "ctx": {"error": reason}}:
            return f"{reason}: rename the set."
        case {"type": "too_short", "loc": ("ood", *_)}:
            return "Choose at least one set of unfamiliar images."
        case {"type": "too_short", "loc": ("detectors", *_)}:
            return "Choose at least one detector."
    return f"The setting {first['loc'][0]} cannot be {first['input']!r}: {first['msg'].lower()}."
