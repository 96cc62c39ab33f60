"""Surrogate outliers: surrogate images for OOD images, made from ID images alone.

Each keeps something of the ID image (its texture, its patches, its spectrum, its objects) and
breaks the rest, so that a detector can be chosen without ever seeing a real outlier.
"""

import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torchvision.transforms.v2 import functional as transform

from gsc_core.errors import ImageError
from gsc_core.images.aside import folder_written_aside
from gsc_core.images.decode import decode
from gsc_core.images.imageset import ImageFile, ImageSet
from gsc_core.images.opening import MIN_SIDE
from gsc_core.images.reading import OnCount, nobody, read_folder
from gsc_core.images.surrogate_kinds import CROP, JIGSAW, MIX, PHASE, TILE, ZOOM

MAX_PIXELS = 24_000_000
"""Of an image that surrogates are made from; a larger one is made smaller first, for its spectrum
takes 60 bytes a pixel."""

Make = Callable[[torch.Tensor, torch.Tensor, torch.Generator], torch.Tensor]


@dataclass(frozen=True)
class Surrogate:
    """One kind of surrogate outlier: `make(image, other, generator)`, pure but for the generator.

    Images are uint8 `[3,H,W]`; the result has the size of `image`. Only `mix` looks at `other`.
    """

    name: str
    description: str
    make: Make
    needs_other: bool = False


def zoom(image: torch.Tensor, _: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Enlarge a random crop of 15 to 30 % of each side to the size of the image."""
    return _resized(_part(image, 0.15, 0.3, generator), *image.shape[-2:])


def crop(image: torch.Tensor, _: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Enlarge a random crop of 30 to 60 % of each side to the size of the image."""
    return _resized(_part(image, 0.3, 0.6, generator), *image.shape[-2:])


def tile(image: torch.Tensor, _: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Fill the image with a random crop of 12 to 30 % of each side, mirrored so that edges meet."""
    height, width = image.shape[-2:]
    part = _part(image, 0.12, 0.3, generator)
    row = torch.cat([part, part.flip(2)], dim=2)
    block = torch.cat([row, row.flip(1)], dim=1)
    down, across = -(-height // block.shape[1]), -(-width // block.shape[2])
    return block.repeat(1, down, across)[:, :height, :width].contiguous()


def jigsaw(image: torch.Tensor, _: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Cut the image into 4×4 to 8×8 patches and shuffle them; never back to where they were.

    What is left over at the right and lower edge stays in place, so no pixel is lost.
    """
    grid = 4 + _below(5, generator)
    h, w = image.shape[-2] // grid, image.shape[-1] // grid
    if min(h, w) == 0:
        raise ImageError("An image with a side under 8 pixels has no patches: leave jigsaw out.")
    tiles = image[:, : grid * h, : grid * w].reshape(3, grid, h, grid, w)
    patches = tiles.permute(1, 3, 0, 2, 4).flatten(0, 1)
    order = torch.arange(grid**2)
    while torch.equal(order, torch.arange(grid**2)):
        order = torch.randperm(grid**2, generator=generator)
    shuffled = patches[order].reshape(grid, grid, 3, h, w).permute(2, 0, 3, 1, 4)
    result = image.clone()
    result[:, : grid * h, : grid * w] = shuffled.reshape(3, grid * h, grid * w)
    return result


def phase(image: torch.Tensor, _: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Scramble the phase of the image's Fourier transform, keep its amplitude: texture alone."""
    return phase_scrambled(image, generator).round().clamp(0, 255).to(torch.uint8)


def phase_scrambled(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Give the phase-scrambled image `[3,H,W]` as floats, before it is clipped to 0..255.

    The phases of one white-noise image are added to all three channels, which keeps their colours
    together; being those of a real image, they make the result real (and keep its mean).
    """
    size = (int(image.shape[-2]), int(image.shape[-1]))
    noise = torch.rand(size, generator=generator, dtype=torch.float64)
    turn = torch.polar(torch.ones((), dtype=torch.float64), torch.fft.rfft2(noise).angle())
    scrambled: torch.Tensor = torch.fft.irfft2(torch.fft.rfft2(image.double()) * turn, s=size)
    return scrambled


def mix(image: torch.Tensor, other: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Blend with another image, resized to this one: 40 to 60 % of each."""
    share = 0.4 + 0.2 * _uniform(generator)
    resized = _resized(other, *image.shape[-2:])
    return torch.lerp(resized.float(), image.float(), share).round().to(torch.uint8)


KINDS = (
    Surrogate(*ZOOM, zoom),
    Surrogate(*JIGSAW, jigsaw),
    Surrogate(*PHASE, phase),
    Surrogate(*MIX, mix, needs_other=True),
    Surrogate(*TILE, tile),
    Surrogate(*CROP, crop),
)
"""All kinds, in the order of `SURROGATE_KINDS`."""

SURROGATES = tuple(kind for kind in KINDS if kind.name not in (PHASE.name, MIX.name))
"""Those that detectors learn from: on them detectors rank as on real OOD images (docs/gsc-auto.md).

The others are OOD sets to try a detector on, and in runs of earlier versions.
"""


def surrogates_of(
    images: ImageSet | Sequence[Path], kinds: Sequence[Surrogate] = SURROGATES, seed: int = 0
) -> Iterator[tuple[str, str, torch.Tensor]]:
    """Make one surrogate of each kind from each image, as (name of the image, kind, tensor).

    Images come in a random order, decoded one at a time, and each is mixed with the one before
    it: a random partner at no cost. An image that cannot be decoded is passed over; the pass over
    the set itself reports it. The same images, kinds and seed always give the same surrogates.

    Raises ImageError when a kind needs two images and fewer can be decoded.
    """
    for name, kind, make in surrogate_makers(images, kinds, seed):
        yield name, kind, make()


def surrogate_makers(
    images: ImageSet | Sequence[Path], kinds: Sequence[Surrogate] = SURROGATES, seed: int = 0
) -> Iterator[tuple[str, str, Callable[[], torch.Tensor]]]:
    """The surrogates of `surrogates_of` still to be made, in any order or on any thread."""
    for image, kind, make in _makers(images, kinds, seed):
        yield image.name, kind.name, make


def surrogates_of_tensor(
    images: torch.Tensor, kinds: Sequence[Surrogate] = SURROGATES, seed: int = 0
) -> torch.Tensor:
    """One surrogate of each kind from each image: uint8 `[N,3,H,W]` to `[N·kinds,3,H,W]`.

    Each image is mixed with the one before it, the first with the last, so shuffle them first.
    Raises ImageError when a kind needs two images and there are fewer.
    """
    if len(images) < 2 and any(kind.needs_other for kind in kinds):
        raise ImageError("Blends of two images need two images: give more.")
    made = [
        kind.make(image, images[at - 1], _generator(seed, kind, str(at)))
        for at, image in enumerate(images)
        for kind in kinds
    ]
    return torch.stack(made)


def write_surrogates(
    images: ImageSet,
    into: Path,
    kinds: Sequence[Surrogate] = SURROGATES,
    seed: int = 0,
    on_count: OnCount = nobody,
) -> ImageSet:
    """Write surrogates as PNG into the new folder `into`, labelled by kind, and read them as a set.

    `on_count` is told of each that is written and may raise, to stop. Raises ImageError as
    `surrogates_of` does, and when `into` cannot be written; then nothing is left.
    """
    with folder_written_aside(into) as part:
        for done, (image, kind, make) in enumerate(_makers(images, kinds, seed), 1):
            stem = Path(image.name).stem[:40]  # the digest makes it unique
            target = part / kind.name / f"{stem}-{image.sha256[:12]}.png"
            target.parent.mkdir(exist_ok=True)
            pixels = make().permute(1, 2, 0).contiguous().numpy()
            Image.fromarray(pixels).save(target, compress_level=1)
            on_count(done, len(images) * len(kinds))
        if not any(part.iterdir()):
            raise ImageError(f"No image of {images.name} can be decoded: give intact images.")
    return read_folder(into, f"{images.name} surrogates")


def _makers(
    images: ImageSet | Sequence[Path], kinds: Sequence[Surrogate], seed: int
) -> Iterator[tuple[ImageFile, Surrogate, Callable[[], torch.Tensor]]]:
    files = images.images if isinstance(images, ImageSet) else tuple(map(_file, images))
    start = torch.Generator().manual_seed(seed)
    order = [files[at] for at in torch.randperm(len(files), generator=start).tolist()]
    before = next((decoded for image in reversed(order) if (decoded := _decoded(image))), None)
    for now in filter(None, map(_decoded, order)):
        image, pixels = now
        for kind in kinds:
            if kind.needs_other and (before is None or before[0] is image):
                raise ImageError(f"{kind.name} needs two images that can be decoded: give more.")
            other = before[1] if before else pixels
            generator = _generator(seed, kind, image.name)
            yield image, kind, functools.partial(kind.make, pixels, other, generator)
        before = now


def _decoded(image: ImageFile) -> tuple[ImageFile, torch.Tensor] | None:
    try:
        pixels = decode(image.path)
    except ImageError:
        return None
    height, width = pixels.shape[-2:]
    if (share := MAX_PIXELS / (height * width)) < 1:
        sides = (max(MIN_SIDE, int(side * share**0.5)) for side in (height, width))
        pixels = _resized(pixels, *sides)
    return image, pixels


def _generator(seed: int, kind: Surrogate, name: str) -> torch.Generator:
    """Seed by image and kind, so that one image more or less changes no other's surrogates."""
    digest = hashlib.sha256(f"{seed}\n{kind.name}\n{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))


def _file(path: Path) -> ImageFile:
    return ImageFile(path, path.name, "")


def _resized(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    resized: torch.Tensor = transform.resize(image, [height, width], antialias=True)
    return resized


def _part(
    image: torch.Tensor, least: float, most: float, generator: torch.Generator
) -> torch.Tensor:
    """A random crop whose sides are a random share of the image's."""
    height, width = image.shape[-2:]
    share = least + (most - least) * _uniform(generator)
    h, w = (min(side, max(2, round(share * side))) for side in (height, width))
    top, left = _below(height - h + 1, generator), _below(width - w + 1, generator)
    return image[:, top : top + h, left : left + w]


def _uniform(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))


def _below(limit: int, generator: torch.Generator) -> int:
    return int(torch.randint(limit, (), generator=generator))
