"""Copies of the images that pages show first, where a set's images lie elsewhere.

A page reads images from this disk alone: neither a bucket nor its credentials are the web server's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from gsc_core.errors import GscError
from gsc_core.files import written_aside
from gsc_core.images import ImageFile, Partition
from gsc_core.images.sources.address import bytes_of
from gsc_core.images.sources.listing import is_listing
from gsc_core.images.sources.uri import Uri
from gsc_core.log import LOGGER
from gsc_core.run.layout import CALIBRATION, ID, unpacked_folder
from gsc_core.run.stored import Run

COPIED = 100
"""Images of each set with the highest scores, and as many with the lowest."""


def copy_shown(run: Run, sets: Partition, sources: Mapping[str, Path | Uri | float]) -> None:
    """Copy the images of extreme scores of each set whose source only lists images.

    `sources` has what the sets `id`, `calibration` and the OOD sets were read from. An image that
    cannot be had any more is passed over.
    """
    decision = run.document.decision
    detector = run.detectors[0] if decision is None else decision.detector
    for name, images in sets.every().items():
        source = sources[name]
        if isinstance(source, float):
            source, name = sources[ID], ID  # noqa: PLW2901 - it lies among the ID images
        if isinstance(source, float) or not is_listing(source):
            continue
        by_name = {image.name: image for image in images.images}
        for file in _extreme(run, detector, CALIBRATION if images is sets.calibration else name):
            _copy(by_name[file], unpacked_folder(run.path, name))


def _extreme(run: Run, detector: str, name: str) -> list[str]:
    rows = run.rows_of([name])
    order = rows[np.argsort(run.column(detector)[rows], kind="stable")]
    shown = order if len(order) <= 2 * COPIED else np.r_[order[:COPIED], order[-COPIED:]]
    return [str(file) for file in run.files().take(shown).to_pylist()]


def _copy(image: ImageFile, folder: Path) -> None:
    name = PurePosixPath(image.name)
    if name.is_absolute() or ".." in name.parts:
        return
    try:
        data = bytes_of(image.path, image.name)
        with written_aside(folder / name) as part:
            part.write_bytes(data)
    except GscError as error:
        LOGGER.warning("no copy is made: %s", error)
