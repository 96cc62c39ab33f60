"""Files that a browser sends, and a worker for what they order."""

import io
import zipfile

import numpy as np
from PIL import Image

from gsc_core.jobs import queue
from gsc_core.jobs.database import Kind, State, session
from gsc_core.workspace.tasks import TASKS


def png(seed: int, width=24, height=16) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def packed(files: dict[str, bytes]) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    file.seek(0)
    return file


def work(on_progress=lambda _: None) -> list:
    """Do the queued jobs of sets as the worker does, oldest first."""
    kinds = (Kind.SET, Kind.SURROGATES, Kind.REMAINDER)
    waiting = queue.jobs(kinds=kinds, states=(State.QUEUED,))[::-1]
    for job in waiting:
        TASKS[job.kind](job, on_progress)
        with session() as db:
            job.state = State.DONE
            db.add(job)
    return waiting


MIXED = {
    "all/cat/1.png": png(1),
    "all/cat/2.png": png(2, 40, 90),
    "all/dog/1.png": png(3),
    "all/dog/copy.png": png(1),
    "all/dog/broken.jpg": b"no picture",
    "all/readme.txt": b"hello",
}
