"""The demo's image folders: calibration, ID test and OOD sets, rendered from a seed."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from enum import IntEnum
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from gsc_core.demo.camera import develop, jpeg
from gsc_core.demo.noise import Rng, to_image
from gsc_core.demo.scenes import Weather, day, fog, night, photograph
from gsc_core.demo.shop_signs import shop_sign
from gsc_core.demo.signs import CLASS_NAMES, UNSEEN_SIGNS, face
from gsc_core.demo.textures import NOISES, TEXTURES, Texture
from gsc_core.errors import ImageError, SpecError

VERSION = 1  # raise it when the images of a seed change: what was rendered before is redone
MANIFEST = "demo.json"

Painter = Callable[[Rng], Image.Image]


class Purpose(IntEnum):
    """What an image is for. It is a part of the image's random key, so that images of two
    purposes never share a random stream, whatever their seeds."""

    TRAINING = 0
    HELD_OUT = 1
    CALIBRATION = 2
    ID_TEST = 3
    OOD_TEST = 4


@dataclass(frozen=True)
class Sizes:
    """Numbers of images: in the calibration set, in the ID test set, in each OOD set."""

    calibration: int = 368
    id: int = 480
    ood: int = 200


def _sign(rng: Rng, name: str, weather: Weather = day) -> Image.Image:
    return photograph(face(name), rng, weather)


def _shop(rng: Rng) -> Image.Image:
    return photograph(shop_sign(rng), rng)


def _surface(rng: Rng, texture: Texture) -> Image.Image:
    return develop(texture(rng), rng)


def _plain(rng: Rng, texture: Texture) -> Image.Image:
    return to_image(texture(rng))


ID_PAINTERS: Mapping[str, Painter] = {name: partial(_sign, name=name) for name in CLASS_NAMES}

OOD_SETS: Mapping[str, Mapping[str, Painter]] = {
    "unseen-signs": {name: partial(_sign, name=name) for name in UNSEEN_SIGNS},
    "shop-signs": {"shop": _shop},
    "textures": {name: partial(_surface, texture=t) for name, t in TEXTURES.items()},
    "night-fog": {
        f"{name}-{weather.__name__}": partial(_sign, name=name, weather=weather)
        for name in CLASS_NAMES
        for weather in (night, fog)
    },
    "noise": {name: partial(_plain, texture=t) for name, t in NOISES.items()},
}


def paint(painter: Painter, seed: int, purpose: Purpose, kind: int, index: int) -> bytes:
    """One image as JPEG bytes; the same arguments give the same bytes.

    ``kind`` tells apart what is painted, ``index`` the images of one kind.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, kind, index)))
    return jpeg(painter(rng), rng)


def _images(seed: int, sizes: Sizes) -> Iterator[tuple[Path, bytes]]:
    """Every image of the demo with its place below the demo folder, kinds in turn."""
    for place, count, purpose in (
        ("calibration", sizes.calibration, Purpose.CALIBRATION),
        ("id", sizes.id, Purpose.ID_TEST),
    ):
        for i in range(count):
            kind, name = i % len(ID_PAINTERS), CLASS_NAMES[i % len(ID_PAINTERS)]
            index = i // len(ID_PAINTERS)
            data = paint(ID_PAINTERS[name], seed, purpose, kind, index)
            yield Path(place, name, f"{name}-{index:04}.jpg"), data
    for number, (set_name, kinds) in enumerate(OOD_SETS.items()):
        names = list(kinds)
        for i in range(sizes.ood):
            name, index = names[i % len(names)], i // len(names)
            kind = 1000 * number + i % len(names)
            data = paint(kinds[name], seed, Purpose.OOD_TEST, kind, index)
            yield Path("ood", set_name, f"{name}-{index:04}.jpg"), data


def _manifest(folder: Path) -> dict[str, int] | None:
    """What a rendered demo says of itself; None when the folder is anything else."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return None
    keys = {"version", "seed", *(field.name for field in fields(Sizes))}
    return manifest if isinstance(manifest, dict) and set(manifest) == keys else None


def render_demo(
    into: Path,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    sizes: Sizes | None = None,
) -> dict[str, Path]:
    """Render the demo's images below ``into`` and say where each set lies.

    Folders: ``calibration/<class>/``, ``id/<class>/``, ``ood/<set>/``. The answer maps
    ``calibration``, ``id`` and each name of ``OOD_SETS`` to its folder. ``progress`` hears
    (images done, images in all). What was already rendered with this version, seed and
    sizes is left as it is; the folder appears whole or not at all.

    Raises SpecError for a negative seed or size, ImageError if ``into`` holds something else.
    """
    sizes = sizes or Sizes()
    if min(seed, *asdict(sizes).values()) < 0:
        raise SpecError("The demo's seed and sizes must be zero or more: give other numbers.")
    manifest = {"version": VERSION, "seed": seed, **asdict(sizes)}
    folders = {"calibration": into / "calibration", "id": into / "id"}
    folders |= {name: into / "ood" / name for name in OOD_SETS}
    earlier = _manifest(into)
    if earlier == manifest:
        return folders
    if earlier is None and into.exists() and (into.is_file() or any(into.iterdir())):
        raise ImageError(f"{into} already holds other files: choose an empty or new folder.")
    into.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into.parent, prefix=f".{into.name}-") as aside:
        whole = Path(aside, "demo")
        for folder in folders.values():
            (whole / folder.relative_to(into)).mkdir(parents=True)
        total = sizes.calibration + sizes.id + len(OOD_SETS) * sizes.ood
        for done, (place, data) in enumerate(_images(seed, sizes), start=1):
            (whole / place).parent.mkdir(exist_ok=True)
            (whole / place).write_bytes(data)
            if progress is not None:
                progress(done, total)
        (whole / MANIFEST).write_text(json.dumps(manifest))
        if into.exists():
            shutil.rmtree(into)
        whole.rename(into)
    return folders
