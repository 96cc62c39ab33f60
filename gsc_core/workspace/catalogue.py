"""What the app offers of the engine: detectors with their settings, and architectures.

Both are told by classes that need torch, which the web server never loads: a process of its own
writes the list down, once for each version of what it is made of.
"""

import functools
import hashlib
import os
import subprocess
import sys
import threading
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

import gsc_core
from gsc_core.classifier.preprocessing import Preprocessing
from gsc_core.detectors.facts import DetectorFacts, named
from gsc_core.errors import GscError
from gsc_core.files import written_aside
from gsc_core.jobs.home import home
from gsc_core.jobs.supervisor import clean_environment

CATALOGUE_FILE = "catalogue.json"
_SOURCES = ("detectors/*.py", "classifier/*.py", "workspace/catalogue*.py")  # of `gsc_core`
_LIBRARIES = ("torch", "torchvision", "timm", "pytorch-ood", "pydantic")
_LIMIT_S = 300.0
_reading = threading.Lock()  # visitors who come together wait for one process


class Catalogue(BaseModel):
    """Every detector, and the usual preprocessing of every architecture by its full name.

    made_of: a digest of the sources and the versions of the libraries.
    """

    model_config = ConfigDict(frozen=True)

    made_of: str
    detectors: tuple[DetectorFacts, ...]
    architectures: dict[str, Preprocessing]

    def detector(self, name: str) -> DetectorFacts:
        """The detector of that name; raises SpecError with the nearest names."""
        return named(name, {facts.name: facts for facts in self.detectors})


def catalogue() -> Catalogue:
    """The list as it is now; the first call may take some seconds.

    Raises GscError when the engine cannot be asked for it.
    """
    with _reading:
        return _catalogue()


@functools.cache
def _catalogue() -> Catalogue:
    return _stored() or _made()


def _stored() -> Catalogue | None:
    try:
        stored = Catalogue.model_validate_json((home() / CATALOGUE_FILE).read_bytes())
    except (OSError, ValidationError):
        return None
    return stored if stored.made_of == made_of() else None


def _made() -> Catalogue:
    # -P: a file that lies in the working directory is never imported
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "gsc_core", "catalogue"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=clean_environment(os.environ),
            timeout=_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GscError(f"The list of detectors cannot be made: {error}. Try again.") from error
    try:
        stored = Catalogue.model_validate_json(done.stdout)
    except ValidationError as error:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        reason = (
            said[-1].rstrip(".") if said else f"it ended with {done.returncode} and said nothing"
        )
        raise GscError(
            f"The list of detectors cannot be made ({reason}): check the installation."
        ) from error
    if home().exists():  # no workspace is made before somebody asks for one
        with suppress(GscError), written_aside(home() / CATALOGUE_FILE) as part:
            part.write_bytes(done.stdout)
    return stored


def made_of() -> str:
    """A digest of all that the list depends on."""
    folder = Path(gsc_core.__file__).parent
    sources = sorted(path for name in _SOURCES for path in folder.glob(name))
    digest = hashlib.sha256(gsc_core.__version__.encode())
    for path in sources:
        digest.update(path.read_bytes())
    for library in _LIBRARIES:
        with suppress(PackageNotFoundError):
            digest.update(f"{library} {version(library)}".encode())
    return digest.hexdigest()
