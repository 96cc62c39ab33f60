"""What a camera does to light: exposure, colour cast, blur, few pixels, sensor noise, JPEG."""

import io

import numpy as np
from PIL import Image, ImageFilter

from gsc_core.demo.noise import SIDE, Array, Rng, to_array, to_image


def _exposed(pixels: Array, rng: Rng) -> Array:
    """Exposure, contrast and white balance that are a little off."""
    cast = rng.normal(1, 0.03, 3).astype(np.float32)
    contrast = rng.uniform(0.75, 1.15)
    gain = np.exp(rng.normal(-0.08, 0.28))
    return np.asarray(((pixels - 0.5) * contrast + 0.5) * gain * cast, np.float32)


def _moved(image: Image.Image, rng: Rng) -> Image.Image:
    """Motion blur along a random direction."""
    kernel = np.zeros((5, 5))
    angle, reach = rng.uniform(0, np.pi), rng.uniform(0.8, 2.4)
    for step in np.linspace(-reach, reach, 9):
        kernel[round(2 + step * np.sin(angle)), round(2 + step * np.cos(angle))] += 1
    return image.filter(ImageFilter.Kernel((5, 5), kernel.ravel().tolist()))


def _few_pixels(image: Image.Image, rng: Rng) -> Image.Image:
    """A distant sign fills few pixels of the sensor and is enlarged to the usual size."""
    pixels = round(SIDE * rng.uniform(0.15, 0.7))
    small = image.resize((pixels, pixels), Image.Resampling.BOX)
    return small.resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def develop(pixels: Array, rng: Rng) -> Image.Image:
    """Light [96, 96, 3], about 0…1, to the RGB image that a small camera would give."""
    image = to_image(_exposed(pixels, rng))
    if rng.random() < 0.35:
        image = _moved(image, rng)
    if rng.random() < 0.4:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.7)))
    if rng.random() < 0.5:
        image = _few_pixels(image, rng)
    grain = rng.normal(0, rng.uniform(0.003, 0.045), (SIDE, SIDE, 3))
    return to_image(to_array(image) + grain.astype(np.float32))


def jpeg(image: Image.Image, rng: Rng) -> bytes:
    """The image as a camera or phone stores it."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(rng.integers(60, 96)))
    return buffer.getvalue()
