"""What a job is asked to do: one frozen model for each kind, kept as JSON with the job.

Each stands beside the work it orders; here it is written to the index and read from there.
"""

import json
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from gsc_core.errors import GscError
from gsc_core.jobs import queue
from gsc_core.jobs.database import Job, Kind


class JobOrder(BaseModel):
    """The order of one `kind` of job. What an older version left out has a default."""

    model_config = ConfigDict(frozen=True)

    kind: ClassVar[Kind]

    @classmethod
    def of(cls, job: Job) -> Self:
        """The order of a job of this kind. Raises GscError when the index holds none."""
        order = cls.read(job)
        if order is None:
            raise GscError("What this job was to do cannot be read: start it again.")
        return order

    @classmethod
    def read(cls, job: Job) -> Self | None:
        """As `of`; None for what cannot be read and for jobs of another kind."""
        if job.kind is not cls.kind:
            return None
        try:
            return cls.model_validate(job.payload)
        except ValidationError:
            return None

    def stored(self) -> dict[str, Any]:
        """As the index holds it."""
        stored: dict[str, Any] = json.loads(self.model_dump_json(by_alias=True))
        return stored

    def is_of(self, job: Job) -> bool:
        """Whether a job was asked for just this."""
        # not as it is stored: an earlier version wrote fewer parts of it
        return self.read(job) == self


def submit(order: JobOrder, title: str, subject: str, images_total: int = 0) -> Job:
    """Put a job at the end of its lane."""
    return queue.submit(order.kind, title, subject, order.stored(), images_total)


def names(job: Job, text: str) -> bool:
    """Whether this very text, such as a path or an id, stands in what a job is asked to do."""
    return json.dumps(text, ensure_ascii=False) in json.dumps(job.payload, ensure_ascii=False)
