"""What stands behind a sign, [96, 96, 3]: streets, hedges, walls, skies."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from gsc_core.demo.noise import SIDE, Array, Rng, blurred, fractal, grid, ramp, to_array

Background = Callable[[Rng], Array]
LARGE = 2 * SIDE  # shapes are drawn at twice the size, then reduced

SKIES = (
    ((0.36, 0.56, 0.84), (0.62, 0.77, 0.93), (0.90, 0.93, 0.96)),
    ((0.55, 0.68, 0.84), (0.80, 0.86, 0.92), (0.95, 0.95, 0.94)),
    ((0.66, 0.69, 0.73), (0.78, 0.80, 0.82), (0.88, 0.89, 0.90)),
    ((0.42, 0.50, 0.68), (0.83, 0.76, 0.74), (0.98, 0.86, 0.70)),
)
LEAVES = (
    ((0.05, 0.10, 0.03), (0.15, 0.27, 0.07), (0.30, 0.43, 0.13), (0.52, 0.62, 0.25)),
    ((0.06, 0.09, 0.05), (0.16, 0.24, 0.12), (0.30, 0.40, 0.22), (0.55, 0.62, 0.40)),
    ((0.13, 0.09, 0.03), (0.36, 0.25, 0.08), (0.58, 0.42, 0.14), (0.80, 0.65, 0.30)),
)


def sky(rng: Rng) -> Array:
    """A sky, darker above, with clouds."""
    y, _ = grid()
    clear = ramp(y, SKIES[rng.integers(len(SKIES))])
    clouds = np.clip(fractal(rng, (3, 2)) * 1.9 - rng.uniform(0.7, 1.2), 0, 1)[..., None]
    return np.asarray(clear * (1 - clouds * 0.8) + clouds * 0.8 * 0.96, np.float32)


def foliage(rng: Rng, leaves: int = 130) -> Array:
    """A hedge: dark gaps, then single leaves from dark to light."""
    palette = LEAVES[rng.choice(3, p=(0.45, 0.35, 0.2))]
    depth = ramp(fractal(rng, 4, roughness=0.7), palette)
    image = Image.fromarray((depth * 255).astype(np.uint8)).resize((LARGE, LARGE))
    draw = ImageDraw.Draw(image)
    spots = rng.uniform(0, LARGE, (leaves, 2))
    angles, lengths = rng.uniform(0, 2 * np.pi, leaves), rng.uniform(4, 11, leaves)
    along = np.stack([np.cos(angles), np.sin(angles)], -1) * lengths[:, None]
    across = along[:, ::-1] * (0.4, -0.4)
    corners = np.stack([spots - along, spots + across, spots + along, spots - across], 1)
    tones = np.linspace(0.25, 1, leaves) * rng.uniform(0.75, 1.1, leaves)
    colours = (ramp(tones.clip(0, 1)[None].astype(np.float32), palette)[0] * 255).astype(int)
    for leaf, colour in zip(corners, colours, strict=True):
        draw.polygon([tuple(p) for p in leaf], tuple(map(int, colour)))
    return to_array(image.reduce(2))


def brick_wall(rng: Rng) -> Array:
    """Bricks of slightly different tone in light mortar."""
    height = int(rng.integers(12, 22))
    width = int(height * 2.4)
    mortar = int(rng.uniform(150, 200))
    image = Image.new("RGB", (LARGE, LARGE), (mortar, mortar - 4, mortar - 10))
    draw = ImageDraw.Draw(image)
    base = np.array(((150, 72, 52), (170, 96, 66), (196, 170, 132), (120, 96, 84)))[rng.integers(4)]
    shift = int(rng.integers(width))
    for row, top in enumerate(range(-int(rng.integers(height)), LARGE, height)):
        for left in range(-shift - (row % 2) * width // 2, LARGE, width):
            tone = tuple(int(c) for c in (base * rng.uniform(0.78, 1.15)).clip(0, 255))
            draw.rectangle((left, top, left + width - 3, top + height - 3), tone)
    grain = 0.82 + 0.36 * fractal(rng, 12, 3, 0.8)[..., None]
    return np.asarray(to_array(image.reduce(2)) * grain, np.float32)


def plaster(rng: Rng) -> Array:
    """Concrete or painted plaster with stains."""
    light = np.array(
        ((0.72, 0.71, 0.68), (0.85, 0.80, 0.68), (0.62, 0.64, 0.67), (0.80, 0.70, 0.60))
    )[rng.integers(4)]
    stains = 0.72 + 0.3 * fractal(rng, 3, 6, 0.62) + 0.12 * fractal(rng, (3, 24), 3)
    return np.asarray(light * stains[..., None], np.float32)


def _treeline(rng: Rng, horizon: float, rise: float) -> Array:
    """Where hills or trees hide the sky: [96, 96] boolean."""
    y, _ = grid()
    edge = horizon - rise * fractal(rng, 3, 5, 0.6)[0]
    return np.asarray(y > edge[None, :])


def road(rng: Rng) -> Array:
    """Sky, a line of trees, a verge and a road that runs to the horizon."""
    y, x = grid()
    image, horizon = sky(rng), rng.uniform(0.5, 0.72)
    trees = _treeline(rng, horizon, rng.uniform(0.1, 0.45))
    palette = LEAVES[rng.integers(3)]
    image[trees] = (ramp(fractal(rng, 6, 4, 0.7), palette) * 0.8)[trees]
    depth = np.clip((y - horizon) / (1 - horizon), 1e-3, 1)
    ground = ramp(fractal(rng, (16, 5), 3, 0.8) * 0.6 + 0.3, palette)
    middle = rng.uniform(-0.2, 1.2) + (rng.uniform(-0.5, 1.5) - 0.5) * depth
    asphalt = (0.40 + 0.14 * fractal(rng, (24, 6), 3, 0.8))[..., None] * (0.98, 1.0, 1.03)
    across = np.abs(x - middle) / depth
    ground = np.where((across < 0.8)[..., None], asphalt, ground)
    dashes = (across < 0.03) & ((6 / (depth + 0.15)) % 2 < 1)
    ground[dashes | (np.abs(across - 0.72) < 0.03)] = 0.86
    below = y > horizon
    image[below] = ground[below]
    return image


def facade(rng: Rng) -> Array:
    """A house front with rows of windows, seen at an angle."""
    paint = np.array(
        ((214, 196, 158), (190, 120, 92), (206, 206, 200), (150, 160, 168), (226, 178, 120))
    )[rng.integers(5)]
    image = Image.new("RGBA", (LARGE, LARGE), (*map(int, paint), 255))
    draw = ImageDraw.Draw(image)
    step, rise = int(rng.integers(44, 72)), int(rng.integers(56, 84))
    left, top = rng.integers(step), rng.integers(rise)
    for x in range(-int(left), LARGE, step):
        for y in range(-int(top), LARGE, rise):
            frame = (x, y, x + int(step * 0.55), y + int(rise * 0.62))
            draw.rectangle(frame, (228, 226, 220))
            glass = tuple(int(c) for c in np.array((62, 76, 92)) * rng.uniform(0.5, 1.8))
            draw.rectangle((x + 3, y + 3, frame[2] - 3, frame[3] - 3), glass)
            draw.line((x, frame[3] + 2, frame[2], frame[3] + 2), (150, 146, 140), 4)
    slant = rng.uniform(-0.0016, 0.0016)
    tilt = (1 - slant * LARGE / 2, 0, 0, rng.uniform(-0.2, 0.2), 1, 0, slant, 0)
    warped = image.transform(image.size, Image.Transform.PERSPECTIVE, tilt)
    front = to_array(warped.reduce(2))
    shade, alpha = 0.8 + 0.3 * fractal(rng, 3, 5)[..., None], front[..., 3:]
    return np.asarray(front[..., :3] * shade * alpha + sky(rng) * (1 - alpha), np.float32)


def tree_tops(rng: Rng) -> Array:
    """Trees below an open sky."""
    image, leaves = sky(rng), foliage(rng)
    trees = _treeline(rng, rng.uniform(0.6, 1.1), rng.uniform(0.3, 0.7))
    image[trees] = leaves[trees]
    return image


BACKGROUNDS: tuple[Background, ...] = (
    road, road, foliage, brick_wall, plaster, sky, facade, tree_tops,
)  # fmt: skip


def background(rng: Rng) -> Array:
    """One background, as a lens that looks at the sign shows it: more or less out of focus."""
    image = BACKGROUNDS[rng.integers(len(BACKGROUNDS))](rng)
    return blurred(image, rng.uniform(0.4, 2.6))
