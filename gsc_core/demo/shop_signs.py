"""Shop signs and logos, invented afresh for each image: outsiders that hang in the same streets."""

from collections.abc import Callable

from PIL import Image

from gsc_core.demo.board import BLACK, BLUE, GREEN, RED, WHITE, YELLOW, Board, Colour, arc, bow
from gsc_core.demo.noise import Rng

INKS: tuple[Colour, ...] = (RED, BLUE, GREEN, BLACK, (92, 48, 22), (120, 30, 96), (232, 112, 20))
PAPERS: tuple[Colour, ...] = (WHITE, YELLOW, (240, 222, 190), (250, 206, 214), (206, 232, 220))
WORDS = (
    "CAFE", "BOOKS", "PIZZA", "OPEN", "SALE", "HOTEL", "BAR", "SHOES", "TOYS", "FLORA", "BIKES",
    "KIOSK", "OPTIK", "24h", "TEA", "MODA", "BREAD", "FISH", "WINE", "GOLD", "Lumo", "Nordi",
)  # fmt: skip

Emblem = Callable[[Board, Colour], None]


def _cup(board: Board, ink: Colour) -> None:
    board.polygon([(-0.55, -0.3), (0.4, -0.3), (0.25, 0.5), (-0.4, 0.5)], ink, 0.06)
    board.stroke(arc(0.24, -80, 90, 0.42, 0.02), 0.12, ink)
    board.stroke([(-0.75, 0.74), (0.6, 0.74)], 0.13, ink)
    for x in (-0.3, 0.0, 0.3):
        board.stroke(bow((x - 0.05, -0.5), (x + 0.16, -0.7), (x - 0.02, -0.95)), 0.07, ink)


def _cross(board: Board, ink: Colour) -> None:
    board.box((-0.26, -0.8), (0.26, 0.8), ink)
    board.box((-0.8, -0.26), (0.8, 0.26), ink)


def _star(board: Board, ink: Colour) -> None:
    board.polygon([arc(0.9 if i % 2 else 0.38, 54 + 36 * i, 91)[0] for i in range(10)], ink, 0.03)


def _fish(board: Board, ink: Colour) -> None:
    back = bow((-0.8, 0), (0.0, -0.9), (0.6, 0.1))
    board.polygon([*back, *bow((0.6, -0.1), (0.0, 0.9), (-0.8, 0))], ink)
    board.polygon([(0.45, 0), (0.95, -0.42), (0.95, 0.42)], ink)
    board.disc(-0.42, -0.1, 0.08, WHITE)


def _flower(board: Board, ink: Colour) -> None:
    for x, y in arc(0.5, 0, 300)[::10]:
        board.disc(x, y, 0.33, ink)
    board.disc(0, 0, 0.28, YELLOW)


def _pretzel(board: Board, ink: Colour) -> None:
    for side in (-1, 1):
        loop = bow((0, 0.5), (1.5 * side, 0.3), (0.6 * side, -0.55))
        board.stroke(
            [*loop, *bow((0.6 * side, -0.55), (0.1 * side, -0.9), (-0.42 * side, 0.5))], 0.17, ink
        )


def _wave(board: Board, ink: Colour) -> None:
    for y in (-0.45, 0.05, 0.55):
        crest = bow((-0.85, y), (-0.42, y - 0.5), (0, y))
        board.stroke([*crest, *bow((0, y), (0.42, y + 0.5), (0.85, y))], 0.18, ink)


def _moon(board: Board, ink: Colour) -> None:
    outer = arc(0.85, 50, 310)
    board.polygon([*outer, *arc(0.68, 290, 70, 0.28, 0)], ink, 0.02)


def _scissors(board: Board, ink: Colour) -> None:
    for side in (-1, 1):
        board.stroke([(-0.45 * side, -0.85), (0.3 * side, 0.35)], 0.13, ink)
        board.stroke(arc(0.24, 0, 360, 0.38 * side, 0.58), 0.12, ink)


EMBLEMS: tuple[Emblem, ...] = (
    _cup, _cross, _star, _fish, _flower, _pretzel, _wave, _moon, _scissors,
)  # fmt: skip


def _wide(board: Board, paper: Colour, ink: Colour, rng: Rng) -> None:
    """A long board with a word on it, and often an emblem above."""
    board.box((-1, -0.42), (1, 0.42), ink, 0.06)
    board.box((-0.95, -0.37), (0.95, 0.37), paper, 0.04)
    word = WORDS[rng.integers(len(WORDS))]
    board.text(0, 0, word, min(0.42, 1.75 / len(word)), ink)
    if rng.random() < 0.6:
        EMBLEMS[rng.integers(len(EMBLEMS))](board.at(0, -0.74, 0.24), ink)


def _round(board: Board, paper: Colour, ink: Colour, rng: Rng) -> None:
    """A disc with an emblem."""
    board.disc(0, 0, 0.96, ink)
    board.disc(0, 0, rng.uniform(0.8, 0.92), paper)
    EMBLEMS[rng.integers(len(EMBLEMS))](board.at(0, 0, rng.uniform(0.5, 0.62)), ink)


def _tall(board: Board, paper: Colour, ink: Colour, rng: Rng) -> None:
    """A plate with an emblem over a word."""
    board.box((-0.72, -0.96), (0.72, 0.96), ink, rng.uniform(0.02, 0.3))
    board.box((-0.65, -0.89), (0.65, 0.89), paper, rng.uniform(0.02, 0.25))
    EMBLEMS[rng.integers(len(EMBLEMS))](board.at(0, -0.26, 0.48), ink)
    word = WORDS[rng.integers(len(WORDS))]
    board.text(0, 0.6, word, 1.2 / max(4, len(word)), ink)


def _shield(board: Board, paper: Colour, ink: Colour, rng: Rng) -> None:
    """A shield that hangs over a door."""
    for size, colour in ((0.94, ink), (0.84, paper)):
        left = bow((-size, -size), (-size, 0.6 * size), (0, size))
        right = bow((0, size), (size, 0.6 * size), (size, -size))
        board.polygon([*left, *right], colour)
    EMBLEMS[rng.integers(len(EMBLEMS))](board.at(0, -0.2, 0.52), ink)


SHAPES = (_wide, _wide, _round, _tall, _shield)


def shop_sign(rng: Rng) -> Image.Image:
    """The clean face of a shop sign that no shop has, RGBA."""
    paper, ink = PAPERS[rng.integers(len(PAPERS))], INKS[rng.integers(len(INKS))]
    if rng.random() < 0.45:
        paper, ink = ink, paper
    board = Board.blank()
    SHAPES[rng.integers(len(SHAPES))](board, paper, ink, rng)
    return board.face()
