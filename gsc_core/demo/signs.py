"""Road signs: the classes that the demo network knows, and sign types that it never saw."""

from collections.abc import Callable, Mapping
from functools import cache, partial

from PIL import Image

from gsc_core.demo import pictograms
from gsc_core.demo.board import BLACK, BLUE, GREY, RED, WHITE, YELLOW, Board, Colour, arc

Drawing = Callable[[Board], None]


def _warning(board: Board, pictogram: Drawing, scale: float = 0.42) -> None:
    """A white triangle with a red rim around a pictogram."""
    board.polygon([(0, -0.78), (0.86, 0.7), (-0.86, 0.7)], WHITE, 0.13)
    board.polygon([(0, -0.78), (0.86, 0.7), (-0.86, 0.7)], RED, 0.1)
    board.polygon([(0, -0.47), (0.59, 0.54), (-0.59, 0.54)], WHITE, 0.04)
    pictogram(board.at(0, 0.17, scale))


def _prohibition(board: Board, pictogram: Drawing, scale: float = 0.5) -> None:
    """A white disc with a red rim around a pictogram."""
    for radius, colour in ((0.98, WHITE), (0.95, RED), (0.73, WHITE)):
        board.disc(0, 0, radius, colour)
    pictogram(board.at(0, 0, scale))


def _mandatory(board: Board, pictogram: Drawing, scale: float = 0.6) -> None:
    """A blue disc around a white pictogram."""
    board.disc(0, 0, 0.98, WHITE)
    board.disc(0, 0, 0.93, BLUE)
    pictogram(board.at(0, 0, scale))


def _notice(board: Board, pictogram: Drawing, scale: float = 0.7) -> None:
    """A blue square around a pictogram."""
    board.box((-0.9, -0.9), (0.9, 0.9), WHITE, 0.14)
    board.box((-0.86, -0.86), (0.86, 0.86), BLUE, 0.11)
    pictogram(board.at(0, 0, scale))


def _number(board: Board, words: str, height: float) -> None:
    board.text(0, 0, words, height, BLACK)


def _bar(board: Board) -> None:
    board.box((-0.68, -0.17), (0.68, 0.17), WHITE)


def _stop(board: Board) -> None:
    corners = [arc(0.96, 22.5 + 45 * i, 68 + 45 * i)[0] for i in range(8)]
    board.polygon(corners, WHITE, 0.03)
    board.polygon([(0.92 * x, 0.92 * y) for x, y in corners], RED, 0.02)
    board.text(0, 0, "STOP", 0.43, WHITE)


def _yield(board: Board) -> None:
    board.polygon([(0, 0.78), (0.86, -0.7), (-0.86, -0.7)], WHITE, 0.13)
    board.polygon([(0, 0.78), (0.86, -0.7), (-0.86, -0.7)], RED, 0.1)
    board.polygon([(0, 0.42), (0.54, -0.5), (-0.54, -0.5)], WHITE, 0.04)


def _no_entry(board: Board) -> None:
    board.disc(0, 0, 0.98, WHITE)
    board.disc(0, 0, 0.93, RED)
    _bar(board)


def _priority_road(board: Board) -> None:
    for reach, colour in ((0.92, WHITE), (0.66, BLACK), (0.62, YELLOW)):
        board.polygon([(0, -reach), (reach, 0), (0, reach), (-reach, 0)], colour, 0.05)


def _circling_arrows(board: Board) -> None:
    for start in (30, 150, 270):
        board.arrow(arc(0.72, start + 74, start), 0.24, WHITE)


def _arrow_down_right(board: Board) -> None:
    board.arrow([(-0.62, -0.62), (0.42, 0.42)], 0.36, WHITE)


def _crossing(board: Board) -> None:
    board.polygon([(0, -0.92), (0.98, 0.8), (-0.98, 0.8)], WHITE, 0.06)
    pictograms.zebra_crossing(board.at(0, 0.2, 0.62))


def _two_cars(board: Board) -> None:
    pictograms.car(board.at(-0.54, 0.05, 0.58), RED)
    pictograms.car(board.at(0.54, 0.05, 0.58), BLACK)


def _bend_left(board: Board) -> None:
    pictograms.bend_right(board.at(0, 0, 1, mirrored=True))


def _letter_p(board: Board) -> None:
    board.text(0.03, 0, "P", 1.5, WHITE)


ID_SIGNS: Mapping[str, Drawing] = {
    "stop": _stop,
    "yield": _yield,
    "no-entry": _no_entry,
    "speed-30": partial(_prohibition, pictogram=partial(_number, words="30", height=1.36)),
    "speed-50": partial(_prohibition, pictogram=partial(_number, words="50", height=1.36)),
    "speed-80": partial(_prohibition, pictogram=partial(_number, words="80", height=1.36)),
    "no-overtaking": partial(_prohibition, pictogram=_two_cars, scale=0.62),
    "priority-road": _priority_road,
    "roundabout": partial(_mandatory, pictogram=_circling_arrows),
    "keep-right": partial(_mandatory, pictogram=_arrow_down_right),
    "pedestrian-crossing": partial(_notice, pictogram=_crossing),
    "parking": partial(_notice, pictogram=_letter_p, scale=0.75),
    "children": partial(_warning, pictogram=pictograms.children, scale=0.46),
    "curve-left": partial(_warning, pictogram=_bend_left),
    "curve-right": partial(_warning, pictogram=pictograms.bend_right),
    "traffic-lights": partial(_warning, pictogram=pictograms.traffic_lights, scale=0.4),
}


def _no_parking(board: Board) -> None:
    for radius, colour in ((0.98, WHITE), (0.95, RED), (0.74, BLUE)):
        board.disc(0, 0, radius, colour)
    board.stroke([(-0.56, -0.56), (0.56, 0.56)], 0.2, RED)


def _level_crossing(board: Board) -> None:
    for sign in (1, -1):
        board.stroke([(-0.78, -0.5 * sign), (0.78, 0.5 * sign)], 0.3, RED)
        board.stroke([(-0.5, -0.32 * sign), (0.5, 0.32 * sign)], 0.3, WHITE)


def _oncoming_first(board: Board) -> None:
    board.arrow([(0.42, 0.75), (0.42, -0.4)], 0.26, RED)
    board.arrow([(-0.42, -0.75), (-0.42, 0.4)], 0.32, BLACK)


def _priority_over_oncoming(board: Board) -> None:
    board.arrow([(-0.4, -0.75), (-0.4, 0.35)], 0.24, RED)
    board.arrow([(0.35, 0.8), (0.35, -0.35)], 0.36, WHITE)


def _height(board: Board) -> None:
    for sign in (1, -1):
        board.polygon([(-0.3, -1.1 * sign), (0.3, -1.1 * sign), (0, -0.72 * sign)], BLACK)
    board.text(0, 0, "3.8m", 0.62, BLACK)


def _end_of_limits(board: Board) -> None:
    board.disc(0, 0, 0.98, GREY)
    board.disc(0, 0, 0.94, WHITE)
    for shift in (-0.28, -0.14, 0.0, 0.14, 0.28):
        board.stroke([(-0.48 + shift, 0.5 + shift), (0.48 + shift, -0.5 + shift)], 0.055, BLACK)


def _dead_end(board: Board) -> None:
    board.box((-0.15, -0.45), (0.15, 1.0), WHITE)
    board.box((-0.72, -0.78), (0.72, -0.42), RED)


def _arrow_up(board: Board, ink: Colour = WHITE) -> None:
    board.arrow([(0, 0.95), (0, -0.4)], 0.36, ink)


def _exclamation(board: Board) -> None:
    board.polygon([(-0.14, -0.9), (0.14, -0.9), (0.08, 0.35), (-0.08, 0.35)], BLACK, 0.06)
    board.disc(0, 0.76, 0.17, BLACK)


UNSEEN_SIGNS: Mapping[str, Drawing] = {
    "no-parking": _no_parking,
    "oncoming-first": partial(_prohibition, pictogram=_oncoming_first),
    "priority-over-oncoming": partial(_notice, pictogram=_priority_over_oncoming),
    "cycle-path": partial(_mandatory, pictogram=partial(pictograms.bicycle, ink=WHITE), scale=0.75),
    "height-limit": partial(_prohibition, pictogram=_height, scale=0.58),
    "no-lorries": partial(_prohibition, pictogram=partial(pictograms.lorry, ink=BLACK), scale=0.55),
    "snow-chains": partial(_mandatory, pictogram=pictograms.tyre, scale=0.75),
    "level-crossing": _level_crossing,
    "end-of-limits": _end_of_limits,
    "dead-end": partial(_notice, pictogram=_dead_end),
    "straight-ahead": partial(_mandatory, pictogram=_arrow_up),
    "roadworks": partial(_warning, pictogram=pictograms.roadworker),
    "deer": partial(_warning, pictogram=pictograms.deer, scale=0.46),
    "danger": partial(_warning, pictogram=_exclamation),
}

CLASS_NAMES: tuple[str, ...] = tuple(sorted(ID_SIGNS))


@cache
def face(name: str) -> Image.Image:
    """The clean face of a known or unseen sign, RGBA, drawn once a process.

    Raises KeyError for a name that is in neither table.
    """
    board = Board.blank()
    {**ID_SIGNS, **UNSEEN_SIGNS}[name](board)
    return board.face()
