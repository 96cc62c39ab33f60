"""Watching a deployed detector: a real exported program, whose score is an image's brightness."""

import fcntl
import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import numpy as np
import pytest
import torch
from browser import PATIENCE
from PIL import Image
from places import ROOT
from torch import nn
from torch.export import Dim
from typer.testing import CliRunner

from gsc_core.classifier import Preprocessing
from gsc_core.cli.app import app
from gsc_core.cli.watch import visible
from gsc_core.deploy.card import Agreement, DetectorCard
from gsc_core.deploy.watch import calibrated_by, look
from gsc_core.deploy.watch_state import WatchState
from gsc_core.errors import ImageError, SpecError
from gsc_core.evaluation.sequential import Calibrated, log_evidence
from gsc_core.images.decode import decode


@dataclass(frozen=True)
class Card:
    """What of a detector's card a watch reads."""

    program_sha256: str = "a" * 64
    rule: str = "keep-id:0.95"
    calibration: int = 200
    calibration_flagged: int = 9
    in_sample: bool = False


class Brightness(nn.Module):
    """The outlier score is the mean of all pixels, 0 to 255; above 128 is flagged."""

    def forward(self, images):
        score = images.float().mean(dim=(1, 2, 3))
        logits = torch.stack([score, -score], dim=1)
        return logits, score, score / 2.55, score > 128


@pytest.fixture(scope="module")
def exported():
    sizes = {0: Dim("batch"), 2: Dim("height", min=8, max=64), 3: Dim("width", min=8, max=64)}
    images = torch.zeros(2, 3, 20, 21, dtype=torch.uint8)
    return torch.export.export(Brightness(), (images,), dynamic_shapes=(sizes,))


@pytest.fixture(scope="module")
def program(exported):
    return exported.module()


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "new"
    made.mkdir()
    return made


@pytest.fixture
def state(tmp_path):
    return tmp_path / "detector.watch.json"


def write(folder, count, mean, seed, start=0, size=(16, 12)):
    """Images of noise, none the same: of a mean over 128 all are flagged, of one below none."""
    rng = np.random.default_rng(seed)
    for at in range(start, start + count):
        pixels = rng.normal(mean, 20, (*size, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{at:05d}.png")


def test_a_first_look_counts_what_is_there(program, folder, state):
    write(folder, 30, 60, seed=0)
    write(folder, 2, 200, seed=1, start=30)
    watched = look(program, Card(), folder, state)
    assert (watched.seen, watched.flagged) == (32, 2)
    assert (watched.today.seen, watched.today.flagged, watched.today.already) == (32, 2, 0)
    assert watched.risen_at is None
    assert watched.low < 2 / 32 < watched.high
    assert watched.sentence.startswith(
        "No sign of a rise so far: of 32 new images 2 are flagged, 62 of 1,000; "
        "calibration promised at most 84 of 1,000 (97.5 % sure)."
    )
    brightest = sorted(folder.iterdir(), key=lambda path: -decode(path).float().mean())[:5]
    assert [one.name for one in watched.today.least_familiar] == [path.name for path in brightest]
    assert [one.flagged for one in watched.today.least_familiar] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_a_rise_is_told_when_it_is_clear_and_stays(program, folder, state):
    write(folder, 20, 60, seed=0)
    write(folder, 20, 200, seed=1, start=20)
    watched = look(program, Card(), folder, state)
    m = np.r_[np.zeros(20), np.arange(1, 21)]
    evidence = log_evidence(Calibrated(9, 200), m, np.arange(1, 41), 0.05)
    assert watched.risen_at == 1 + int(np.argmax(evidence >= math.log(20)))
    assert watched.log_evidence == pytest.approx(evidence.max())
    assert "The share of flagged images has risen: of 40 new images 20" in watched.sentence
    write(folder, 200, 60, seed=2, start=40)
    later = look(program, Card(), folder, state)
    assert later.risen_at == watched.risen_at
    assert later.log_evidence == watched.log_evidence
    assert later.sentence.startswith(
        f"The share of flagged images had risen after {watched.risen_at} images, and this stands "
        "until a new watch is started. By now, of 240 new images 20 are flagged, 83 of 1,000;"
    )


def test_looks_in_any_portions_say_the_same(program, folder, state, tmp_path):
    for start in range(0, 60, 20):
        write(folder, 17, 60, seed=start, start=start)
        write(folder, 3, 200, seed=start + 1, start=start + 17)
        portions = look(program, Card(), folder, state)
    at_once = look(program, Card(), folder, tmp_path / "other.json")
    assert portions.today.already == 40
    assert (at_once.seen, at_once.flagged, at_once.log_evidence, at_once.risen_at) == (
        portions.seen,
        portions.flagged,
        portions.log_evidence,
        portions.risen_at,
    )


def test_a_picture_is_counted_once_whatever_it_is_called(program, folder, state):
    write(folder, 5, 60, seed=0)
    (folder / "copy.png").write_bytes((folder / "00000.png").read_bytes())
    first = look(program, Card(), folder, state)
    assert (first.seen, first.today.copies) == (5, 1)
    for path in sorted(folder.iterdir()):
        path.rename(folder / f"renamed-{path.name}")
    again = look(program, Card(), folder, state)
    assert (again.seen, again.today.seen, again.today.already) == (5, 0, 5)
    assert not again.today.least_familiar


def test_broken_pictures_are_named_and_not_counted(program, folder, state):
    write(folder, 3, 60, seed=0)
    write(folder, 1, 200, seed=1, start=3, size=(80, 12))  # the program takes up to 64 rows
    (folder / "cut.png").write_bytes((folder / "00000.png").read_bytes()[:200])
    (folder / "text.jpg").write_text("no image")
    watched = look(program, Card(), folder, state)
    assert watched.seen == 3
    reasons = {one.name: one.reason for one in watched.today.broken}
    assert set(reasons) == {"00003.png", "cut.png", "text.jpg"}
    assert reasons["00003.png"] == "cannot be scored by this detector: it has 12 × 80 pixels."
    assert reasons["cut.png"].startswith("is damaged")


def test_a_score_that_is_no_number_is_not_counted(folder, state):
    def program(images):
        score = images.float().mean(dim=(1, 2, 3)) * math.nan
        return score, score, score, score > 0

    write(folder, 2, 60, seed=0)
    with pytest.raises(ImageError, match=r"No image could be scored. The first: 00000\.png has"):
        look(program, Card(), folder, state)
    assert not state.exists()


def test_a_zip_and_a_single_picture(program, folder, state, tmp_path):
    write(folder, 4, 60, seed=0)
    packed = tmp_path / "new.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"deep/{path.name}")
    assert look(program, Card(), folder / "00000.png", state).seen == 1
    watched = look(program, Card(), packed, state)
    assert (watched.seen, watched.today.already) == (4, 1)


def test_an_empty_folder_is_one_sentence(program, folder, state):
    with pytest.raises(ImageError, match="There is no image in new"):
        look(program, Card(), folder, state)


def test_another_detectors_state_is_refused(program, folder, state):
    write(folder, 3, 60, seed=0)
    look(program, Card(), folder, state)
    before = state.read_bytes()
    with pytest.raises(SpecError, match="counted with another detector"):
        look(program, Card(program_sha256="b" * 64), folder, state)
    with pytest.raises(SpecError, match=r"started with --alpha 0\.05"):
        look(program, Card(), folder, state, alpha=0.01)
    assert state.read_bytes() == before


PICTURE = "0" * 32


@pytest.mark.parametrize(
    "change",
    [
        {"flagged": 2},
        {"flagged": -1},
        {"risen_at": 2},
        {"most": "Infinity"},
        {"pictures": [PICTURE, PICTURE]},
        {"pictures": ["../etc"]},
        {"format": "gsc-audit"},
        {"version": 2},
        {"more": 1},
        {"program_sha256": None},
    ],
)
def test_a_damaged_state_is_refused(program, folder, state, change):
    write(folder, 1, 60, seed=0)
    whole = WatchState(program_sha256="a" * 64, alpha=0.05, pictures=[PICTURE]).model_dump()
    state.write_text(json.dumps(whole))
    assert look(program, Card(), folder, state).seen == 2
    state.write_text(json.dumps(whole | change))
    with pytest.raises(SpecError, match="is damaged or not the state of a watch"):
        look(program, Card(), folder, state)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe\x00", b"[" * 100_000])
def test_a_file_that_is_no_state_is_refused(program, folder, state, content):
    write(folder, 1, 60, seed=0)
    state.write_bytes(content)
    with pytest.raises(SpecError, match="is damaged or not the state of a watch"):
        look(program, Card(), folder, state)
    assert state.read_bytes() == content


def test_two_watches_at_once_lose_no_counts(program, folder, state):
    """The second is refused while the first holds the state, and counts when that has ended."""
    write(folder, 3, 60, seed=0)

    def during(_):
        with pytest.raises(SpecError, match="Another watch is writing"):
            look(program, Card(), folder, state)
        told.append(1)

    told = []
    assert look(program, Card(), folder, state, on_progress=during).seen == 3
    assert told
    assert look(program, Card(), folder, state).today.already == 3


def test_the_lock_of_another_process_counts_too(program, folder, state):
    write(folder, 1, 60, seed=0)
    with state.with_name(f".{state.name}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SpecError, match="Another watch is writing"):
            look(program, Card(), folder, state)
    assert look(program, Card(), folder, state).seen == 1


def test_what_was_counted_before_ctrl_c_is_kept(program, folder, state):
    write(folder, 12, 60, seed=0)

    def stop(progress):
        if progress.phase == "scoring new images" and progress.done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        look(program, Card(), folder, state, on_progress=stop)
    watched = look(program, Card(), folder, state)
    assert (watched.today.already, watched.today.seen, watched.seen) == (7, 5, 12)


@pytest.mark.parametrize(
    ("rule", "searched"),
    [
        ("keep-id:0.95", False),
        ("catch-ood:0.9", False),
        ("typed:1.5", False),
        ("youden", True),
        ("f1:prevalence=0.1", True),
        ("cost:miss=10,alarm=1,prevalence=0.01", True),
        ("as the moon was full", True),
    ],
)
def test_a_threshold_that_was_searched_for_is_taken_with_care(rule, searched):
    assert calibrated_by(Card(rule=rule)) == Calibrated(9, 200, searched)


def test_a_threshold_that_promises_nothing_is_refused(program, folder, state):
    write(folder, 1, 60, seed=0)
    with pytest.raises(SpecError, match="no rise can be seen"):
        look(program, Card(calibration_flagged=200), folder, state)
    with pytest.raises(SpecError, match="learned from the images that set its threshold"):
        look(program, Card(in_sample=True), folder, state)
    assert not state.exists()
    with pytest.raises(SpecError, match="--alpha 0 is a chance"):
        look(program, Card(), folder, state, alpha=0)


def test_names_cannot_command_a_terminal():
    assert visible("a\x1b[31mb\x07\u202ec\udc80\n.png") == r"a\x1b[31mb\x07\u202ec\udc80\n.png"
    assert visible("Straße 道.png") == "Straße 道.png"


@pytest.fixture
def detector(exported, tmp_path):
    """A file and its card, as they are deployed."""
    path = tmp_path / "detector.pt2"
    torch.export.save(exported, path)
    card = DetectorCard(
        detector="energy",
        title="brightness",
        run="demo",
        classes=None,
        threshold=128,
        rule="keep-id:share=0.95",
        calibration=200,
        calibration_flagged=9,
        preprocessing=Preprocessing(),
        model_sha256="0" * 64,
        program_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        agreement=Agreement(
            against="stored scores",
            pictures=1,
            largest_difference=0,
            tolerance=0,
            decided_otherwise=0,
        ),
        versions={},
        made=datetime.now(UTC),
        seed=0,
    )
    path.with_suffix(".json").write_text(card.model_dump_json())
    return path


def called(*arguments):
    done = CliRunner().invoke(app, ["watch", *map(str, arguments)])
    assert done.exit_code in (0, 3), done.exception
    return done


def test_the_command_says_no_and_then_yes(detector, folder):
    write(folder, 20, 60, seed=0)
    calm = called("--detector", detector, "--images", folder)
    assert calm.exit_code == 0
    assert "No sign of a rise so far: of 20 new images 0 are flagged" in calm.stdout
    assert detector.with_suffix(".watch.json").exists()

    write(folder, 20, 200, seed=1, start=20)
    (folder / "00039.png").rename(folder / "\x1b[31m\u202e<b>.png")
    (folder / "\x07.png").write_text("no image")
    found = called("--detector", detector, "--images", folder)
    assert found.exit_code == 3
    words = " ".join(found.stdout.split())
    assert (
        "The share of flagged images has risen: of 40 new images 20 are flagged, 500 of 1,000"
        in words
    )
    assert "20 new, 20 of them flagged; 20 counted before; 1 cannot be read" in words
    assert not {c for c in found.stdout if not c.isprintable()} - {"\n"}

    document = json.loads(called("--detector", detector, "--images", folder, "--json").stdout)
    assert document["risen"] is True
    assert document["this_look"]["pictures"] == 0
    assert (document["pictures"], document["outside"]) == (40, 20)


def run_watch(detector, folder, *more):
    command = [sys.executable, "-m", "gsc_core", "watch", "--detector", detector]
    return subprocess.Popen(
        [*map(str, command), "--images", str(folder), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        # tests in the background ignore SIGINT, and what they start would too
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )


@pytest.mark.slow
def test_a_users_mistake_is_one_sentence_and_exit_2(detector, folder):
    write(folder, 1, 60, seed=0)
    detector.with_suffix(".watch.json").write_text("{}")
    process = run_watch(detector, folder)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert out == ""
    assert "is damaged or not the state of a watch" in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_ctrl_c_in_a_terminal_keeps_what_was_counted(detector, folder):
    """Stopped by a real signal while it scores; the next look goes on from there."""
    write(folder, 3000, 60, seed=0, size=(8, 8))
    process = run_watch(detector, folder)
    for line in process.stderr:
        if line.startswith("scoring new images"):
            break
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, rest
    counted = json.loads(detector.with_suffix(".watch.json").read_text())
    assert 0 < len(counted["pictures"]) < 3000
    document = json.loads(called("--detector", detector, "--images", folder, "--json").stdout)
    assert document["this_look"]["counted_before"] == len(counted["pictures"])
    assert document["pictures"] == 3000
