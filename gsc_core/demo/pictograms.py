"""Pictograms: people, animals and vehicles in their own unit square, in one ink."""

from gsc_core.demo.board import BLACK, GREEN, RED, WHITE, YELLOW, Board, Colour, arc, bow


def walker(board: Board, ink: Colour = BLACK) -> None:
    """A person walking to the right."""
    board.disc(0.06, -0.8, 0.17, ink)
    board.polygon([(-0.1, -0.48), (0.16, -0.48), (0.1, 0.08), (-0.12, 0.08)], ink, 0.06)
    board.stroke([(0.0, 0.08), (0.24, 0.46), (0.3, 0.92), (0.42, 0.92)], 0.17, ink)
    board.stroke([(-0.03, 0.08), (-0.16, 0.5), (-0.46, 0.88)], 0.17, ink)
    board.stroke([(0.13, -0.46), (0.4, -0.14), (0.58, -0.2)], 0.12, ink)
    board.stroke([(-0.08, -0.46), (-0.36, -0.2), (-0.42, 0.08)], 0.12, ink)


def children(board: Board) -> None:
    """Two children running hand in hand."""
    walker(board.at(-0.34, -0.05, 0.85))
    walker(board.at(0.5, 0.17, 0.63))


def zebra_crossing(board: Board) -> None:
    """A person on a zebra crossing."""
    for x in (-0.84, -0.42, 0.0, 0.42, 0.84):
        board.polygon(
            [(x * 0.8 - 0.1, 0.7), (x * 0.8 + 0.1, 0.7), (x + 0.13, 0.96), (x - 0.13, 0.96)], BLACK
        )
    walker(board.at(0.0, -0.14, 0.85))


def car(board: Board, ink: Colour) -> None:
    """A car seen from behind."""
    board.polygon([(-0.56, -0.1), (-0.36, -0.55), (0.36, -0.55), (0.56, -0.1)], ink, 0.1)
    board.polygon([(-0.42, -0.12), (-0.28, -0.44), (0.28, -0.44), (0.42, -0.12)], WHITE)
    board.box((-0.85, -0.14), (0.85, 0.42), ink, 0.12)
    for x in (-0.6, 0.6):
        board.box((x - 0.16, 0.3), (x + 0.16, 0.66), ink, 0.05)
        board.disc(x, 0.12, 0.1, WHITE)


def traffic_lights(board: Board) -> None:
    """Three lamps in a black case."""
    board.box((-0.36, -1.0), (0.36, 1.0), BLACK, 0.14)
    for y, lamp in ((-0.62, RED), (0.0, YELLOW), (0.62, GREEN)):
        board.disc(0, y, 0.24, lamp)


def bend_right(board: Board, ink: Colour = BLACK) -> None:
    """A road that bends to the right."""
    road = bow((-0.35, 0.25), (-0.4, -0.3), (0.25, -0.5))
    board.arrow([(-0.35, 0.9), *road], 0.27, ink)


def bicycle(board: Board, ink: Colour) -> None:
    """A bicycle seen from the side."""
    for x in (-0.55, 0.55):
        board.stroke(arc(0.36, 0, 360, x, 0.28), 0.09, ink)
    frame = [(-0.55, 0.28), (-0.25, -0.25), (0.38, -0.25), (-0.02, 0.28), (-0.55, 0.28)]
    board.stroke(frame, 0.09, ink)
    board.stroke([(-0.02, 0.28), (-0.28, -0.38)], 0.09, ink)
    board.stroke([(0.55, 0.28), (0.32, -0.5), (0.52, -0.56)], 0.09, ink)
    board.stroke([(-0.44, -0.4), (-0.14, -0.4)], 0.13, ink)


def deer(board: Board, ink: Colour = BLACK) -> None:
    """A deer leaping to the left."""
    board.polygon([(-0.36, -0.2), (0.5, 0.0), (0.58, 0.22), (0.2, 0.2), (-0.3, 0.12)], ink, 0.08)
    board.stroke([(-0.36, -0.12), (-0.58, -0.5)], 0.2, ink)
    board.stroke([(-0.58, -0.54), (-0.8, -0.42)], 0.16, ink)
    for tip in ((-0.62, -1.0), (-0.28, -0.94)):
        board.stroke([(-0.52, -0.6), (-0.44, -0.8), tip], 0.06, ink)
    for x in (-0.36, -0.2):
        board.stroke([(x, 0.1), (x - 0.3, 0.4), (x - 0.22, 0.7)], 0.1, ink)
    for x in (0.5, 0.62):
        board.stroke([(x, 0.16), (x + 0.12, 0.5), (x + 0.32, 0.8)], 0.11, ink)


def roadworker(board: Board, ink: Colour = BLACK) -> None:
    """A person with a shovel at a heap."""
    board.disc(-0.08, -0.72, 0.17, ink)
    board.stroke([(-0.16, -0.42), (-0.4, 0.1)], 0.3, ink)
    board.stroke([(-0.4, 0.15), (-0.2, 0.5), (-0.3, 0.9)], 0.17, ink)
    board.stroke([(-0.42, 0.15), (-0.66, 0.5), (-0.8, 0.9)], 0.17, ink)
    board.stroke([(-0.12, -0.4), (0.16, -0.1), (0.02, 0.1)], 0.12, ink)
    board.stroke([(-0.2, 0.0), (0.5, 0.42)], 0.08, ink)
    board.polygon([(0.2, 0.92), (0.5, 0.5), (0.66, 0.42), (0.98, 0.92)], ink, 0.04)


def lorry(board: Board, ink: Colour) -> None:
    """A lorry seen from the side."""
    board.box((-0.92, -0.5), (0.34, 0.32), ink, 0.04)
    board.polygon([(0.44, -0.2), (0.74, -0.2), (0.92, 0.08), (0.92, 0.32), (0.44, 0.32)], ink)
    for x in (-0.6, -0.2, 0.66):
        board.disc(x, 0.38, 0.2, WHITE)
        board.disc(x, 0.38, 0.15, ink)


def tyre(board: Board, ink: Colour = BLACK) -> None:
    """A tyre with snow chains."""
    board.disc(0, 0, 0.85, ink)
    board.disc(0, 0, 0.42, WHITE)
    for turn in range(0, 360, 45):
        spoke = arc(0.85, turn, turn + 1)[0], arc(0.45, turn + 14, turn + 15)[0]
        board.stroke(spoke, 0.09, WHITE)
    board.stroke(arc(0.64, 0, 360), 0.07, WHITE)
