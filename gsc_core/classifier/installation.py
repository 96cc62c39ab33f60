"""At start: do torch and torchvision fit together?"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from gsc_core.errors import GscError

_ADVICE = "install both together with: pip install --force-reinstall torch torchvision"


def check_installation() -> None:
    """Raise a GscError when torchvision is missing, broken or built for another torch.

    torchvision holds compiled code for one torch release and kind of build (CPU or a CUDA version);
    with another one its import fails, or worse, an operator is missing later.
    """
    try:
        torch, torchvision = version("torch"), version("torchvision")
    except PackageNotFoundError as error:
        raise GscError(f"The package {error.name} is not installed: {_ADVICE}.") from error
    pair = f"torch {torch} and torchvision {torchvision}"
    wanted = [Requirement(line) for line in requires("torchvision") or []]
    for requirement in wanted:
        if requirement.name == "torch" and not requirement.specifier.contains(torch, True):
            raise GscError(
                f"{pair} do not fit together (torchvision wants {requirement}): {_ADVICE}."
            )
    try:
        complete = importlib.import_module("torchvision.extension")._has_ops()
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise GscError(f"{pair} cannot be imported together: {_ADVICE}.") from error
    if not complete:
        raise GscError(f"{pair} are not builds of one kind (CPU or CUDA): {_ADVICE}.")
