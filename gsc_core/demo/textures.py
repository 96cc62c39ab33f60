"""Images without a sign, [96, 96, 3]: natural textures and plain noise."""

from collections.abc import Callable, Mapping

import numpy as np

from gsc_core.demo.backgrounds import brick_wall, foliage
from gsc_core.demo.noise import SIDE, Array, Rng, blurred, fractal, grid, ramp, smooth

Texture = Callable[[Rng], Array]


def _lit(height: Array, strength: float = 1.0) -> Array:
    """Light from the upper left on a relief: [96, 96] to a factor about 1, [96, 96, 1]."""
    slope = np.gradient(height)
    return np.asarray(1 - strength * 5 * (slope[0] + slope[1]).clip(-0.1, 0.1), np.float32)[
        ..., None
    ]


def _cells(rng: Rng, count: int) -> tuple[Array, Array]:
    """Worley noise: the nearest and second nearest of ``count`` points, as distances [96, 96]."""
    y, x = grid()
    points = rng.random((count, 2), dtype=np.float32) * 1.2 - 0.1
    away = np.hypot(y[..., None] - points[:, 0], x[..., None] - points[:, 1])
    nearest = np.partition(away, 1, axis=-1)
    return nearest[..., 0], nearest[..., 1]


def wood(rng: Rng) -> Array:
    """Sawn wood: rings stretched along the grain."""
    y, x = grid()
    bend = fractal(rng, (2, 3), 3, 0.35)
    rings = (rng.uniform(5, 12) * (y + 0.35 * bend + 0.15 * x)) % 1
    grain = 0.65 * rings + 0.35 * fractal(rng, (40, 3), 2)
    tones = (
        ((0.33, 0.18, 0.08), (0.62, 0.40, 0.20), (0.78, 0.57, 0.33)),
        ((0.55, 0.38, 0.20), (0.80, 0.62, 0.40), (0.90, 0.76, 0.55)),
        ((0.16, 0.10, 0.06), (0.34, 0.21, 0.13), (0.46, 0.31, 0.20)),
    )[rng.integers(3)]
    return ramp(grain, tones)


def marble(rng: Rng) -> Array:
    """Polished marble: thin dark veins in a pale stone."""
    y, x = grid()
    warp = fractal(rng, 3, 6, 0.6)
    angle = rng.uniform(0, np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    veins = np.abs(np.sin(np.pi * (rng.uniform(1.5, 4) * along + 3.2 * warp))) ** 0.35
    tones = (
        ((0.42, 0.42, 0.45), (0.84, 0.83, 0.82), (0.95, 0.94, 0.92)),
        ((0.70, 0.66, 0.52), (0.16, 0.22, 0.19), (0.09, 0.13, 0.11)),
        ((0.52, 0.34, 0.26), (0.85, 0.72, 0.62), (0.93, 0.84, 0.76)),
    )[rng.integers(3)]
    return ramp((0.8 * veins + 0.2 * warp).clip(0, 1), tones)


def grass(rng: Rng) -> Array:
    """Blades of grass, seen from above."""
    blades = fractal(rng, (6, 26), 3, 0.9)
    light = 0.55 * blades + 0.45 * fractal(rng, 4, 4, 0.7)
    return ramp(
        light, ((0.05, 0.10, 0.02), (0.20, 0.36, 0.07), (0.42, 0.58, 0.16), (0.72, 0.80, 0.40))
    )


def fabric(rng: Rng) -> Array:
    """Woven cloth, plain or checked."""
    y, x = grid()
    threads = rng.uniform(14, 30)
    over = np.sin(2 * np.pi * threads * x), np.sin(2 * np.pi * threads * y)
    weave = np.where((np.floor(threads * x) + np.floor(threads * y)) % 2 > 0, over[0], over[1])
    base, band = rng.uniform(0.1, 0.8, (2, 1)) + rng.uniform(-0.12, 0.16, (2, 3))
    stripes = ((rng.uniform(2, 5) * x) % 1 < 0.4) * 0.5 + ((rng.uniform(2, 5) * y) % 1 < 0.4) * 0.5
    checks = base + (band - base) * stripes[..., None] * rng.integers(0, 2)
    folds = 0.75 + 0.4 * fractal(rng, 2, 4)
    return np.asarray(checks * (folds * (0.86 + 0.14 * np.abs(weave)))[..., None], np.float32)


def stones(rng: Rng) -> Array:
    """Pebbles or cobbles with dark gaps."""
    near, second = _cells(rng, int(rng.integers(30, 90)))
    gap = np.clip((second - near) * 18, 0, 1)
    tint = ramp(fractal(rng, 8, 2), ((0.42, 0.40, 0.38), (0.66, 0.60, 0.54), (0.80, 0.78, 0.75)))
    return np.asarray(tint * _lit(-near * 4, 0.7) * (0.2 + 0.8 * gap[..., None]), np.float32)


def leather(rng: Rng) -> Array:
    """Creased leather."""
    near, second = _cells(rng, 120)
    crease = np.clip((second - near) * 30, 0, 1)
    base = np.array(
        ((0.50, 0.28, 0.16), (0.26, 0.24, 0.24), (0.70, 0.48, 0.28), (0.52, 0.16, 0.14))
    )
    shade = (0.6 + 0.4 * crease) * (0.8 + 0.35 * fractal(rng, 3))
    return np.asarray(base[rng.integers(4)] * shade[..., None] * _lit(crease * 0.05), np.float32)


def sand(rng: Rng) -> Array:
    """Wind ripples in sand."""
    y, x = grid()
    bend = fractal(rng, 3, 3)
    ripple = np.sin(2 * np.pi * (rng.uniform(5, 10) * (y + 0.2 * bend) + rng.uniform(-2, 2) * x))
    light = (0.55 + 0.22 * ripple + 0.3 * (fractal(rng, 32, 2, 0.9) - 0.5)).clip(0, 1)
    return ramp(light, ((0.46, 0.33, 0.20), (0.78, 0.62, 0.42), (0.95, 0.84, 0.66)))


def bark(rng: Rng) -> Array:
    """The bark of a tree: deep cracks upwards."""
    ridges = np.abs(fractal(rng, (3, 9), 5, 0.65) - 0.5) * 2
    tones = ((0.09, 0.07, 0.05), (0.36, 0.28, 0.21), (0.58, 0.50, 0.41))
    return np.asarray(ramp(ridges.clip(0, 1) ** 0.7, tones) * _lit(ridges, 0.8), np.float32)


def water(rng: Rng) -> Array:
    """Ripples on water under an open sky."""
    wave = np.abs(fractal(rng, (10, 4), 4) - fractal(rng, (14, 5), 3))
    tones = ((0.04, 0.16, 0.24), (0.12, 0.36, 0.46), (0.45, 0.66, 0.74), (0.92, 0.96, 0.97))
    return ramp((wave * 2).clip(0, 1), tones)


TEXTURES: Mapping[str, Texture] = {
    "wood": wood, "marble": marble, "grass": grass, "fabric": fabric, "stones": stones,
    "leather": leather, "sand": sand, "bark": bark, "water": water, "bricks": brick_wall,
    "leaves": foliage,
}  # fmt: skip


def gaussian(rng: Rng) -> Array:
    """Independent normal values about mid-grey."""
    return rng.normal(0.5, rng.uniform(0.1, 0.3), (SIDE, SIDE, 3)).astype(np.float32)


def uniform(rng: Rng) -> Array:
    """Independent uniform values, sometimes in coarse squares."""
    step = int(rng.choice((1, 2, 4, 8, 16)))
    field = rng.random((SIDE // step, SIDE // step, 3), dtype=np.float32)
    return field.repeat(step, 0).repeat(step, 1)


def blobs(rng: Rng) -> Array:
    """Smooth coloured blobs, thresholded."""
    field = np.stack([smooth(rng, int(rng.integers(5, 14))) for _ in range(3)], axis=-1)
    return blurred((field > 0.5).astype(np.float32), 1.2)


def stripes(rng: Rng) -> Array:
    """Parallel stripes in two colours, at any angle."""
    y, x = grid()
    angle, count = rng.uniform(0, np.pi), rng.uniform(3, 24)
    wave = np.sin(2 * np.pi * count * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform(0, 6))
    return ramp((0.5 + 2 * wave).clip(0, 1), rng.random((2, 3)).tolist())


def scattered(rng: Rng) -> Array:
    """A plain colour with salt and pepper."""
    image = np.ones((SIDE, SIDE, 1)) * rng.random(3)
    hit = rng.random((SIDE, SIDE, 1))
    share = rng.uniform(0.02, 0.3)
    return np.asarray(np.where(hit < share, 0, np.where(hit > 1 - share, 1, image)), np.float32)


NOISES: Mapping[str, Texture] = {
    "gaussian": gaussian, "uniform": uniform, "blobs": blobs, "stripes": stripes,
    "salt-and-pepper": scattered,
}  # fmt: skip
