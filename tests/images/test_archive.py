"""Hostile, damaged and ordinary ZIPs: what is refused leaves nothing, inside or outside."""

import io
import os
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from gsc_core.errors import ImageError
from gsc_core.images import Limits, read_archive, read_images, unpack
from gsc_core.images.archive import _copy


def png(value=0, side=16):
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (value, 10, 20)).save(buffer, "PNG")
    return buffer.getvalue()


def write_zip(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def files_below(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def place(tmp_path):
    """A folder three levels down, so that an escape lands where the test can see it."""
    place = tmp_path / "a" / "b"
    place.mkdir(parents=True)
    return place


def refused(place, zip_path, match, limits=None):
    """Unpacking raises one sentence, and nothing but the archive is left anywhere."""
    top = place.parents[1]
    before = sorted(top.rglob("*"))
    with pytest.raises(ImageError, match=match) as caught:
        unpack(zip_path, place / "into", limits or Limits())
    assert sorted(top.rglob("*")) == before
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_pictures_and_tables_come_out_and_nothing_else(place):
    members = [
        ("cat/1.png", png(1)),
        ("dog/2.JPG", png(2)),
        ("labels.csv", b"file,label\n"),
        ("__MACOSX/cat/._1.png", b"x"),
        (".hidden/3.png", png(3)),
        ("Thumbs.db", b"x"),
        ("inner.zip", b"PK"),
        ("readme.txt", b"x"),
        ("run.sh", b"x"),
    ]
    into = unpack(write_zip(place / "ok.zip", members), place / "into")
    assert files_below(into) == {"cat/1.png", "dog/2.JPG", "labels.csv"}
    assert (into / "cat/1.png").read_bytes() == png(1)
    assert {path.name for path in place.iterdir()} == {"ok.zip", "into"}


@pytest.mark.parametrize(
    "name",
    [
        "../escaped.png",
        "a/../../escaped.png",
        "/escaped.png",
        "..\\escaped.png",
        "C:/escaped.png",
        "c:escaped.png",
        "a\\b.png",
        "\\\\server\\share\\x.png",
        "a/..",
    ],
)
def test_names_that_lead_outside(place, name):
    data = write_zip(place / "x.zip", [("fine.png", png()), ("Z" * len(name), png())]).read_bytes()
    # zipfile itself mends some names while writing, so the name is put into the bytes.
    (place / "x.zip").write_bytes(data.replace(b"Z" * len(name), name.encode()))
    refused(place, place / "x.zip", "outside its folder")


def test_a_name_with_a_nul(place):
    data = write_zip(place / "x.zip", [("aaaZ.png", png())]).read_bytes()
    (place / "x.zip").write_bytes(data.replace(b"aaaZ.png", b"aaa\0.png"))
    refused(place, place / "x.zip", "outside its folder")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFBLK])
def test_links_and_devices(place, kind):
    info = zipfile.ZipInfo("link.png")
    info.external_attr = (kind | 0o777) << 16
    refused(place, write_zip(place / "x.zip", [(info, "/etc/passwd")]), "link or device")


def test_encrypted(place):
    data = bytearray(write_zip(place / "x.zip", [("a.png", png())]).read_bytes())
    at = data.index(b"PK\x01\x02") + 8
    data[at] |= 1
    (place / "x.zip").write_bytes(data)
    refused(place, place / "x.zip", "encrypted")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("second", ["a.png", "./a.png", "a.png/b.png"])
def test_one_name_twice(place, second):
    zip_path = write_zip(place / "x.zip", [("a.png", png(1)), (second, png(2))])
    refused(place, zip_path, "twice")


def test_too_many_members(place):
    zip_path = write_zip(place / "x.zip", [(f"{i}.png", b"") for i in range(11)])
    refused(place, zip_path, "more than 10 files", Limits(members=10))


def test_a_directory_that_would_fill_memory_is_not_read(place):
    """The directory's own size is checked before zipfile makes an object of each of its entries."""
    members = [(f"{'n' * 200}{i}.txt", b"") for i in range(6_000)]
    refused(place, write_zip(place / "x.zip", members), "far too many", Limits(members=10))


def test_too_many_bytes_in_all(place):
    zip_path = write_zip(place / "x.zip", [(f"{i}.bmp", os.urandom(1000)) for i in range(11)])
    refused(place, zip_path, "more than is allowed", Limits(total_bytes=10_000))


def test_a_bomb_by_its_ratio(place):
    zip_path = write_zip(place / "x.zip", [("bomb.bmp", bytes(20_000_000))])
    refused(place, zip_path, "200 times")


def test_a_directory_that_lies_about_sizes(place):
    """The directory says 100 bytes for what unpacks to 5 MB."""
    data = bytearray(write_zip(place / "x.zip", [("bomb.bmp", bytes(5_000_000))]).read_bytes())
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = struct.pack("<I", 100)
    (place / "x.zip").write_bytes(data)
    refused(place, place / "x.zip", "damaged", Limits(total_bytes=1_000))


def test_bytes_are_counted_while_they_are_written():
    """Zipfile stops at the size a directory states; this holds should it ever not."""
    with pytest.raises(ImageError, match="more than is allowed"):
        _copy(io.BytesIO(bytes(11)), io.BytesIO(), 10, "x.zip")


def test_an_unusual_compression(place):
    zip_path = write_zip(place / "x.zip", [("a.png", png())], zipfile.ZIP_LZMA)
    refused(place, zip_path, "unusual")


def test_a_damaged_member_after_good_ones(place):
    members = [("a.png", png(1)), ("b.png", os.urandom(500)), ("c.png", png(3))]
    data = bytearray(write_zip(place / "x.zip", members, zipfile.ZIP_STORED).read_bytes())
    data[data.index(b"b.png") + 100] ^= 0xFF
    (place / "x.zip").write_bytes(data)
    refused(place, place / "x.zip", "damaged")


@pytest.mark.parametrize("cut", [0.3, 0.7, 0.99])
def test_a_cut_off_archive(place, cut):
    data = write_zip(place / "x.zip", [("a.png", os.urandom(5_000))]).read_bytes()
    (place / "x.zip").write_bytes(data[: int(len(data) * cut)])
    refused(place, place / "x.zip", "not a ZIP|damaged")


def test_random_damage_never_escapes_the_error_family(place):
    """Each unpacking either gives the folder or raises ImageError; there is no third outcome."""
    whole = write_zip(place / "x.zip", [("a.png", png(1)), ("b/c.png", png(2))]).read_bytes()
    random = np.random.default_rng(0)
    refusals = 0
    for _ in range(200):
        data = bytearray(whole)
        for at in random.integers(len(data), size=4):
            data[at] = random.integers(256)
        (place / "x.zip").write_bytes(data)
        try:
            unpack(place / "x.zip", place / "into")
        except ImageError:
            refusals += 1
        shutil.rmtree(place / "into", ignore_errors=True)
        assert {path.name for path in place.iterdir()} == {"x.zip"}
        assert {path.name for path in place.parent.iterdir()} == {"b"}
    assert refusals > 100


def test_what_is_no_zip(place):
    (place / "text.zip").write_text("hello")
    (place / "seven.zip").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(100))
    (place / "empty.zip").write_bytes(b"")
    with tarfile.open(place / "tar.zip", "w") as tar:
        tar.add(place / "text.zip", "a.png")
    for name in ("text", "seven", "empty", "tar"):
        refused(place, place / f"{name}.zip", f"^{name}.zip is not a ZIP archive: ")
    refused(place, place / "nowhere.zip", "cannot be opened")
    refused(place, place, "cannot be opened")


def test_too_long_names_are_left_out_and_reported(place):
    long = "n" * 300 + ".png"
    zip_path = write_zip(place / "x.zip", [("a.png", png(1)), (long, png(2))])
    images = read_archive(zip_path, "mine", place / "into")
    assert [image.name for image in images.images] == ["a.png"]
    assert images.broken[0].name.startswith("nnnn")
    assert "too long" in images.broken[0].reason


def test_a_full_folder_is_not_touched(place):
    (place / "into").mkdir()
    (place / "into" / "mine.txt").write_text("keep")
    refused(place, write_zip(place / "x.zip", [("a.png", png())]), "already holds")
    assert (place / "into" / "mine.txt").read_text() == "keep"


def test_an_empty_folder_may_be_given(place):
    (place / "into").mkdir()
    unpack(write_zip(place / "x.zip", [("a.png", png())]), place / "into")
    assert files_below(place / "into") == {"a.png"}


def test_an_archive_without_pictures_names_what_it_holds(place):
    zip_path = write_zip(place / "x.zip", [("a.txt", b"x"), ("b.txt", b"y"), ("c.docx", b"z")])
    with pytest.raises(ImageError, match=r"no image in x\.zip, only 2 × \.txt, 1 × \.docx"):
        read_archive(zip_path, "mine", place / "into")
    assert not (place / "into").exists()


def test_an_archive_of_broken_pictures_leaves_nothing(place):
    zip_path = write_zip(place / "x.zip", [("a.png", b"x")])
    with pytest.raises(ImageError, match=r"The one image .* a\.png is not an image"):
        read_images(zip_path, "mine", place / "into")
    assert {path.name for path in place.iterdir()} == {"x.zip"}


def test_more_than_the_disk_holds_is_refused_before_unpacking(place):
    """The directory announces a thousand files of 4 GB, which no limit of ours forbids here."""
    members = [(f"{i}.bmp", b"x") for i in range(1_000)]
    data = bytearray(write_zip(place / "x.zip", members).read_bytes())
    at = data.index(b"PK\x01\x02")
    while at >= 0:
        data[at + 24 : at + 28] = struct.pack("<I", 0xFFFF_FF00)
        at = data.find(b"PK\x01\x02", at + 4)
    (place / "x.zip").write_bytes(data)
    limits = Limits(total_bytes=10**15, ratio=1e12)
    refused(place, place / "x.zip", "disk is full", limits)


FILL_A_REAL_DISK = """
set -e
mount -t tmpfs -o size=2m none "$1/disk"
head -c 1500000 /dev/zero > "$1/disk/other"
"$2" - "$1" <<'PYTHON'
import shutil, sys
from pathlib import Path
from gsc_core.errors import ImageError
from gsc_core.images import unpack
place = Path(sys.argv[1])
shutil.disk_usage = lambda folder: type("usage", (), {"free": 10**12})  # as before it filled up
try:
    unpack(place / "x.zip", place / "disk" / "into")
except ImageError as error:
    print(error, sorted(path.name for path in (place / "disk").iterdir()))
PYTHON
"""


@pytest.mark.slow
def test_a_disk_that_fills_up_while_unpacking(place):
    """On a real file system of 2 MB, in a mount namespace of its own."""
    allowed = (
        shutil.which("unshare")
        and not subprocess.run(
            ["unshare", "-rm", "mount", "-t", "tmpfs", "none", place],
            capture_output=True,
            check=False,
        ).returncode
    )
    if not allowed:
        pytest.skip("no small disk to fill: mounting in a namespace is not allowed here")
    (place / "disk").mkdir()
    write_zip(place / "x.zip", [(f"{i}.bmp", os.urandom(300_000)) for i in range(10)])
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", FILL_A_REAL_DISK, "sh", place, sys.executable],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "The disk is full" in done.stdout, done.stderr
    assert done.stdout.rstrip().endswith("['other']")


def test_folders_within_folders_are_bounded(place):
    """Each takes room and an inode, of which a ZIP's directory tells nothing."""
    deep = "d/" * 400 + "b.png"
    zip_path = write_zip(place / "x.zip", [("a.png", png(1)), (deep, png(2))])
    images = read_archive(zip_path, "x", place / "into")
    assert [image.name for image in images.images] == ["a.png"]
    assert len(images.broken) == 1
    assert not (place / "into" / "d").exists()
