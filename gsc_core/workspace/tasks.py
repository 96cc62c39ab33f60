"""What each kind of job does: the one list that the worker reads."""

from collections.abc import Mapping

from gsc_core.jobs.database import Kind
from gsc_core.jobs.worker import Task
from gsc_core.workspace import (
    ablations,
    audits,
    demo,
    explanations,
    exports,
    imagesets,
    maps,
    models,
    remainders,
    report_images,
    tried_images,
)

TASKS: Mapping[Kind, Task] = {
    Kind.AUDIT: audits.perform,
    Kind.DEMO: demo.perform,
    Kind.ABLATION: ablations.perform,
    Kind.MODEL: models.look,
    Kind.SET: imagesets.look,
    Kind.SURROGATES: imagesets.make_surrogates,
    Kind.REMAINDER: remainders.make_remainder,
    Kind.EXPLAIN: explanations.perform,
    Kind.TRY: explanations.try_one,
    Kind.TRY_MANY: tried_images.perform,
    Kind.REPORT_IMAGES: report_images.perform,
    Kind.EXPORT: exports.perform,
    Kind.MAP: maps.perform,
}
