"""Images of every kind, written with known pixels, and what must not be taken for one."""

import io
import os
import struct

import numpy as np
import pytest
import torch
import torchvision
from encoded_images import encoded, png_announcing
from PIL import Image, ImageOps
from places import DATA

from gsc_core.errors import ImageError
from gsc_core.images import Header, header
from gsc_core.images.decode import decode, decode_bytes

PHOTOS = DATA


def picture(height=40, width=64):
    """A smooth colour image without symmetry, so that a turn or a swapped channel shows."""
    y, x = np.mgrid[0:height, 0:width]
    channels = (255 * x / (width - 1), 255 * y / (height - 1), 255 * x * y / (width * height))
    return np.stack(channels, axis=2).astype(np.uint8)


def pixels(data):
    decoded = decode_bytes(data, "it")
    assert decoded.dtype == torch.uint8
    assert decoded.shape[0] == 3
    assert decoded.is_contiguous() or decoded[None].is_contiguous(memory_format=torch.channels_last)
    return decoded.permute(1, 2, 0).numpy()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True, "exact": True}),
    ],
)
def test_lossless_formats_keep_every_pixel(kind, options):
    data = encoded(Image.fromarray(picture()), kind, **options)
    np.testing.assert_array_equal(pixels(data), picture())
    assert header(data, "it") == Header(kind, "RGB", 64, 40)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "HEIF"])
def test_lossy_formats_stay_near(kind):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    got = pixels(encoded(Image.fromarray(picture()), kind, quality=95))
    assert np.abs(got.astype(int) - picture()).mean() < 3


def test_a_file_is_decoded_whatever_its_ending_says(tmp_path):
    path = tmp_path / "really-a-png.jpg"
    path.write_bytes(encoded(Image.fromarray(picture()), "PNG"))
    np.testing.assert_array_equal(decode(path).permute(1, 2, 0).numpy(), picture())


def test_jpeg_by_torchvision_equals_jpeg_by_pillow_on_real_photos():
    photos = sorted(PHOTOS.rglob("*.jpg"))[::40]
    if not photos:
        pytest.skip(f"no real photos in {PHOTOS}")
    for path in photos:
        with Image.open(path) as image:
            expected = np.asarray(image.convert("RGB"))
        np.testing.assert_array_equal(decode(path).permute(1, 2, 0).numpy(), expected, str(path))


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 0}, {"subsampling": 2}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_variants_equal_pillow(options, mode):
    data = encoded(Image.fromarray(picture(37, 53)).convert(mode), "JPEG", **options)
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(pixels(data), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if kind == "JPEG" else {}
    options |= {"lossless": True} if kind == "WEBP" else {}
    data = encoded(Image.fromarray(picture()), kind, exif=exif, **options)
    expected = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90,
    }[orientation](picture())
    got = pixels(data)
    assert got.shape == expected.shape
    assert np.abs(got.astype(int) - expected).mean() < 3


def test_heic_is_not_turned_by_exif():
    """In HEIC the boxes irot and imir count, EXIF is but a remark (ISO 23008-12)."""
    pytest.importorskip("pillow_heif").register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = 6
    got = pixels(encoded(Image.fromarray(picture()), "HEIF", exif=exif, quality=95))
    assert np.abs(got.astype(int) - picture()).mean() < 3


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_does_not_spoil_the_picture():
    data = encoded(Image.fromarray(picture()), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01")
    assert pixels(data).shape == (40, 64, 3)


def test_16_bit_grey_keeps_order_and_range():
    ramp = np.linspace(0, 65535, 64 * 16).round().astype(np.uint16).reshape(16, 64)
    for kind in ("PNG", "TIFF"):
        got = pixels(encoded(Image.fromarray(ramp), kind))
        assert (got == got[:, :, :1]).all()
        grey = got[:, :, 0].ravel()
        assert (np.diff(grey.astype(int)) >= 0).all()
        assert (grey[0], grey[-1]) == (0, 255)
        np.testing.assert_allclose(grey, ramp.ravel() / 257, atol=0.51)
        assert len(np.unique(grey)) == 256


def test_big_endian_16_bit_tiff():
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    tags = [(256, 16), (257, 16), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, 16)]
    tags.append((279, 512))
    entries = b"".join(
        struct.pack(">HHI", tag, 4, 1) + struct.pack(">I", value) for tag, value in tags
    )
    directory = struct.pack(">H", len(tags)) + entries + bytes(4)
    data = b"MM\0*" + struct.pack(">I", 8 + 512) + ramp.astype(">u2").tobytes() + directory
    np.testing.assert_allclose(pixels(data)[:, :, 0], ramp / 257, atol=0.51)


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        (np.linspace(0.25, 0.75, 256, dtype=np.float32), 0.25 * 255, 0.75 * 255),
        (np.linspace(-3, 700, 256, dtype=np.float32), 0, 255),
        (np.linspace(100_000, 900_000, 256).astype(np.int32), 0, 255),
        (np.linspace(0, 25_700, 256).astype(np.int32), 0, 100),
        (np.full(256, 7.0, dtype=np.float32), 0, 0),
    ],
)
def test_float_and_32_bit_tiff(values, low, high):
    got = pixels(encoded(Image.fromarray(values.reshape(16, 16)), "TIFF"))[:, :, 0].ravel()
    assert abs(int(got[0]) - low) <= 1
    assert abs(int(got[-1]) - high) <= 1
    assert (np.diff(got.astype(int)) >= 0).all()


def test_float_tiff_with_nan_is_refused():
    values = np.full((16, 16), np.nan, dtype=np.float32)
    with pytest.raises(ImageError, match="not finite"):
        decode_bytes(encoded(Image.fromarray(values), "TIFF"), "x.tif")


def test_cmyk_tiff_and_inverted_cmyk_jpeg():
    cmyk = Image.new("CMYK", (32, 32), (255, 0, 0, 0))  # pure cyan ink
    for kind in ("JPEG", "TIFF"):
        got = pixels(encoded(cmyk, kind)).reshape(-1, 3).mean(axis=0)
        np.testing.assert_allclose(got, [0, 255, 255], atol=6)
    stored = torchvision.io.decode_jpeg(  # shows that the ink 255 is indeed stored as 0
        torch.frombuffer(bytearray(encoded(cmyk, "JPEG")), dtype=torch.uint8)
    )
    assert stored.shape[0] == 4
    assert stored[0].max() < 6


def test_transparency_is_laid_on_white():
    rgba = np.zeros((16, 16, 4), dtype=np.uint8)
    rgba[:, :, 0] = 200
    rgba[:8, :, 3] = 255
    rgba[8:12, :, 3] = 128
    got = pixels(encoded(Image.fromarray(rgba), "PNG"))
    np.testing.assert_array_equal(got[0, 0], [200, 0, 0])
    np.testing.assert_allclose(got[9, 0], [227, 127, 127], atol=1)  # 255 + (200 − 255) · 128/255
    np.testing.assert_array_equal(got[15, 0], [255, 255, 255])
    grey = encoded(Image.fromarray(rgba).convert("LA"), "PNG")
    np.testing.assert_array_equal(pixels(grey)[15, 0], [255, 255, 255])


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palette_with_a_transparent_colour(kind):
    image = Image.fromarray(np.repeat(np.eye(16, dtype=np.uint8), 2, axis=1), mode="P")
    image.putpalette([10, 20, 30, 200, 100, 50] + [0] * 750)
    got = pixels(encoded(image, kind, transparency=0))
    np.testing.assert_array_equal(got[0, 0], [200, 100, 50])
    np.testing.assert_array_equal(got[0, 5], [255, 255, 255])


def test_one_bit_and_grey():
    chess = np.indices((16, 16)).sum(axis=0) % 2
    got = pixels(encoded(Image.fromarray((chess * 255).astype(np.uint8)).convert("1"), "PNG"))
    np.testing.assert_array_equal(got, np.repeat(chess[:, :, None] * 255, 3, axis=2))
    grey = picture()[:, :, 0]
    np.testing.assert_array_equal(pixels(encoded(Image.fromarray(grey), "PNG"))[:, :, 2], grey)


def test_an_animation_gives_its_first_frame():
    red, blue = Image.new("RGB", (20, 10), (255, 0, 0)), Image.new("RGB", (20, 10), (0, 0, 255))
    for kind in ("GIF", "WEBP", "PNG"):
        data = encoded(red, kind, save_all=True, append_images=[blue], duration=100)
        got = pixels(data)
        assert got.shape == (10, 20, 3)
        np.testing.assert_allclose(got[5, 10], [255, 0, 0], atol=3)


@pytest.mark.parametrize("side", [9_000, 12_000, 50_000, 2**31 - 1])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_tiny_file_cannot_ask_for_gigabytes(side):
    data = png_announcing(side, side)
    assert len(data) < 70
    for read in (header, decode_bytes):
        with pytest.raises(ImageError, match=r"bomb\.png declares .*pixels"):
            read(data, "bomb.png")


def test_too_small_a_picture_is_refused():
    with pytest.raises(ImageError, match="7 pixels"):
        header(encoded(Image.new("RGB", (20, 7)), "PNG"), "thin.png")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_cut_off_file_is_named(kind, share, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = encoded(Image.fromarray(noise), kind)
    path = tmp_path / "half.pic"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ImageError, match=r"^half\.pic is .*\.$"):
        decode(path)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's remarks on nonsense TIFF tags
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_damaged_bytes_give_a_picture_or_an_image_error(kind):
    random = np.random.default_rng(1)
    whole = bytearray(encoded(Image.fromarray(picture()), kind))
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for at in random.integers(0, min(len(whole), 400), size=6):
            damaged[at] = random.integers(256)
        try:
            decode_bytes(bytes(damaged), "x")
        except ImageError:
            refused += 1
    assert refused > 0


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello, I am text", "not an image"),
        (b"<!doctype html><html></html>", "not an image"),
        (b"8BPS" + bytes(1200), "not an image"),  # PSD: a format outside the allow-list
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n", "not an image"),
        (b"\xff\xd8\xff\xe0", "damaged|not an image"),
    ],
)
def test_what_is_no_picture(data, reason):
    for read in (header, decode_bytes):
        with pytest.raises(ImageError, match=rf"^x\.jpg .*({reason})"):
            read(data, "x.jpg")


def test_files_that_cannot_be_opened(tmp_path):
    with pytest.raises(ImageError, match=r"nowhere\.png"):
        decode(tmp_path / "nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")  # opening it for reading would wait without end
    with pytest.raises(ImageError, match=r"pipe\.png is not a file"):
        decode(tmp_path / "pipe.png")


def test_unturned_and_turned_sizes_agree_with_pillow():
    exif = Image.Exif()
    exif[0x0112] = 8
    data = encoded(Image.fromarray(picture()), "JPEG", exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        turned = ImageOps.exif_transpose(image)
        np.testing.assert_array_equal(pixels(data), np.asarray(turned))
    assert (header(data, "x").width, header(data, "x").height) == (64, 40)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"P6 8 8 255\n" + bytes([200, 100, 50] * 64), [200, 100, 50]),
        (b"P5 8 8 255\n" + bytes([90] * 64), [90, 90, 90]),
        (b"P5 8 8 65535\n" + bytes([100, 100] * 64), [100, 100, 100]),
        (b"P4 8 8\n" + bytes([0] * 8), [255, 255, 255]),
        (b"P3 8 8 255\n" + b"1 2 3 " * 64, [1, 2, 3]),
    ],
)
def test_portable_pixmaps(data, expected):
    pixels = decode_bytes(data, "x.ppm")
    assert pixels.shape == (3, 8, 8)
    assert (pixels == torch.tensor(expected, dtype=torch.uint8)[:, None, None]).all()
