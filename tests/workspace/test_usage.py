"""Quotas on the disk, by person and in all, counted as `du` counts; and what is said."""

import io
import random
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from gsc_core.jobs import queue
from gsc_core.jobs.database import Readiness
from gsc_core.team import acting
from gsc_core.team.roles import ALONE, Person, Role
from gsc_core.team.settings import QuotaError
from gsc_core.workspace import imagesets, models, trash, usage

ANN = Person("ann@example.org", Role.AUDITOR)
BOB = Person("bob@example.org", Role.AUDITOR)
MB = 10**6


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def add(person: Person, size: int) -> models.StoredModel:
    """A model file of so many bytes, unlike all others."""
    content = random.Random(f"{person.name}{size}").randbytes(size)
    with acting.acting_as(person):
        stored = models.add_model(io.BytesIO(content), "x.pt", name=f"{size} bytes")
        queue.cancel(queue.latest(stored.id).id)
    return stored


def on_disk(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_all_bytes_are_counted_for_their_owner(home):
    add(ANN, 3 * MB)
    add(BOB, MB)
    add(ALONE, 500_000)
    assert usage.by_owner() == {ANN.name: 3 * MB, BOB.name: MB, None: 500_000}
    assert usage.by_owner().total() == on_disk(home / "models")


def test_who_has_no_room_left_is_told_so_and_nothing_is_stored(home, monkeypatch):
    monkeypatch.setenv("GSC_USER_DISK_MB", "5")
    stored = add(ANN, 3 * MB)
    before = on_disk(home / "models")
    with pytest.raises(QuotaError) as refused:
        add(ANN, 2 * MB + 1)
    assert str(refused.value) == (
        "Your models, image sets and runs take 3.0 MB of your 5.0 MB, and this needs 2.0 MB more: "
        "delete some, then also from the Trash, or ask an operator."
    )
    assert on_disk(home / "models") == before
    add(BOB, 4 * MB)
    add(ALONE, 9 * MB)  # without a login there is no person to count for
    with acting.acting_as(ANN):
        assert usage.sentence() == "What you added takes 3.0 MB of 5.0 MB."
        models.delete_model(stored.id)
        with pytest.raises(QuotaError):
            add(ANN, 4 * MB)  # what is in the trash takes its room
        trash.remove(trash.entries()[0].id)
        add(ANN, 4 * MB)


def test_all_together_have_a_limit_too(monkeypatch):
    monkeypatch.setenv("GSC_TOTAL_DISK_MB", "5")
    add(ANN, 3 * MB)
    with pytest.raises(QuotaError, match=r"All models, image sets and runs take 3\.0 MB of 5\.0"):
        add(ALONE, 3 * MB)


def test_a_zip_counts_as_what_it_becomes(home, monkeypatch):
    """Images that a ZIP holds well packed; nothing of the refused set stays."""
    monkeypatch.setenv("GSC_USER_DISK_MB", "1")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as packed:
        for number in range(5):
            image = io.BytesIO()
            Image.new("RGB", (400, 400), (number, 0, 0)).save(image, "BMP")
            packed.writestr(f"{number}.bmp", image.getvalue())
    assert len(content.getvalue()) < MB
    content.seek(0)
    with acting.acting_as(ANN):
        stored = imagesets.add_upload([("images.zip", content)], name="flat", role="ood")
    imagesets.look(queue.latest(stored.id), lambda _: None)
    found = imagesets.image_set(stored.id)
    assert found.readiness is Readiness.REFUSED
    assert "of your 1.0 MB" in found.sentence
    assert on_disk(home / "imagesets") == 0
