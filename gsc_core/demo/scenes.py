"""A sign in the world: put up, aged, shaded, seen by day, by night or in fog."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from gsc_core.demo.backgrounds import LARGE, background
from gsc_core.demo.camera import develop
from gsc_core.demo.noise import SIDE, Array, Rng, blurred, fractal, grid, ramp, smooth, to_array


@dataclass(frozen=True)
class Scene:
    """What the camera sees, in 0…1: two images [96, 96, 3] and a mask [96, 96, 1]."""

    behind: Array
    sign: Array
    mask: Array


Weather = Callable[[Scene, Rng], Array]


def _perspective(corners: Array, side: int) -> list[float]:
    """The eight coefficients that map a scene's pixels to those of a square face.

    ``corners`` [4, 2] are where the face's corners come to lie, clockwise from top left.
    """
    targets = np.array(((0, 0), (side, 0), (side, side), (0, side)), float)
    rows, values = [], []
    for (x, y), (u, v) in zip(corners, targets, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return [float(c) for c in np.linalg.solve(np.array(rows, float), np.array(values))]


def _corners(rng: Rng) -> Array:
    """A square, turned, leaning and off centre, in pixels of a LARGE scene."""
    half = LARGE * rng.uniform(0.22, 0.45)
    square = np.array(((-1, -1), (1, -1), (1, 1), (-1, 1)), float) * half
    square += rng.normal(0, 0.055, (4, 2)) * half
    square[:, 0] *= rng.uniform(0.72, 1.0)
    turn = rng.normal(0, 0.09)
    rotation = np.array(((np.cos(turn), -np.sin(turn)), (np.sin(turn), np.cos(turn))))
    slack = LARGE / 2 - half
    centre = LARGE / 2 + rng.uniform(-1, 1, 2) * slack * 0.7
    return np.asarray(square @ rotation.T + centre, np.float32)


def _pole(corners: Array, rng: Rng) -> Image.Image:
    """A grey steel pole from behind the sign's middle to the ground, RGBA."""
    layer = Image.new("RGBA", (LARGE, LARGE))
    draw = ImageDraw.Draw(layer)
    x, y = corners.mean(0)
    width, metal = float(rng.uniform(5, 10)), rng.uniform(0.6, 1.0)
    for shift, tone in zip(
        np.linspace(-0.5, 0.5, 7), (70, 110, 160, 190, 150, 105, 65), strict=True
    ):
        left = x + shift * width
        grey = int(tone * metal)
        draw.rectangle((left, y, left + width / 6, LARGE), (grey, grey, grey + 4, 255))
    return layer


def _put_up(face: Image.Image, rng: Rng) -> tuple[Array, Array]:
    """The face on its pole as the camera sees it: colours [96, 96, 3] and mask [96, 96, 1]."""
    corners = _corners(rng)
    seen = face.transform(
        (LARGE, LARGE),
        Image.Transform.PERSPECTIVE,
        _perspective(corners, face.width),
        Image.Resampling.BICUBIC,
    )
    layer = _pole(corners, rng) if rng.random() < 0.75 else Image.new("RGBA", seen.size)
    layer.alpha_composite(seen)
    pixels = to_array(layer.reduce(2))
    return pixels[..., :3], pixels[..., 3:]


def _aged(sign: Array, rng: Rng) -> Array:
    """Faded colours, dirt that runs down, and now and then a glare."""
    grey = sign.mean(-1, keepdims=True)
    faded = sign + (0.25 * grey + 0.55 - sign * 0.8) * rng.beta(1, 5) * 0.7
    dirt = np.clip(fractal(rng, (3, 6)) * 1.6 - rng.uniform(0.7, 1.5), 0, 0.7)[..., None]
    stained = faded * (1 - dirt) + dirt * np.array((0.32, 0.27, 0.20), np.float32)
    y, x = grid()
    slope = rng.uniform(-0.3, 0.3, 2)
    sheen = rng.uniform(0.8, 1.08) + slope[0] * (y - 0.5) + slope[1] * (x - 0.5)
    return np.asarray(stained * sheen[..., None], np.float32)


def _twig(scene: Scene, rng: Rng) -> Scene:
    """Leaves that hang in front of a part of the sign."""
    y, x = grid()
    side = rng.uniform(0, 2 * np.pi)
    reach = (x - 0.5) * np.cos(side) + (y - 0.5) * np.sin(side)
    leaves = fractal(rng, 9, 3, 0.6) + 2.2 * (reach - rng.uniform(0.12, 0.3)) > 0.62
    tones = ((0.07, 0.11, 0.03), (0.22, 0.34, 0.10), (0.42, 0.52, 0.20))
    colours = ramp(fractal(rng, 12, 2), tones)
    sign = np.where(leaves[..., None], colours, scene.sign)
    return Scene(scene.behind, sign, np.maximum(scene.mask, leaves[..., None]))


def _shadow(rng: Rng) -> Array:
    """How much sun reaches each point, [96, 96, 1]: a straight edge or light through leaves."""
    if rng.random() < 0.5:
        lit = fractal(rng, 4, 3)
        edge = np.clip((lit - rng.uniform(0.3, 0.6)) * 6 + 0.5, 0, 1)
    else:
        y, x = grid()
        angle, at = rng.uniform(0, 2 * np.pi), rng.uniform(-0.3, 0.3)
        edge = np.clip(((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) - at) * 24, 0, 1)
    depth = rng.uniform(0.25, 0.6)
    return np.asarray(1 - depth * (1 - edge), np.float32)[..., None]


def _joined(scene: Scene) -> Array:
    return scene.behind * (1 - scene.mask) + scene.sign * scene.mask


def day(scene: Scene, rng: Rng) -> Array:
    """Daylight, with a shadow across the sign in one of three."""
    if rng.random() < 0.33:
        return _joined(Scene(scene.behind, scene.sign * _shadow(rng), scene.mask))
    return _joined(scene)


def night(scene: Scene, rng: Rng) -> Array:
    """Darkness: distant lamps out of focus, the sign lit by the car's own headlights."""
    dark = scene.behind * np.array((0.10, 0.11, 0.17), np.float32) * rng.uniform(0.3, 1.2)
    lamps = np.zeros((SIDE, SIDE, 3), np.float32)
    for _ in range(rng.integers(0, 7)):
        top, left, size = *rng.integers(0, SIDE - 8, 2), rng.integers(2, 8)
        colour = ((1, 0.75, 0.4), (1, 0.95, 0.85), (0.95, 0.25, 0.15))[rng.integers(3)]
        lamps[top : top + size, left : left + size] = colour
    y, x = grid()
    cy, cx = rng.uniform(0.3, 0.7, 2)
    beam = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / rng.uniform(0.08, 0.4))[..., None]
    lit = scene.sign * (0.08 + rng.uniform(0.2, 0.8) * beam)
    image = _joined(Scene(dark + blurred(lamps, 2.5) * 1.4, lit, scene.mask))
    glow = blurred(image, 5)
    noise = rng.normal(0, rng.uniform(0.02, 0.07), image.shape)
    return np.asarray(image + 0.5 * glow + noise, np.float32)


def fog(scene: Scene, rng: Rng) -> Array:
    """Fog: what is far is grey, the sign is pale, edges are soft."""
    grey = rng.uniform(0.62, 0.85) * np.array((0.98, 1.0, 1.02), np.float32)
    drift = (0.12 * smooth(rng, (4, 3)) - 0.06)[..., None]
    background, foreground = rng.uniform(0.8, 0.97), rng.uniform(0.55, 0.84)
    veil = foreground * scene.mask + background * (1 - scene.mask) + drift
    return blurred(_joined(scene) * (1 - veil) + grey * veil, rng.uniform(0.5, 1.4))


def photograph(face: Image.Image, rng: Rng, weather: Weather = day) -> Image.Image:
    """An image, RGB 96 × 96, of a sign face (RGBA, square) somewhere in the world."""
    sign, mask = _put_up(face, rng)
    scene = Scene(background(rng), _aged(sign, rng), mask)
    if rng.random() < 0.2:
        scene = _twig(scene, rng)
    return develop(weather(scene, rng), rng)
