"""The one family of errors a user can fix: one sentence that says what is wrong and what to do."""

from typing import Self

from gsc_core.errors.questions import Question


class GscError(Exception):
    """Something the user can fix. The message is one plain sentence, shown as it is.

    Where the work has to ask, `question` has what to ask, so that each place words it itself; the
    message is then as a program would answer.

    >>> from gsc_core import DetectorSpec, GscError
    >>> try:
    ...     DetectorSpec(name="enrgy").build()
    ... except GscError as error:
    ...     print(error)
    There is no detector 'enrgy'; the nearest: energy, gsc-energy, entropy.
    """

    question: Question | None = None

    @classmethod
    def asking(cls, question: Question) -> Self:
        """The error that stops the work until a question is answered."""
        error = cls(str(question))
        error.question = question
        return error


class CheckpointError(GscError):
    """The model file cannot be read, is unsafe, or does not fit what was said of it."""


class ImageError(GscError):
    """An image, folder, archive or label table cannot be used."""


class SpecError(GscError):
    """The audit asks for something that does not exist or cannot be done."""


class Cancelled(Exception):  # noqa: N818 - not an error
    """The work was told to stop; an audit continues from its finished chunks."""


class Excused(GscError):  # noqa: N818 - an answer more than an error
    """A detector cannot run on this model or these images; the audit goes on without it."""
