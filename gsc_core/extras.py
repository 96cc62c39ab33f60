"""Libraries that come with an extra of the package, and the sentence for one that is missing."""

from importlib.util import find_spec
from types import MappingProxyType

from gsc_core.errors import GscError

EXTRAS = MappingProxyType(
    {
        "streamlit": "app",
        "starlette": "app",
        "python-multipart": "app",  # the name it is installed by
        "plotly": "app",
        "sqlmodel": "app",
        "scikit-learn": "app",
        "jinja2": "report",
        "typst": "report",
        "onnx": "onnx",
        "onnxscript": "onnx",
        "onnxruntime": "onnx",
        "timm": "timm",
        "transformers": "hf",
        "ray": "ray",
    }
)
"""The extra that brings each optional library, as `pyproject.toml` declares them."""

_IMPORTED_AS = MappingProxyType({"scikit-learn": "sklearn"})


class MissingExtra(GscError, ImportError):  # noqa: N818 - a GscError is one
    """An optional library is not installed; the message says how to install it."""


def missing(*libraries: str, extra: str | None = None) -> str | None:
    """The sentence for the first of these libraries that is not installed; None if all are.

    `extra` is the one to name where several bring the library.
    """
    for library in libraries:
        if find_spec(_IMPORTED_AS.get(library, library.replace("-", "_"))) is None:
            return (
                f"This needs {library}, which is not installed: "
                f"pip install 'gsc-audit[{extra or EXTRAS[library]}]'."
            )
    return None


def require(*libraries: str, extra: str | None = None) -> None:
    """Raise MissingExtra unless all of these optional libraries are installed; see `missing`."""
    if (sentence := missing(*libraries, extra=extra)) is not None:
        raise MissingExtra(sentence)
