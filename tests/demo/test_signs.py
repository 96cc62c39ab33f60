"""The drawing: shapes land where they are told to, and signs can be told apart."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gsc_core.demo.board import FACE_PX, Board
from gsc_core.demo.noise import fractal, ramp, to_array, to_image
from gsc_core.demo.render import ID_PAINTERS, OOD_SETS
from gsc_core.demo.scenes import _corners, _perspective, fog, night, photograph
from gsc_core.demo.signs import CLASS_NAMES, ID_SIGNS, UNSEEN_SIGNS, face

INK = (200, 30, 40)


def on_grey(name: str) -> np.ndarray:
    board = Image.new("RGBA", (FACE_PX, FACE_PX), (128, 128, 128, 255))
    board.alpha_composite(face(name))
    return np.asarray(board.convert("RGB"), float)


def area(board: Board) -> float:
    """Share of the board that is covered."""
    return float(np.asarray(board.face())[..., 3].mean() / 255)


def test_there_are_enough_classes_and_none_is_both_known_and_unseen():
    assert len(CLASS_NAMES) >= 12
    assert not set(ID_SIGNS) & set(UNSEEN_SIGNS)


@pytest.mark.slow
def test_any_two_signs_differ_visibly():
    faces = {name: on_grey(name) for name in [*ID_SIGNS, *UNSEEN_SIGNS]}
    for first, second in combinations(faces, 2):
        change = np.abs(faces[first] - faces[second]).max(axis=-1)
        # Speed 30 and 80 differ least: in the open side of one digit.
        assert (change > 60).mean() > 0.01, (first, second)


def test_shapes_have_the_areas_of_geometry():
    disc, box, triangle = Board.blank(), Board.blank(), Board.blank()
    disc.disc(0, 0, 0.8, INK)
    box.box((-0.5, -0.25), (0.5, 0.75), INK)
    triangle.polygon([(-1, 1), (1, 1), (0, -1)], INK)
    assert area(disc) == pytest.approx(np.pi * 0.8**2 / 4, abs=0.01)
    assert area(box) == pytest.approx(1 / 4, abs=0.01)
    assert area(triangle) == pytest.approx(2 / 4, abs=0.01)


def test_an_inner_board_is_shifted_scaled_and_mirrored():
    board = Board.blank()
    board.at(0.5, -0.5, 0.5, mirrored=True).box((0, 0), (1, 1), INK)
    rows, columns = np.nonzero(np.asarray(board.face())[..., 3] > 128)
    unit = FACE_PX / 2
    box = [columns.min(), columns.max() + 1, rows.min(), rows.max() + 1]
    assert np.array(box) / unit - 1 == pytest.approx([0.0, 0.5, -0.5, 0.0], abs=0.03)


@given(st.integers(0, 2**32))
def test_the_face_lands_on_its_corners(seed):
    corners = _corners(np.random.default_rng(seed))
    a, b, c, d, e, f, g, h = _perspective(corners, 160)
    x, y = corners.astype(float).T
    depth = g * x + h * y + 1
    mapped = np.stack([(a * x + b * y + c) / depth, (d * x + e * y + f) / depth], axis=-1)
    assert mapped == pytest.approx(np.array([[0, 0], [160, 0], [160, 160], [0, 160]]), abs=1e-3)


@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 9), st.integers(1, 6))
def test_fractal_noise_fills_the_unit_interval(seed, rows, columns, octaves):
    field = fractal(np.random.default_rng(seed), (rows, columns), octaves)
    assert field.shape == (96, 96)
    assert field.min() == 0
    if rows * columns > 1 or octaves > 1:
        assert field.max() == pytest.approx(1, abs=1e-3)


def test_a_ramp_is_linear_between_its_stops():
    stops = ((0.0, 0.0, 0.0), (1.0, 0.5, 0.0), (0.0, 1.0, 1.0))
    got = ramp(np.array([[0.0, 0.25, 0.5, 0.75, 1.0]], np.float32), stops)[0]
    middle = np.mean(stops[:2], axis=0), np.mean(stops[1:], axis=0)
    assert got == pytest.approx(np.array([stops[0], middle[0], stops[1], middle[1], stops[2]]))


def test_images_and_arrays_are_the_same_thing():
    pixels = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    assert np.array_equal(np.asarray(to_image(to_array(Image.fromarray(pixels)))), pixels)


@pytest.mark.slow
def test_night_is_darker_and_fog_paler_than_day():
    def mean_of(statistic, **weather) -> float:
        scenes = (
            photograph(face(name), np.random.default_rng(i), **weather)
            for i, name in enumerate(CLASS_NAMES)
        )
        return float(np.mean([statistic(to_array(s)) for s in scenes]))

    assert mean_of(np.mean, weather=night) < 0.5 * mean_of(np.mean)
    assert mean_of(np.std, weather=fog) < 0.6 * mean_of(np.std)


@pytest.mark.parametrize(
    "painter",
    [*ID_PAINTERS.values(), *(p for kinds in OOD_SETS.values() for p in kinds.values())],
    ids=[*ID_PAINTERS, *(f"{s}/{k}" for s, kinds in OOD_SETS.items() for k in kinds)],
)
def test_every_kind_paints_a_picture_with_something_in_it(painter):
    pictures = [np.asarray(painter(np.random.default_rng(seed)), float) for seed in (1, 2)]
    assert all(p.shape == (96, 96, 3) for p in pictures)
    assert max(p.std(axis=(0, 1)).max() for p in pictures) > 5
    assert not np.array_equal(*pictures)
