"""One image's file behind guards: what its header says, and its pixels by Pillow.

Images come from anybody. The header is read first, with an allow-list of formats and a limit
on the pixels it may announce, so that a 67-byte file cannot ask for ten gigabytes.
"""

import functools
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from gsc_core.errors import ImageError

READABLE = "JPEG, PNG, WebP, BMP, TIFF, GIF, PPM or HEIC"
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")  # with PGM, PBM and PNM
_READ = {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".bmp"}
_READ |= {".tif", ".tiff", ".gif", ".heic", ".heif", ".ppm", ".pgm", ".pbm", ".pnm"}
_NOT_READ = {".avif", ".jp2", ".jxl", ".svg", ".psd", ".dng"}
IMAGE_SUFFIXES = frozenset(_READ | _NOT_READ)  # what is not read is reported, not passed over
MAX_PIXELS = 80_000_000  # under Pillow's own 89 Mpx, which only warns
MAX_BYTES = 500_000_000
MIN_SIDE = 8
MOST_BYTES_A_PIXEL = 12  # while it is decoded: 0.9 GB for the largest, whatever its mode
_BAND_PIXELS = 2**20  # that are converted at a time


@dataclass(frozen=True)
class Header:
    """What an image says of itself before anything is decoded; the size is as stored, unturned."""

    format: str
    mode: str
    width: int
    height: int


def header(data: bytes, name: str) -> Header:
    """Read the header of an image held in memory, without decoding it.

    `name` is how the image is called in an error. Raises ImageError when the bytes are no image
    in a format read here, a side is under 8 pixels, or there are more than 80 million in all.
    """
    with opened(data, name) as image:
        return Header(image.format or "", image.mode, image.width, image.height)


def read_bytes(path: Path, name: str) -> bytes:
    """Read an image's file; raises ImageError when that is impossible, or the file is huge."""
    try:
        if not path.exists():
            raise ImageError(f"{name} does not exist: it may have been moved or deleted.")
        if not path.is_file():  # a named pipe called x.jpg would be waited for without end
            raise ImageError(f"{name} is not a file that can be read: give an image.")
        if path.stat().st_size > MAX_BYTES:
            raise ImageError(f"{name} is larger than 500 MB: save it smaller.")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{name} cannot be opened: {error.strerror or error}.") from error


@contextmanager
def opened(data: bytes, name: str) -> Iterator[Image.Image]:
    """Open an image behind the guards; whatever fails inside the block becomes an ImageError."""
    if not data:
        raise ImageError(f"{name} is empty (0 bytes): copy it again.")
    try:
        with Image.open(io.BytesIO(data), formats=_formats(data, name)) as image:
            _check_size(image.width, image.height, name)
            yield image
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not an image: its content is not {READABLE}.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{name} declares far too many pixels: save it smaller.") from error
    except MemoryError as error:
        raise ImageError(lacks_memory(name, _pixels(data))) from error
    except Exception as error:  # hostile bytes make Pillow's parsers raise nearly anything
        raise ImageError(f"{name} is damaged or cut off: {_said(error)}.") from error


def lacks_memory(name: str, pixels: int) -> str:
    """The sentence for an image of so many pixels that memory has no room for."""
    about = f", about {pixels * MOST_BYTES_A_PIXEL / 1e9:.1f} GB" if pixels else ""
    return f"{name} needs more memory than is available{about}: save it smaller."


def _pixels(data: bytes) -> int:
    """How many pixels the header declares; 0 where it cannot be read."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return image.width * image.height
    except Exception:  # it has failed before, in some way
        return 0


def _said(error: Exception) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__


def _check_size(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name} declares {width} × {height} pixels, more than 80 million: save it smaller."
        )
    if min(width, height) < MIN_SIDE:
        raise ImageError(
            f"{name} has {width} × {height} pixels, and each side needs at least {MIN_SIDE}: leave "
            "it out."
        )


def _formats(data: bytes, name: str) -> tuple[str, ...]:
    if data[4:8] != b"ftyp" or data[8:12] in (b"avif", b"avis"):
        return FORMATS
    if not _reads_heif():
        raise ImageError(f"{name} is HEIC: run `pip install pillow-heif`, or save it as JPEG.")
    return ("HEIF",)


@functools.cache
def _reads_heif() -> bool:
    """Teach Pillow HEIC, once one turns up; whether pillow-heif is installed."""
    try:
        import pillow_heif  # noqa: PLC0415
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 is upright."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # unreadable EXIF, which raises nearly anything, does not spoil the pixels
        return 1


def rgb_of(image: Image.Image) -> NDArray[np.uint8]:
    """Convert a Pillow image of any mode to uint8 `[H,W,3]`.

    It is converted in bands, so that a large one takes little beyond itself and the result.
    """
    image.load()
    deep = image.mode.startswith(("I", "F"))
    low, high = _grey_range(image) if deep else (0.0, 0.0)
    pixels = np.empty((image.height, image.width, 3), dtype=np.uint8)
    for top, band in _bands(image):
        rows = pixels[top : top + band.height]
        if deep:
            rows[:] = _eight_bits(np.asarray(band), low, high)[:, :, None]
        elif image.has_transparency_data:
            over = band.convert("RGBA")
            white = Image.new("RGBA", over.size, "white")
            rows[:] = np.asarray(Image.alpha_composite(white, over).convert("RGB"))
        else:
            rows[:] = np.asarray(band.convert("RGB"))
    return pixels


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """The image in horizontal bands of about so many pixels, each with its top row."""
    height = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, height):
        yield top, image.crop((0, top, image.width, min(top + height, image.height)))


def _grey_range(image: Image.Image) -> tuple[float, float]:
    """What becomes black and white in grey of more than eight bits."""
    bands = (np.asarray(band) for _, band in _bands(image))
    extremes = np.array([(band.min(), band.max()) for band in bands], dtype=np.float64)
    if not np.isfinite(extremes).all():  # a NaN in a band is both its extremes
        raise ValueError("it holds values that are not finite numbers")
    low, high = float(extremes[:, 0].min()), float(extremes[:, 1].max())
    full = 1.0 if image.mode == "F" else 65535.0
    return (0.0, full) if low >= 0 and high <= full else (low, high)


def _eight_bits(values: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    """Scale grey `[H,W]` of more than eight bits to 0..255, keeping order and range."""
    span = max(high - low, np.finfo(np.float64).tiny)
    scaled = (values.astype(np.float64) - low) / span * 255
    return scaled.round().astype(np.uint8)
