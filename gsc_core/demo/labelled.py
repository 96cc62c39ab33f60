"""ID signs by day as arrays with their classes: what the network is trained and measured on."""

import io
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gsc_core.demo.render import ID_PAINTERS, Purpose, paint
from gsc_core.demo.signs import CLASS_NAMES

Bytes = NDArray[np.uint8]


def _one_class(kind: int, seed: int, purpose: Purpose, count: int) -> Bytes:
    """Images of one class, [count, 3, 96, 96], as they are after JPEG."""
    painter = ID_PAINTERS[CLASS_NAMES[kind]]
    files = (io.BytesIO(paint(painter, seed, purpose, kind, i)) for i in range(count))
    return np.stack([np.asarray(Image.open(f)).transpose(2, 0, 1) for f in files])


def labelled_images(
    seed: int, purpose: Purpose, per_class: int, workers: int = 1
) -> tuple[Bytes, NDArray[np.int64]]:
    """Images [N, 3, 96, 96] and class indices [N], class after class.

    ``workers`` processes share the work; the images do not depend on their number.
    """
    kinds = range(len(CLASS_NAMES))
    one_class: Any = partial(_one_class, seed=seed, purpose=purpose, count=per_class)
    if workers == 1:
        parts = list(map(one_class, kinds))
    else:
        # Spawned, not forked: a caller that uses torch already runs threads.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            parts = list(pool.map(one_class, kinds))
    return np.concatenate(parts), np.repeat(np.arange(len(CLASS_NAMES)), per_class)
