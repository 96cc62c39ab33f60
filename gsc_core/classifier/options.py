"""Arguments of an architecture's constructor as a person types them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from pydantic import TypeAdapter, ValidationError

from gsc_core.classifier.metadata import Scalar
from gsc_core.errors import SpecError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,60}")
_VALUE: TypeAdapter[Any] = TypeAdapter(Scalar | list[Scalar])
_PYTHON = {"True": True, "False": False, "None": None}


def parse_options(texts: Iterable[str]) -> dict[str, Any]:
    """Read `aux_logits=false` and the like, each value as JSON, else as a word.

    Raises SpecError for what is no `NAME=VALUE`, or is there twice.

    >>> parse_options(["aux_logits=false", "img_size=[96,64]", "global_pool=avg"])
    {'aux_logits': False, 'img_size': [96, 64], 'global_pool': 'avg'}
    """
    options: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not value or not _NAME.fullmatch(name) or name in options:
            raise SpecError(
                f"The option {text[:80]!r} is not understood: give each once, as NAME=VALUE, such "
                "as aux_logits=false or img_size=96."
            )
        options[name] = _value(name, value)
    return options


def split_options(text: str) -> list[str]:
    """The options in one line, with spaces or commas between, as `parse_options` takes them."""
    return re.findall(
        r"[^\s,=]+\s*=\s*(?:\[[^\]]*\]|[^\s,]+)|[^\s,]+", text.replace("--option", " ")
    )


def format_options(options: dict[str, Any]) -> str:
    """The options in one line, as `split_options` takes them apart again."""
    return " ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value, separators=(',', ':'))}"
        for name, value in options.items()
    )


def _value(name: str, text: str) -> Any:
    try:
        return _VALUE.validate_python(_PYTHON[text] if text in _PYTHON else _json(text))
    except ValidationError as error:
        raise SpecError(
            f"The option {name!r} takes a number, a word, true or false, or a list of them."
        ) from error


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
