"""Surrogate outliers keep what they promise to keep, and come out alike for a seed."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gsc_core.errors import ImageError
from gsc_core.images import read_folder
from gsc_core.images.decode import decode
from gsc_core.images.surrogate_kinds import SURROGATE_KINDS
from gsc_core.images.surrogates import (
    KINDS,
    SURROGATES,
    crop,
    jigsaw,
    mix,
    phase,
    phase_scrambled,
    surrogates_of,
    tile,
    write_surrogates,
    zoom,
)

SIDES = st.integers(8, 70)
SEEDS = st.integers(0, 2**31)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def noise(height, width, seed=0):
    return torch.randint(0, 256, (3, height, width), generator=seeded(seed), dtype=torch.uint8)


def colours(image):
    return sorted(map(tuple, image.flatten(1).T.tolist()))


@pytest.fixture
def images(tmp_path):
    """Six images of different sizes, and one that is cut off, which only decoding notices."""
    root = tmp_path / "images"
    root.mkdir()
    for at in range(6):
        pixels = noise(20 + at, 30, seed=at).permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(root / f"{at}.png")
    whole = io.BytesIO()
    Image.fromarray(noise(40, 40).permute(1, 2, 0).numpy()).save(whole, "PNG")
    (root / "cut.png").write_bytes(whole.getvalue()[:2000])
    return read_folder(root, "mine")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@given(height=SIDES, width=SIDES, seed=SEEDS)
@settings(max_examples=15)
def test_every_kind_is_a_pure_function_of_its_seed(kind, height, width, seed):
    image, other = noise(height, width), noise(33, 21, seed=1)
    kept = image.clone(), other.clone()
    made = kind.make(image, other, seeded(seed))
    assert made.dtype == torch.uint8
    assert made.shape == image.shape
    assert torch.equal(made, kind.make(image, other, seeded(seed)))
    assert torch.equal(image, kept[0])
    assert torch.equal(other, kept[1])
    assert not torch.equal(made, image)
    # on few pixels two seeds may draw nearly the same: not all of five
    others = [kind.make(image, other, seeded(seed + step)) for step in range(1, 6)]
    assert not all(torch.equal(made, one) for one in others)


@given(height=SIDES, width=SIDES, seed=SEEDS)
@settings(max_examples=30)
def test_jigsaw_keeps_every_pixel_and_moves_some(height, width, seed):
    image = noise(height, width)
    made = jigsaw(image, image, seeded(seed))
    assert colours(made) == colours(image)
    assert not torch.equal(made, image)


def test_jigsaw_moves_whole_patches():
    """On an image that numbers its pixels, neighbours inside a patch stay neighbours."""
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    image[0], image[1] = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    row, column, _ = jigsaw(image, image, seeded(3)).int()
    torn = ((row.diff(dim=1) != 0) | (column.diff(dim=1) != 1)).any(dim=0).nonzero().flatten() + 1
    size = int(torn[0])
    assert size in (64 // 4, 64 // 5, 64 // 6, 64 // 7, 64 // 8)
    assert all(int(at) % size == 0 for at in torn)


@given(height=SIDES, width=SIDES, seed=SEEDS)
@settings(max_examples=30)
def test_phase_keeps_the_amplitude_spectrum_and_the_mean(height, width, seed):
    image = noise(height, width)
    made = phase_scrambled(image, seeded(seed)).numpy()
    before, after = np.fft.fft2(image.numpy().astype(float)), np.fft.fft2(made)
    np.testing.assert_allclose(np.abs(after), np.abs(before), atol=1e-6 * height * width)
    np.testing.assert_allclose(made.mean((1, 2)), image.double().mean((1, 2)).numpy(), rtol=1e-9)
    turned = np.angle(after * before.conj())
    strong = (np.abs(before) > 1).all(axis=0)  # the turn is the same in all three channels
    np.testing.assert_allclose(
        np.exp(1j * turned[0])[strong], np.exp(1j * turned[2])[strong], atol=1e-5
    )
    clipped = np.clip(np.round(made), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(phase(image, image, seeded(seed)).numpy(), clipped)


@pytest.mark.parametrize(
    ("make", "least", "most"), [(zoom, 0.15, 0.3), (crop, 0.3, 0.6), (tile, 0.12, 0.3)]
)
def test_a_part_of_the_image_is_shown(make, least, most):
    """On an image whose red runs 0..250 from left to right, the crop spans such a share of that."""
    image = torch.linspace(0, 250, 100).round().to(torch.uint8).expand(3, 80, 100)
    spans = []
    for seed in range(40):
        made = make(image, image, seeded(seed)).float()
        spans.append(float(made[0].max() - made[0].min()) / 250)
    assert min(spans) > least - 0.03
    assert max(spans) < most + 0.01
    assert max(spans) - min(spans) > 0.5 * (most - least)


@given(height=st.integers(8, 32), width=st.integers(8, 32), seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_tile_repeats_one_part_and_its_mirror_images(height, width, seed):
    """Every pixel is that of the part, found by folding its place back into it."""
    made = tile(noise(height, width), noise(3, 3), seeded(seed))
    image = noise(height, width)
    fits = []
    for h in range(2, max(3, round(0.3 * height)) + 1):
        for w in range(2, max(3, round(0.3 * width)) + 1):
            y, x = torch.arange(height) % (2 * h), torch.arange(width) % (2 * w)
            y, x = torch.minimum(y, 2 * h - 1 - y), torch.minimum(x, 2 * w - 1 - x)
            if torch.equal(made, made[:, :h, :w][:, y][:, :, x]):
                fits.append((h, w))
    assert fits
    h, w = fits[0]
    part = made[:, :h, :w]
    places = [
        (top, left) for top in range(height - h + 1) for left in range(width - w + 1)
        if torch.equal(image[:, top : top + h, left : left + w], part)
    ]  # fmt: skip
    assert places


def test_what_a_run_of_before_names_is_still_there_and_in_its_place():
    """Calibrations store the places, documents and orders the names."""
    assert [kind.name for kind in KINDS[:4]] == ["zoom", "jigsaw", "phase", "mix"]
    assert [kind.name for kind in KINDS] == [kind.name for kind in SURROGATE_KINDS]
    assert [kind.name for kind in SURROGATES] == ["zoom", "jigsaw", "tile", "crop"]


def test_mix_is_a_blend_of_two():
    black, white = torch.zeros(3, 20, 30, dtype=torch.uint8), torch.full((3, 9, 9), 255).byte()
    shares = {int(mix(black, white, seeded(seed)).unique()) / 255 for seed in range(40)}
    assert min(shares) > 0.39
    assert max(shares) < 0.61
    assert len(shares) > 10


def test_a_stream_of_surrogates_passes_over_what_cannot_be_decoded(images):
    made = list(surrogates_of(images, SURROGATES, seed=5))
    assert {(name, kind) for name, kind, _ in made} == {
        (f"{at}.png", kind.name) for at in range(6) for kind in SURROGATES
    }
    assert len(made) == 24
    for name, _, surrogate in made:
        assert surrogate.shape[1] == 20 + int(name[0])
    again = list(surrogates_of(images, SURROGATES, seed=5))
    assert all(torch.equal(a[2], b[2]) for a, b in zip(made, again, strict=True))
    other = {each[:2]: each[2] for each in surrogates_of(images, SURROGATES, seed=6)}
    assert not any(torch.equal(other[name, kind], surrogate) for name, kind, surrogate in made)


def test_each_picture_is_mixed_with_another_one(images):
    mixed = {name: each for name, _, each in surrogates_of(images, KINDS[3:4], seed=0)}
    for image in images.without(["cut.png"]).images:
        assert not torch.equal(mixed[image.name], decode(image.path))


def test_paths_do_as_well_and_one_more_picture_changes_no_other(images):
    kinds = SURROGATES[:3]
    paths = [image.path for image in images.images]
    few = {each[:2]: each[2] for each in surrogates_of(paths[:3], kinds, seed=1)}
    all_ = {each[:2]: each[2] for each in surrogates_of(paths, kinds, seed=1)}
    assert len(few) == 9
    assert all(torch.equal(all_[key], surrogate) for key, surrogate in few.items())


def test_written_surrogates_are_a_set_labelled_by_kind(images, tmp_path):
    written = write_surrogates(images, tmp_path / "into", SURROGATES, seed=5)
    assert sorted({image.label for image in written.images}) == ["crop", "jigsaw", "tile", "zoom"]
    assert len(written) == 24
    by_kind = {(name[0], kind): made for name, kind, made in surrogates_of(images, SURROGATES, 5)}
    for image in written.images:
        assert torch.equal(decode(image.path), by_kind[Path(image.name).name[0], image.label])
    again = write_surrogates(images, tmp_path / "again", SURROGATES, seed=5)
    assert again.sha256 == written.sha256
    with pytest.raises(ImageError, match="already holds"):
        write_surrogates(images, tmp_path / "into", SURROGATES, seed=5)


def test_too_few_pictures_leave_nothing_behind(images, tmp_path):
    one = images.without(image.name for image in images.images[1:])
    with pytest.raises(ImageError, match="mix needs two"):
        write_surrogates(one, tmp_path / "into", KINDS)
    assert len(list(surrogates_of(one, SURROGATES[:3]))) == 3
    cut = images.without(f"{at}.png" for at in range(6))
    with pytest.raises(ImageError, match="No image of mine"):
        write_surrogates(cut, tmp_path / "into")
    assert {path.name for path in tmp_path.iterdir()} == {"images"}


def test_jigsaw_of_a_tiny_picture_is_refused():
    with pytest.raises(ImageError, match="under 8 pixels"):
        jigsaw(noise(3, 3), noise(3, 3), seeded(0))


def test_each_picture_is_cut_in_its_own_way(tmp_path):
    """Two images that differ in one corner differ everywhere once their patches are shuffled."""
    pixels = noise(48, 48).permute(1, 2, 0).numpy()
    for name, corner in (("a", 0), ("b", 255)):
        pixels[0, 0] = corner
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    (_, _, a), (_, _, b) = surrogates_of(paths, [SURROGATES[1]], seed=0)
    assert (a != b).float().mean() > 0.5
