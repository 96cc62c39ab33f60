"""Thumbnails show what `decode` shows, small, and refuse what it refuses."""

import io
from pathlib import Path

import numpy as np
import pytest
from encoded_images import encoded, png_announcing
from PIL import Image

from gsc_core.errors import ImageError
from gsc_core.images.decode import decode
from gsc_core.images.thumbnails import thumbnail


def scene(height: int, width: int) -> np.ndarray:
    """Smooth, and without symmetry: a turn, a swapped channel or an inversion shows."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack(
        [255 * x / width, 255 * y / height, 255 * (x * y) / (width * height)], axis=2
    ).astype(np.uint8)


def alpha(picture: np.ndarray) -> Image.Image:
    cover = np.linspace(0, 255, picture.shape[1]).astype(np.uint8)
    return Image.fromarray(np.dstack([picture, np.broadcast_to(cover, picture.shape[:2])]))


def deep(picture: np.ndarray) -> Image.Image:
    return Image.fromarray(picture[:, :, 0].astype(np.uint16) * 257)


KINDS = {
    "photo.jpg": lambda p: encoded(Image.fromarray(p), "JPEG", quality=92),
    "grey.jpg": lambda p: encoded(Image.fromarray(p).convert("L"), "JPEG", quality=92),
    "ink.jpg": lambda p: encoded(Image.fromarray(p).convert("CMYK"), "JPEG", quality=92),
    "photo.png": lambda p: encoded(Image.fromarray(p), "PNG"),
    "photo.webp": lambda p: encoded(Image.fromarray(p), "WEBP", quality=92),
    "photo.tif": lambda p: encoded(Image.fromarray(p), "TIFF"),
    "palette.gif": lambda p: encoded(Image.fromarray(p).quantize(64), "GIF"),
    "see-through.png": lambda p: encoded(alpha(p), "PNG"),
    "see-through-palette.png": lambda p: encoded(alpha(p).quantize(64), "PNG"),
    "one-colour-clear.png": lambda p: encoded(
        Image.fromarray(p), "PNG", transparency=tuple(int(v) for v in p[0, 0])
    ),
    "deep.png": lambda p: encoded(deep(p), "PNG"),
    "deep.tif": lambda p: encoded(deep(p), "TIFF"),
}


def by_decoding(path: Path, side: int) -> np.ndarray:
    """The slow, sure way: every pixel decoded, then averaged."""
    whole = Image.fromarray(decode(path).permute(1, 2, 0).numpy())
    scale = min(1, side / max(whole.size))
    size = (round(whole.width * scale), round(whole.height * scale))
    return np.asarray(whole.resize(size, Image.Resampling.BICUBIC)).astype(int)


def read(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.mode) == ("JPEG", "RGB")
        return np.asarray(image).astype(int)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("size", [(900, 1400), (1300, 500), (30, 40)])
def test_it_shows_what_decode_shows(name, size, tmp_path):
    path = tmp_path / name
    path.write_bytes(KINDS[name](scene(*size)))
    got, expected = read(thumbnail(path, 128)), by_decoding(path, 128)
    assert got.shape == expected.shape
    assert np.abs(got - expected).mean() < 7
    assert max(got.shape[:2]) == min(128, max(size))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(kind, orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x.{kind.lower()}"
    path.write_bytes(encoded(Image.fromarray(scene(400, 700)), kind, exif=exif))
    got, expected = read(thumbnail(path, 96)), by_decoding(path, 96)
    assert got.shape == expected.shape
    assert np.abs(got - expected).mean() < 7


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_is_passed_over(tmp_path):
    path = tmp_path / "x.jpg"
    exif = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01"
    path.write_bytes(encoded(Image.fromarray(scene(300, 400)), "JPEG", exif=exif))
    assert read(thumbnail(path, 64)).shape == (48, 64, 3)


@pytest.mark.slow
def test_it_is_small(tmp_path):
    path = tmp_path / "x.jpg"
    path.write_bytes(encoded(Image.fromarray(scene(1500, 2000)), "JPEG"))
    assert len(thumbnail(path)) < 12_000


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello", "not an image"),
        (png_announcing(50_000, 50_000), "pixels"),
        (KINDS["photo.jpg"](scene(200, 300))[:900], "damaged"),
        (KINDS["photo.png"](scene(200, 300))[:900], "damaged"),
        (KINDS["photo.png"](scene(4, 300)), "at least 8"),
    ],
)
def test_hostile_bytes_are_one_sentence(data, reason, tmp_path):
    path = tmp_path / "evil.png"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=rf"^evil\.png .*{reason}"):
        thumbnail(path)
    with pytest.raises(ImageError, match=r"gone\.png"):
        thumbnail(tmp_path / "gone.png")
