"""Decoder processes: the pixels of this process, and what happens when one of them dies."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import crashing
import numpy as np
import pandas as pd
import pytest
import torch
from browser import PATIENCE
from PIL import Image, ImageOps
from places import IMPORTABLE
from small_audit import PREPROCESS, write_stage
from torch import Tensor

from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.images import ImageFile
from gsc_core.progress import Progress
from gsc_core.scoring import decoders as module
from gsc_core.scoring.decoder_process import ForkServer
from gsc_core.scoring.decoders import Bundle, Decoders
from gsc_core.scoring.loading import Batch, read_batches

pytestmark = pytest.mark.slow


def until(happened: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        os.sched_yield()


def ended(pid: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Sequence[ImageFile]:
    """Images of many sizes, modes, formats and orientations, some of them broken."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    formats = ["jpg", "png", "jpg", "png", "webp", "jpg", "png", "tif", "gif", "bmp"]
    modes = ["RGB", "RGBA", "L", "P", "RGB", "CMYK", "I;16", "F", "P", "1"]
    for at in range(70):
        suffix, mode = formats[at % len(formats)], modes[at % len(modes)]
        height, width = random.integers(8, 90, 2)
        pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        image = Image.fromarray(pixels)
        if mode == "I;16":
            image = Image.fromarray(random.integers(0, 65536, (height, width)).astype("<u2"))
        elif mode == "F":
            image = Image.fromarray(random.random((height, width)).astype("f4"))
        else:
            image = image.convert(mode)
        exif = Image.Exif()
        exif[0x0112] = 1 + at % 8
        path = folder / f"{at:02}.{suffix}"
        image.save(path, **({"exif": exif} if suffix in ("jpg", "webp") else {}))
        if at % 11 == 4:
            path.write_bytes(path.read_bytes()[: 60 if at % 2 else 0])
    return [ImageFile(path, path.name, "") for path in sorted(folder.iterdir())]


@pytest.fixture(scope="module")
def two() -> Iterator[Decoders]:
    with Decoders(most=2) as decoders:
        yield decoders


def flat(batches: Sequence[Batch]) -> tuple[list[ImageFile], Tensor, list[object]]:
    images = [image for batch in batches for image in batch.images]
    pixels = torch.cat([batch.pixels for batch in batches if batch.images])
    return images, pixels, [one for batch in batches for one in batch.broken]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
def test_pixels_order_and_reasons_are_those_of_this_process(
    files: Sequence[ImageFile], two: Decoders, interpolation: str
) -> None:
    for resize, crop in ((24, (20, 20)), (None, (30, 17))):
        preprocessing = Preprocessing(resize=resize, crop=crop, interpolation=interpolation)
        here = flat(list(read_batches(files, preprocessing, 8)))
        for size in (1, 9, 64):
            there = flat(list(read_batches(files, preprocessing, size, 2, two)))
            assert there[0] == here[0]
            assert torch.equal(there[1], here[1])
            assert there[2] == here[2]
        assert len(here[2]) == 6


def test_pixels_in_processes_are_what_pillow_shows(tmp_path: Path) -> None:
    """Independent truth for neither resized nor cropped images, turned as EXIF says."""
    random = np.random.default_rng(1)
    shown = []
    for at in range(16):
        exif = Image.Exif()
        exif[0x0112] = 1 + at % 8
        pixels = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{at:02}.png", exif=exif)
        with Image.open(tmp_path / f"{at:02}.png") as image:
            shown.append(np.asarray(ImageOps.exif_transpose(image)))
    images = [ImageFile(path, path.name, "") for path in sorted(tmp_path.iterdir())]
    with Decoders(most=1) as decoders:
        batches = list(read_batches(images, Preprocessing(resize=None, crop=16), 5, 2, decoders))
    truth = torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2)
    assert torch.equal(flat(batches)[1], truth)


# --- processes that die -----------------------------------------------------------------------


def numbered(folder: Path, count: int) -> list[ImageFile]:
    return [ImageFile(folder / str(at), str(at), "") for at in range(count)]


def decoded(decoders: Decoders, prepare, images: Sequence[ImageFile]) -> tuple[Tensor, list]:
    rows = torch.full((len(images), 3, 4, 4), 255, dtype=torch.uint8)
    parts = [slice(at, at + 8) for at in range(0, len(images), 8)]
    bundles = [Bundle(prepare, images[part], rows[part]) for part in parts]
    for bundle in bundles:
        decoders.submit(bundle)
    return rows, [each for bundle in bundles for each in bundle.reasons.result(PATIENCE)]


def test_an_image_that_crashes_its_decoder_is_the_only_one_lost(tmp_path: Path) -> None:
    images = numbered(tmp_path, 24)
    with Decoders(most=1) as decoders:
        rows, reasons = decoded(decoders, crashing.aborting, images)
    assert {at: why for at, why in enumerate(reasons) if why} == {
        at: f"{at} stopped the process that decodes it: leave it out." for at in (3, 17)
    }
    good = [at for at in range(24) if at not in (3, 17)]
    assert rows[good, 0, 0, 0].tolist() == good


def test_a_decoder_killed_from_outside_costs_nothing(tmp_path: Path) -> None:
    images = numbered(tmp_path, 24)
    with Decoders(most=1) as decoders:
        rows, reasons = decoded(decoders, crashing.killed_once, images)
    assert (tmp_path / "5.killed").exists()
    assert reasons == [None] * 24
    assert rows[:, 0, 0, 0].tolist() == list(range(24))


def test_nor_does_a_server_that_dies_while_it_is_asked_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork, killed = ForkServer.fork, []

    def fork_of_the_dying(server: ForkServer, pipe: int, memory: int) -> int:
        pid = fork(server, pipe, memory)
        if (tmp_path / "5.killed").exists() and not killed:
            killed.append(pid)
            os.kill(pid, signal.SIGKILL)
        return pid

    monkeypatch.setattr(ForkServer, "fork", fork_of_the_dying)
    with Decoders(most=1) as decoders:
        rows, reasons = decoded(
            decoders, crashing.killed_beside_a_halted_server, numbered(tmp_path, 24)
        )
    assert len(killed) == 1
    assert reasons == [None] * 24
    assert rows[:, 0, 0, 0].tolist() == list(range(24))


def test_an_image_without_room_in_memory_is_told(tmp_path: Path) -> None:
    with Decoders(most=1) as decoders:
        _, reasons = decoded(decoders, crashing.exhausted, numbered(tmp_path, 8))
    assert reasons[2] == "2 needs more memory than is available: save it smaller."
    assert [why for at, why in enumerate(reasons) if at != 2] == [None] * 7


def test_where_no_process_can_be_had_the_images_are_decoded_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    for decoders in (Decoders(most=1), Decoders(images=10**6)):
        with decoders:
            rows, reasons = decoded(decoders, crashing.numbered, numbered(tmp_path, 16))
        assert reasons == [None] * 16
        assert rows[:, 0, 0, 0].tolist() == list(range(16))


def test_closing_ends_a_decoder_in_the_middle_of_an_image(tmp_path: Path) -> None:
    (image,) = numbered(tmp_path, 1)
    told = image.path.with_suffix(".pid")
    bundle = Bundle(crashing.waiting, [image], torch.empty((1, 3, 4, 4), dtype=torch.uint8))
    with Decoders(most=1) as decoders:
        decoders.submit(bundle)
        until(lambda: told.exists() and told.read_text())
        assert not ended(int(told.read_text()))
    assert isinstance(bundle.reasons.exception(0), module.Stopped)
    until(lambda: ended(int(told.read_text())))


KILLED = """
import sys
from pathlib import Path
import torch
import crashing
from gsc_core.images import ImageFile
from gsc_core.scoring.decoders import Bundle, Decoders

image = ImageFile(Path(sys.argv[1]), "0", "")
with Decoders(most=1) as decoders:  # without the guard that multiprocessing asks of a script
    bundle = Bundle(crashing.waiting, [image], torch.empty((1, 3, 4, 4), dtype=torch.uint8))
    decoders.submit(bundle)
    bundle.reasons.result()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_decoder_outlives_the_process_that_started_it(tmp_path: Path, how: int) -> None:
    script, told = tmp_path / "script.py", tmp_path / "0.pid"
    script.write_text(KILLED)
    running = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "0")],
        env=os.environ | {"PYTHONPATH": IMPORTABLE},
        stderr=subprocess.DEVNULL,
        # tests in the background ignore SIGINT, and what they start would too
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    until(lambda: told.exists() and told.read_text())
    children = descendants(running.pid)
    assert int(told.read_text()) in children
    running.send_signal(how)
    assert running.wait(PATIENCE) != 0
    until(lambda: all(map(ended, children)))


def descendants(pid: int) -> list[int]:
    """The processes that one started, and those that these started; some may have ended by now."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                found += map(int, (task / "children").read_text().split())
    return found + [each for child in found for each in descendants(child)]


# --- whole audits -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small sets, and among the OOD images one that is a million pixels wide and eight high."""
    folder = write_stage(tmp_path_factory.mktemp("stage"))
    Image.new("RGB", (1_000_000, 8), "red").save(folder / "noise" / "thin.png")
    return folder


def audited(stage: Path, out: Path, decoders: int, on_progress: Callable[[Progress], None]) -> dict:
    preprocessing = Preprocessing.parse(PREPROCESS.replace("resize=12", "resize=64"))
    spec = AuditSpec(
        model=ModelSpec(checkpoint=stage / "small.pt2", preprocessing=preprocessing),
        id=stage / "id",
        ood={"noise": stage / "noise"},
        detectors=(DetectorSpec(name="gsc"), DetectorSpec(name="energy")),
        decoders=decoders,
        repeats=20,
    )
    return run_audit(spec, out, on_progress).document.model_dump(mode="json")


def test_an_audit_goes_on_when_its_decoders_are_killed(stage: Path, tmp_path: Path) -> None:
    killed = []

    def kill(progress: Progress) -> None:
        """Kill the server and every decoder, in calibration and in each set."""
        if progress.done and progress.phase not in [phase for phase, _ in killed]:
            for pid in descendants(os.getpid()):
                with suppress(FileNotFoundError, ProcessLookupError):
                    if b"serve_forks" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        os.kill(pid, signal.SIGKILL)
                        killed.append((progress.phase, pid))

    disturbed = audited(stage, tmp_path / "disturbed", 2, kill)
    calm = audited(stage, tmp_path / "calm", 0, lambda _: None)
    assert {"calibrating", "scoring id"} <= {phase for phase, _ in killed}
    assert len(killed) >= 4
    scores = [pd.read_parquet(tmp_path / name / "scores.parquet") for name in ("disturbed", "calm")]
    assert disturbed["left_out"] == calm["left_out"]
    pd.testing.assert_frame_equal(*scores)
    assert disturbed["results"] == calm["results"]
    assert disturbed["settings"]["decoders"] == 2
    for document in (disturbed, calm):
        (broken,) = document["left_out"]["noise"]["broken"]
        assert broken["name"] == "thin.png"
        assert "1000000 × 8 pixels" in broken["reason"]


# --- how many -------------------------------------------------------------------------------


def test_few_images_start_no_process_and_many_do() -> None:
    with Decoders(images=module.PROCESSES_FROM - 1) as few:
        assert not few._processes
        few.waited(0.5)
        assert not few._processes
        few.waited(0.6)  # in all more than a second
        assert len(few._processes) == 1
    with Decoders(images=module.PROCESSES_FROM) as many:
        assert len(many._processes) == 1
    with Decoders(most=0, images=10**6) as none:
        none.waited(100)
        assert not none._processes


def test_waiting_adds_processes_up_to_the_most(tmp_path: Path) -> None:
    with Decoders(most=2) as decoders:
        for expected in (1, 2, 2):
            decoded(decoders, crashing.numbered, numbered(tmp_path, 8))
            assert len(decoders._processes) == expected
            until(lambda: all(process.ready for process in decoders._processes))
            decoders.waited(0.01)
