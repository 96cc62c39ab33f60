"""Folders of files that are no images, or are images no longer."""

from pathlib import Path

from PIL import Image


def broken_headers(folder: Path) -> Path:
    folder.mkdir()
    for i in range(5):
        (folder / f"{i}.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    return folder


def broken_pixels(stage: Path, folder: Path) -> Path:
    """Right headers over pixels that are cut off."""
    folder.mkdir(parents=True)
    for i, path in enumerate(sorted((stage / "noise").iterdir())[:6]):
        with Image.open(path) as image:
            image.resize((64, 64)).save(folder / f"{i}.png")
        content = (folder / f"{i}.png").read_bytes()
        (folder / f"{i}.png").write_bytes(content[: len(content) // 2])
    return folder


def empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def texts(folder: Path) -> Path:
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.txt").write_text("no image")
    return folder
