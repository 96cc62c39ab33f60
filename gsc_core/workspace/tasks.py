"""What each kind of job does: the one list that the worker reads."""

from collections.abc import Callable, Mapping

from gsc_core.audit import Progress
from gsc_core.workspace import (
    ablations,
    audits,
    demo,
    explanations,
    exports,
    imagesets,
    models,
    telling,
)
from gsc_core.workspace.database import Job, Kind

Task = Callable[[Job, Callable[[Progress], None]], None]
"""Does a job. It tells its progress, by which it may be stopped (Cancelled), and is called again
after its process was killed; a GscError is the sentence for the reader."""

TASKS: Mapping[Kind, Task] = {
    Kind.AUDIT: audits.perform,
    Kind.DEMO: demo.perform,
    Kind.ABLATION: ablations.perform,
    Kind.MODEL: models.look,
    Kind.SET: imagesets.look,
    Kind.SURROGATES: imagesets.make_surrogates,
    Kind.EXPLAIN: explanations.perform,
    Kind.TRY: explanations.try_one,
    Kind.TELLING: telling.perform,
    Kind.EXPORT: exports.perform,
}
