"""What is noticed about image sets: planted copies and images, and neighbours by brute force."""

import io

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image, ImageEnhance, ImageFilter
from scipy.fft import dctn

from gsc_core.audit.sets import copies
from gsc_core.audit.sets.compare import compare
from gsc_core.audit.sets.neighbours import nearest
from gsc_core.classifier import Preprocessing
from gsc_core.errors import ImageError
from gsc_core.images import read_folder
from gsc_core.images.shapes import mirrored, shapes
from gsc_core.scoring.traces import Traces

PREPARED = Preprocessing(resize=64, crop=64)


def photo(seed: int) -> Image.Image:
    """Something with shapes: blurred noise in colour."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC)


def pixels(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1)


def encoded_again(image: Image.Image, quality: int = 40) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


# --- neighbours ------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3])
def test_neighbours_are_those_of_the_whole_product(count, monkeypatch):
    monkeypatch.setattr("gsc_core.audit.sets.neighbours._BLOCK", 50)  # several blocks
    generator = torch.Generator().manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(37, 6, generator=generator), dim=1)
    bank = torch.nn.functional.normalize(torch.randn(11, 6, generator=generator), dim=1)
    order = (rows @ bank.T).sort(dim=1, descending=True)
    found = nearest(rows, bank, count)
    assert torch.equal(found.index, order.indices[:, :count])
    torch.testing.assert_close(found.cosine, order.values[:, :count])
    among = nearest(rows, rows, count, among_themselves=True)
    product = (rows @ rows.T).fill_diagonal_(-2)
    torch.testing.assert_close(among.cosine, product.topk(count).values)
    assert len(nearest(rows[:0], bank).index) == 0


# --- the shapes ------------------------------------------------------------------------------


def by_scipy(image: torch.Tensor, frequencies: int) -> np.ndarray:
    """The weighted cosine transform by SciPy, of the whole image."""
    whole = dctn(image.double().mean(dim=0).numpy(), norm="ortho")[:frequencies, :frequencies]
    number = np.arange(frequencies)
    # SciPy's first waves have another length
    scale = np.where(number == 0, np.sqrt(2), 1)
    weighed = whole * scale[:, None] * scale * np.hypot(number[:, None], number)
    weighed = weighed.ravel()[1:]
    return weighed / np.linalg.norm(weighed)


@pytest.mark.parametrize("frequencies", [8, 16])
def test_shapes_are_the_lowest_frequencies(frequencies):
    image = pixels(photo(3).resize((80, 56)))
    found = shapes(image[None], frequencies)[0].numpy()
    np.testing.assert_allclose(found, by_scipy(image, frequencies), atol=1e-5)
    of_mirror = mirrored(shapes(image[None], frequencies))[0].numpy()
    np.testing.assert_allclose(of_mirror, by_scipy(image.flip(-1), frequencies), atol=1e-5)
    assert not shapes(torch.full((1, 3, 20, 30), 7.0)).any()


def test_copies_have_the_same_shapes_and_others_do_not():
    for seed in range(12):
        one = photo(seed)
        of_one = shapes(pixels(one)[None])[0]
        for copy in (
            encoded_again(one),
            one.resize((48, 48)),
            one.filter(ImageFilter.GaussianBlur(1)),
            ImageEnhance.Brightness(one).enhance(0.7),
        ):
            assert float(of_one @ shapes(pixels(copy)[None])[0]) > copies.COARSELY
        assert abs(float(of_one @ shapes(pixels(photo(seed + 100))[None])[0])) < 0.7


# --- sets against each other -----------------------------------------------------------------


@pytest.fixture(scope="module")
def noticed(tmp_path_factory):
    """Three sets of images whose "features" are where they were taken, with planted copies.

    Of `id`, image 0 is calibration image 0 encoded again; of `other`, image 0 is a mirrored one of
    `id`, image 1 familiar by its feature, scores and confidence, image 2 by its feature alone.
    """
    folder, rng = tmp_path_factory.mktemp("sets"), np.random.default_rng(0)
    names = {"calibration": 60, "id": 50, "other": 40}
    images, features = {}, {}
    for at, (name, n) in enumerate(names.items()):
        images[name] = [photo(1000 * at + i) for i in range(n)]
        features[name] = rng.normal(0, 1, (n, 8))
        features[name][:, 0] += -1 if name == "other" else 1
    images["id"][0] = encoded_again(images["calibration"][0], 60)
    images["other"][0] = images["id"][7].transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    near = (("id", 0, "calibration", 0), ("other", 0, "id", 7), ("other", 2, "id", 9))
    for name, i, of, j in near:
        features[name][i] = features[of][j] + rng.normal(0, 0.01, 8)
    features["other"][1] = features["calibration"].mean(axis=0)
    scores = {name: rng.normal(0, 1, n) for name, n in names.items()}
    scores["other"] += 4
    scores["other"][1] = -1.0
    confidence = {name: rng.uniform(0.5, 1, n) for name, n in names.items()}
    confidence["other"] = np.full(40, 0.2)
    confidence["other"][1] = 0.97
    tables = []
    for name, n in names.items():
        (folder / name).mkdir()
        for i, image in enumerate(images[name]):
            image.convert("RGB").save(folder / name / f"{i:02}.png")
        label = np.arange(n) % 2 if name != "other" else np.full(n, -1)
        own = torch.full((n,), torch.nan) if name == "other" else torch.from_numpy(confidence[name])
        of_images = shapes(torch.stack([pixels(image.resize((64, 64))) for image in images[name]]))
        sure = torch.from_numpy(confidence[name]).float()
        small = torch.from_numpy(features[name]).half()
        traces = Traces(small, of_images.half(), sure, own.float())
        predicted = label.clip(0)
        if name == "id":
            predicted[5] = 1 - predicted[5]
            traces.confidence[5], traces.self_confidence[5] = 0.99, 0.005
        tables.append(
            pa.table(
                {
                    "set": [name] * n,
                    "file": [f"{i:02}.png" for i in range(n)],
                    "label": pa.array(label, pa.int32()),
                    "predicted": pa.array(predicted, pa.int32()),
                    "confidence": pa.array(confidence[name], pa.float32()),
                    "one": pa.array(scores[name], pa.float32()),
                    **traces.table_columns(),
                }
            )
        )
    sets = {name: read_folder(folder / name, name) for name in names}
    steps: list[str] = []
    checks = compare(
        pa.concat_tables(tables), sets, ["one"], PREPARED, torch.device("cpu"),
        lambda phase, done, total: steps.append(phase),
    )  # fmt: skip
    assert set(steps) == {"comparing the image sets"}
    return checks


def test_planted_copies_are_all_that_is_called_a_copy(noticed):
    pairs = {
        (one.set, one.of): [(pair.row, pair.of, pair.mirrored) for pair in one.pairs]
        for one in noticed.copies
    }
    assert pairs == {("id", "calibration"): [(60, 0, False)], ("other", "id"): [(110, 67, True)]}
    (leak, _) = noticed.copies
    assert (leak.images, leak.tested) == (1, 50) and leak.looked_at == leak.near >= 1


def test_a_familiar_image_in_an_unfamiliar_set_is_noticed_alone(noticed):
    (looking,) = noticed.familiar_looking
    assert (looking.set, looking.images, looking.tested, looking.rows) == ("other", 1, 40, (111,))


def test_a_doubtful_label_is_noticed_alone(noticed):
    (doubt,) = noticed.labels.doubts
    assert (doubt.row, doubt.label, doubt.predicted) == (65, 1, 0)
    assert (noticed.labels.images, noticed.labels.labelled) == (1, 110)


def some(name: str, images: list[Image.Image], first: int) -> copies.Some:
    rows = np.arange(first, first + len(images))
    return copies.Some(name, rows, shapes(torch.stack(list(map(pixels, images)))))


def test_what_is_too_much_to_look_at_is_said(monkeypatch):
    monkeypatch.setattr(copies, "MAX_LOOKED_AT", 1)
    images = [photo(seed) for seed in range(4)]
    looked: list[int] = []

    def look(row: int) -> torch.Tensor:
        looked.append(row)
        return pixels(images[row % 4])

    one, other = some("a", images, 0), some("b", images, 4)
    found = copies.near_copies(one, other, copies.FINELY, copies.Likeness(look))
    assert (found.near, found.looked_at, found.images) == (4, 1, 1)
    assert len(looked) == 2


def test_where_a_set_looks_alike_by_nature_copies_must_be_more_alike_than_that():
    """The same sign in front of other walls, thirty times."""

    def view(seed: int) -> Image.Image:
        return Image.blend(photo(0), photo(seed), 0.25)

    images = [view(seed) for seed in range(1, 31)]
    calibration = some("calibration", images, 0)
    likeness = copies.Likeness(lambda row: pixels(images[row % 30]))
    alike = copies.limit_of(calibration, likeness, lambda: None)
    assert copies.FINELY < alike <= copies.SURELY
    others = [view(seed) for seed in range(31, 61)]
    others[3] = encoded_again(images[5], 60)
    look = copies.Likeness(lambda row: pixels((images + others)[row]))
    found = copies.near_copies(some("id", others, 30), calibration, alike, look)
    assert found.near > 3 and [(pair.row, pair.of) for pair in found.pairs] == [(33, 5)]
    unlike = some("calibration", [photo(seed) for seed in range(9)], 0)
    assert copies.limit_of(unlike, likeness, lambda: None) == copies.FINELY


def test_an_image_that_is_gone_is_no_copy():
    def gone(row: int) -> torch.Tensor:
        raise ImageError("It is gone.")

    assert copies.Likeness(gone)(0, 1) == (0.0, False)


def test_of_large_sets_a_random_part_is_compared(monkeypatch) -> None:
    monkeypatch.setattr(copies, "MAX_PAIRS", 12)
    units = torch.nn.functional.normalize(torch.eye(10, 63), dim=1)
    some, of = (copies.Some(name, np.arange(10) + at, units) for name, at in (("id", 0), ("x", 10)))
    compared = copies.near_copies(some, of, 0.5, lambda row, other: (1.0, False))
    assert not compared.whole
    assert compared.tested == 10
    assert {pair.row + 10 for pair in compared.pairs} == {pair.of for pair in compared.pairs}
    assert len(compared.pairs) <= 3
    monkeypatch.setattr(copies, "MAX_PAIRS", 100)
    assert copies.near_copies(some, of, 0.5, lambda row, other: (1.0, False)).images == 10


@pytest.mark.parametrize(("n", "m", "left"), [(3, 1000, (3, 666)), (1000, 3, (666, 3))])
def test_of_the_smaller_set_all_is_compared(monkeypatch, n: int, m: int, left: tuple) -> None:
    monkeypatch.setattr(copies, "MAX_PAIRS", 2000)
    shapes_of = torch.zeros(1000, 63)
    sets = (copies.Some("a", np.arange(size), shapes_of[:size]) for size in (n, m))
    assert tuple(len(one.rows) for one in copies._to_compare(*sets)) == left
