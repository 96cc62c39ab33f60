"""Answers of functions that go through all scores, given once at the end of a large audit.

Of millions of images a page would wait half a minute for them. A `remembered` function looks for
its answer in the run's `summary.json`, and counts where there is none: for other arguments, marked
images, other scores, or a run that stored none. So what is stored and what is counted is one thing.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from typing import Any, Concatenate, Generic, Literal, ParamSpec, TypeVar, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from gsc_core.errors import GscError
from gsc_core.files import written_aside
from gsc_core.log import LOGGER, Step
from gsc_core.run.layout import SCORES_FILE, SUMMARY_FILE
from gsc_core.run.stored import Run, RunKey

P = ParamSpec("P")
R = TypeVar("R")

SUMMARISED_FROM = 200_000
"""Images from which an audit stores it: fewer are counted in a second."""


PHASE = "measuring what pages show"


class Summary(BaseModel):
    """What a run's file of it holds.

    Attributes:
        scores: a digest of the scores that it was counted from, see `digest_of`.
        audited: when the audit was finished that stored it.
        answers: by question, which is the function's name and its arguments as JSON.
    """

    model_config = ConfigDict(frozen=True)

    format: Literal[2] = 2
    scores: str
    audited: str | None
    answers: Mapping[str, Any]

    @classmethod
    def of(cls, run: Run) -> Summary | None:
        """That of a run as it was audited; None where there is none, or of other scores."""
        if run.revision is not None or not (run.path / SUMMARY_FILE).is_file():
            return None
        return _read(run.key, (run.path / SUMMARY_FILE).stat().st_mtime_ns)

    @classmethod
    def counted(cls, run: Run, questions: Iterable[Question], step: Step) -> Summary:
        """The answers to these questions; what has none is left out, and the page says why."""
        asked, answers = {question.text: question for question in questions}, {}
        for at, (text, question) in enumerate(asked.items()):
            step(PHASE, at, len(asked))
            with suppress(GscError):
                answers[text] = question.answered(run)
        scores = digest_of(run)
        return cls(scores=scores, audited=run.provenance.finished, answers=answers)

    def write(self, run: Run) -> None:
        """Put it beside the run."""
        with written_aside(run.path / SUMMARY_FILE) as part:
            part.write_text(json.dumps(self.model_dump()), encoding="utf-8")


def digest_of(run: Run) -> str:
    """A digest of the end of `scores.parquet`, where Parquet says of every column what it holds.

    Without reading all of it, it tells other scores by their number, sizes and extremes. Raises
    OSError or ArrowException as reading does.
    """
    path = run.path / SCORES_FILE
    with path.open("rb") as file:
        size, footer = path.stat().st_size, pq.ParquetFile(file).metadata.serialized_size
        file.seek(max(0, size - footer - 8))
        return hashlib.sha256(str(size).encode() + file.read()).hexdigest()


@lru_cache(maxsize=8)
def _read(key: RunKey, _: int) -> Summary | None:
    """The summary of a version of a run and of the file; what is wrong with it is said once."""
    run = key.run
    try:
        stored = Summary.model_validate(json.loads((run.path / SUMMARY_FILE).read_bytes()))
        of_these = stored.scores, stored.audited
        if of_these == (digest_of(run), run.provenance.finished):
            return stored
        reason = "it is of other scores"
    except (OSError, ValueError, RecursionError, pa.ArrowException) as error:
        reason = f"it cannot be read ({type(error).__name__})"
    LOGGER.warning("%s of %s is not used, so pages count anew: %s", SUMMARY_FILE, run.id, reason)
    return None


@dataclass(frozen=True)
class Question:
    """A remembered function and its arguments beside the run."""

    of: Remembered[..., Any]
    arguments: tuple[Any, ...]

    @property
    def text(self) -> str:
        """What stands for it in a summary."""
        return f"{self.of.__name__} {json.dumps(self.arguments, default=asdict)}"

    def answered(self, run: Run) -> Any:
        """The answer as a summary keeps it, counted."""
        return self.of.adapter.dump_python(self.of.count(run, *self.arguments))


class Remembered(Generic[P, R]):
    """A function of a run and of small arguments that looks into the run's summary first.

    What it returns is made of what pydantic knows, and of `evaluation.arrays`.
    """

    def __init__(self, count: Callable[Concatenate[Run, P], R]) -> None:
        self.count = count
        self.__name__ = count.__name__
        functools.update_wrapper(self, count)

    @cached_property
    def adapter(self) -> TypeAdapter[R]:
        """How an answer is read and written; the function's types are looked up when first used."""
        return TypeAdapter(get_type_hints(self.count, include_extras=True)["return"])

    def about(self, *args: P.args, **kwargs: P.kwargs) -> Question:
        """The question that this call puts to a run."""
        bound = inspect.signature(self.count).bind(None, *args, **kwargs)
        bound.apply_defaults()
        return Question(self, tuple(bound.arguments.values())[1:])

    def __call__(self, run: Run, *args: P.args, **kwargs: P.kwargs) -> R:
        """The stored answer; else what is counted."""
        stored = Summary.of(run)
        if stored is not None:
            question = self.about(*args, **kwargs)
            if question.text in stored.answers:
                try:
                    return self.adapter.validate_python(stored.answers[question.text])
                except ValidationError:
                    LOGGER.warning("%s: the answer to %s is damaged", SUMMARY_FILE, question.text)
        return self.count(run, *args, **kwargs)


def remembered(count: Callable[Concatenate[Run, P], R]) -> Remembered[P, R]:
    """Let a function look into the run's summary before it goes through all scores."""
    return Remembered(count)
