"""Sets that are listed: manifests, tar shards, Parquet tables and prefixes, honest and hostile."""

import csv
import io
import os
import tarfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from object_store import s3_server
from PIL import Image
from pyarrow.fs import AzureFileSystem

from gsc_core.errors import ImageError
from gsc_core.images import ImageSet, read_folder, read_images
from gsc_core.images.decode import decode
from gsc_core.images.sources.shards import images_of_shard
from gsc_core.images.sources.stores import _azure, reading
from gsc_core.images.sources.uri import Reach, Uri, source_of

NAMES = ["cat/10.png", "cat/9.png", "dog/1.jpg", "dog/2.png"]  # not in the order of a sort


def encoded(value: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((20, 14), 10 * value + 20).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images in two class folders, one of them broken beyond its header."""
    folder = tmp_path_factory.mktemp("stored") / "bucket" / "photos"
    for value, name in enumerate(NAMES):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(value, "JPEG" if name.endswith("jpg") else "PNG"))
    (folder / "cat" / "broken.png").write_bytes(b"no image")
    (folder / "cat" / "copy.png").write_bytes((folder / NAMES[0]).read_bytes())
    return folder


def manifest(path: Path, rows: list[tuple[str, ...]], head: tuple[str, ...] = ("uri", "label")):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])
    return path


def rows_of(folder: Path, prefix: str = "") -> list[tuple[str, str]]:
    names = [*NAMES, "cat/broken.png", "cat/copy.png"]
    return [(f"{prefix}{name}", name.split("/")[0].upper()) for name in names]


def pixels(images: ImageSet) -> list[torch.Tensor]:
    return [decode(image.path) for image in images.images]


def same_pixels(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def expected(photos: Path) -> list[torch.Tensor]:
    return [decode(photos / name) for name in NAMES]


def tar_of(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as shard:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            shard.addfile(member, io.BytesIO(data))
    return path


def shard_members(photos: Path) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    for name in NAMES:
        stem = name.replace("/", "_").partition(".")[0]
        members[f"{stem}{Path(name).suffix}"] = (photos / name).read_bytes()
        members[f"{stem}.cls"] = name.split("/")[0].encode()
    return members


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_manifest_is_a_set_in_its_own_order(photos: Path, tmp_path: Path, kind: str) -> None:
    rows = rows_of(photos)
    path = photos / f"list.{kind}"
    if kind == "csv":
        manifest(path, rows)
    else:
        uris, labels = zip(*rows, strict=True)
        pq.write_table(pa.table({"uri": uris, "label": labels, "other": range(len(rows))}), path)
    images = read_images(path, "id", tmp_path / "unpacked")
    path.unlink()
    assert [image.name for image in images.images] == NAMES
    assert [image.label for image in images.images] == ["CAT", "CAT", "DOG", "DOG"]
    assert same_pixels(pixels(images), expected(photos))
    assert [broken.name for broken in images.broken] == ["cat/broken.png"]
    assert [(copy.name, copy.same_as) for copy in images.duplicates] == [
        ("cat/copy.png", "cat/10.png")
    ]
    assert images.label_source == f"They come from list.{kind}."


def test_a_set_has_the_same_digest_however_it_is_stored(photos: Path, tmp_path: Path) -> None:
    folder = read_folder(photos, "id")
    path = manifest(photos / "all.csv", rows_of(photos))
    assert read_images(path, "id", tmp_path).sha256 == folder.sha256
    path.unlink()
    shard = tar_of(tmp_path / "a.tar", shard_members(photos))
    assert read_images(shard, "id", tmp_path).sha256 == folder.sha256


def test_tar_shards_are_read_where_they_lie(photos: Path, tmp_path: Path) -> None:
    members = list(shard_members(photos).items())
    tar_of(tmp_path / "0.tar", dict(members[:4]))
    tar_of(tmp_path / "1.tar", dict(members[4:]))
    images = read_images(tmp_path, "id", tmp_path / "unpacked")
    assert [image.name for image in images.images] == [
        "0.tar/cat_10.png", "0.tar/cat_9.png", "1.tar/dog_1.jpg", "1.tar/dog_2.png",
    ]  # fmt: skip
    assert [image.label for image in images.images] == ["cat", "cat", "dog", "dog"]
    assert same_pixels(pixels(images), expected(photos))
    assert not (tmp_path / "unpacked").exists()


def test_parquet_with_a_column_of_images(photos: Path, tmp_path: Path) -> None:
    data = [{"bytes": (photos / name).read_bytes(), "path": name} for name in NAMES]
    table = pa.table({"image": data, "label": [3, 3, 7, 7]})
    pq.write_table(table, tmp_path / "train.parquet", row_group_size=3)
    images = read_images(tmp_path / "train.parquet", "id", tmp_path)
    assert [image.label for image in images.images] == ["3", "3", "7", "7"]
    assert same_pixels(pixels(images), expected(photos))


@pytest.fixture(scope="module")
def bucket(photos: Path) -> str:
    """The photos, a manifest of them and their shards, on an S3-compatible server."""
    tar_of(photos.parent / "shards-0.tar", shard_members(photos))
    manifest(photos.parent / "list.csv", rows_of(photos, "s3://bucket/photos/"))
    with s3_server(photos.parents[1]) as variables, pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield "s3://bucket"


@pytest.mark.slow
@pytest.mark.parametrize("source", ["photos", "list.csv", "shards-0.tar"])
def test_a_bucket_gives_the_same_pixels(
    bucket: str, photos: Path, tmp_path: Path, source: str
) -> None:
    images = read_images(source_of(f"{bucket}/{source}"), "id", tmp_path)
    assert images.sha256 == read_folder(photos, "id").sha256
    in_order = NAMES if source != "photos" else sorted(NAMES)
    assert same_pixels(pixels(images), [decode(photos / name) for name in in_order])


@pytest.mark.slow
def test_what_is_not_in_a_bucket_is_one_sentence(bucket: str, tmp_path: Path) -> None:
    for name, said in (("nothing", "does not exist"), ("gone.csv", "does not exist")):
        with pytest.raises(ImageError, match=said):
            read_images(source_of(f"{bucket}/{name}"), "id", tmp_path)
    path = manifest(tmp_path / "one.csv", [(f"{bucket}/photos/gone.png", "a")])
    with pytest.raises(
        ImageError, match=r"The one image in id cannot be read: gone\.png does not exist"
    ):
        read_images(path, "id", tmp_path)


@pytest.mark.slow
def test_wrong_credentials_are_one_sentence(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(ImageError, match="cannot be read") as refused:
        read_images(source_of(f"{bucket}/photos"), "id", tmp_path)
    assert "wrong" not in str(refused.value) and "\n" not in str(refused.value)


KEY = "a2V5IGtleSBrZXkga2V5"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"AZURE_STORAGE_ACCOUNT_NAME": "ours"}, {"account_name": "ours"}),
        (
            {"AZURE_STORAGE_ACCOUNT_NAME": "ours", "AZURE_STORAGE_ACCOUNT_KEY": KEY},
            {"account_name": "ours", "account_key": KEY},
        ),
        (
            {"AZURE_STORAGE_ACCOUNT_NAME": "ours", "AZURE_STORAGE_SAS_TOKEN": "sv=1&sig=2"},
            {"account_name": "ours", "sas_token": "sv=1&sig=2"},
        ),
        (
            {
                "AZURE_STORAGE_CONNECTION_STRING": f"AccountName=ours;AccountKey={KEY}==;"
                "BlobEndpoint=https://ours.blob.core.example/"
            },
            {
                "account_name": "ours",
                "account_key": f"{KEY}==",
                "blob_storage_authority": ".blob.core.example",
                "blob_storage_scheme": "https",
                "dfs_storage_authority": ".dfs.core.example",
                "dfs_storage_scheme": "https",
            },
        ),
        (
            {
                "AZURE_STORAGE_CONNECTION_STRING": "AccountName=ours;SharedAccessSignature=sv=1;"
                "BlobEndpoint=http://127.0.0.1:10000/ours"
            },
            {
                "account_name": "ours",
                "sas_token": "sv=1",
                "blob_storage_authority": "127.0.0.1:10000",
                "blob_storage_scheme": "http",
                "dfs_storage_authority": "127.0.0.1:10000",
                "dfs_storage_scheme": "http",
            },
        ),
    ],
)
def test_an_azure_account_is_what_its_own_libraries_read(
    environment: dict[str, str], expected: dict[str, str]
) -> None:
    assert _azure(environment) == expected
    AzureFileSystem(**_azure(environment))  # which asks nobody yet


def test_an_azure_account_without_a_name_is_one_sentence() -> None:
    with pytest.raises(ImageError, match="set AZURE_STORAGE_ACCOUNT_NAME, or"):
        _azure({"AZURE_STORAGE_CONNECTION_STRING": "nonsense;;=;"})


@pytest.mark.parametrize(
    "said",
    [
        "google::cloud::Status(UNAUTHENTICATED: Could not create a OAuth2 access token to",
        "Azure Error: [AuthorizationFailure] 403 Server failed to authenticate the request.",
        "Check for Hierarchical Namespace: N5Azure4Core11Credentials23AuthenticationExceptionE",
        "AWS Error ACCESS_DENIED during ListObjectsV2 operation: No response body.",
        "AWS Error UNKNOWN (HTTP status 403) during HeadObject operation",
    ],
)
def test_what_a_service_says_of_credentials_is_one_sentence(said: str) -> None:
    with (
        pytest.raises(ImageError, match=r"^a\.png cannot be read with the credentials of the env"),
        reading(Path("a.png"), "a.png"),
    ):
        raise OSError(said)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("../outside.png", "lies outside the folder"),
        ("/etc/passwd.png", "lies outside the folder"),
        ("file:///etc/hosts.png", "lies outside the folder"),
        ("link.png", "lies outside the folder"),
        ("https://host/a.png", "does not begin with any of"),
        ("s3://key:secret@bucket/a.png", "credentials and settings in the environment"),
        ("s3://bucket/a.png?endpoint_override=host", "credentials and settings in the environment"),
        ("s3://bucket/../other/a.png", "not the address of an object"),
        ('=HYPERLINK("http://host")', "a spreadsheet could run"),
        ("@SUM(1)", "a spreadsheet could run"),
        ("+cmd|' /C calc'!A0", "a spreadsheet could run"),
        ("a\u202egnp.exe", "a spreadsheet could run"),
    ],
)
def test_hostile_addresses_are_refused(tmp_path: Path, uri: str, said: str) -> None:
    (tmp_path / "secret.png").write_bytes(encoded(1))
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "good.png").write_bytes(encoded(2))
    path = manifest(folder / "list.csv", [("good.png", "a"), (uri, "a")])
    with pytest.raises(ImageError, match=said) as refused:
        read_images(path, "id", tmp_path)
    assert str(refused.value).count(". ") == 0 and str(refused.value).isascii()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("good.png", "a"), ("good.png", "b")], "twice"),
        ([("good.png", "=1+1")], "a spreadsheet could run"),
        ([("good.png", "a"), ("", "b")], "without an address"),
    ],
)
def test_hostile_rows_are_refused(tmp_path: Path, rows: list[tuple[str, str]], said: str) -> None:
    (tmp_path / "good.png").write_bytes(encoded(2))
    with pytest.raises(ImageError, match=said):
        read_images(manifest(tmp_path / "list.csv", rows), "id", tmp_path)


@pytest.mark.parametrize(
    "head", ["uri,label", "uri, label", " URI ,Label", "uri;label", "uri\tlabel"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_manifest_is_read_as_people_write_it(photos: Path, head: str, end: str) -> None:
    by = next(by for by in ",;\t" if by in head)
    lines = [head, *(by.join(row) for row in rows_of(photos))]
    path = photos / "written.csv"
    path.write_text(end.join(lines) + end, encoding="utf-8-sig", newline="")
    images = read_images(path, "id", photos.parent / "unpacked")
    assert [(image.name, image.label) for image in images.images] == [
        (name, name.split("/")[0].upper()) for name in NAMES
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "reads nothing"),
        (b"uri,label\n", "lists no image"),
        (b"uri,URI,uri\na,b,c\n", "two columns called uri"),
        (b"path,class\na.png,b\n", "which reads 'path', 'class'"),
        ("uri,label\na.png,b\n".encode("utf-16"), "save it as CSV, UTF-8"),
        (b"uri,label\na.png,b,c\n", "save it as CSV, UTF-8"),
    ],
)
def test_a_table_that_is_no_manifest_is_one_sentence(
    tmp_path: Path, text: bytes, said: str
) -> None:
    (tmp_path / "list.csv").write_bytes(text)
    with pytest.raises(ImageError, match=said):
        read_images(tmp_path / "list.csv", "id", tmp_path)


def test_tables_as_pandas_writes_them(photos: Path, tmp_path: Path) -> None:
    table = pd.DataFrame(rows_of(photos)[: len(NAMES)], columns=["uri", "label"], dtype="category")
    table.to_parquet(photos / "categories.parquet")
    images = read_images(photos / "categories.parquet", "id", tmp_path / "a").images
    assert [image.label for image in images] == ["CAT", "CAT", "DOG", "DOG"]
    with_gaps = table.assign(
        label=[3.0, float("nan"), 0.0, 1.0]
    )  # a column of numbers, one missing
    with_gaps.to_parquet(photos / "gaps.parquet")
    images = read_images(photos / "gaps.parquet", "id", tmp_path / "b").images
    assert [image.label for image in images] == ["3", None, "0", "1"]
    cells = with_gaps.drop(columns="uri").assign(image=[(photos / n).read_bytes() for n in NAMES])
    cells.to_parquet(photos / "cells.parquet")
    images = read_images(photos / "cells.parquet", "id", tmp_path / "c").images
    assert [image.label for image in images] == ["3", None, "0", "1"]
    with_gaps.assign(label=0.5).to_parquet(photos / "halves.parquet")
    with pytest.raises(ImageError, match="neither text nor whole numbers"):
        read_images(photos / "halves.parquet", "id", tmp_path / "d")


def test_a_table_without_addresses_is_refused(tmp_path: Path) -> None:
    path = manifest(tmp_path / "list.csv", [("a.png", "b")], head=("file", "label"))
    with pytest.raises(ImageError, match="no column called uri"):
        read_images(path, "id", tmp_path)


def test_addresses_lie_below_what_the_operator_allowed(tmp_path: Path) -> None:
    allowed = Reach(("s3://bucket/photos",))
    path = manifest(tmp_path / "list.csv", [("s3://bucket/photos-private/a.png", "a")])
    for source in (Uri("s3://bucket/other"), Uri("s3://bucket/photos-private"), path):
        with pytest.raises(ImageError, match="not below any address"):
            read_images(source, "id", tmp_path, reach=allowed)
    allowed.require([Uri("s3://bucket/photos"), Uri("s3://bucket/photos/a.png")])


def hostile_tar(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as shard:
        for member in members:
            shard.addfile(member, io.BytesIO(bytes(member.size)))
    return path


def member(
    name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info


@pytest.mark.parametrize(
    ("trick", "said"),
    [
        ([member("../a.png", 10)], "could lead outside"),
        ([member("/a.png", 10)], "could lead outside"),
        ([member("a\\b.png", 10)], "could lead outside"),
        ([member("a.png", 0, tarfile.SYMTYPE, "/etc/passwd")], "a link, a device"),
        ([member("a.png", 0, tarfile.LNKTYPE, "b.png")], "a link, a device"),
        ([member("a.png", 0, tarfile.CHRTYPE)], "a link, a device"),
        ([member("a.png", 10), member("a.png", 10)], "twice"),
        ([member("a.txt", 10)], "lists no image"),
    ],
)
def test_tar_tricks_are_refused(tmp_path: Path, trick: list[tarfile.TarInfo], said: str) -> None:
    path = hostile_tar(tmp_path / "a.tar", *trick)
    with pytest.raises(ImageError, match=said):
        read_images(path, "id", tmp_path)


def test_an_image_larger_than_its_shard_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    for size in (5_000, 600_000_000):
        path.write_bytes(member("a.png", size).tobuf(tarfile.GNU_FORMAT) + bytes(1024))
        with pytest.raises(ImageError, match="cut off or larger than 500 MB"):
            read_images(path, "id", tmp_path)


def test_a_header_longer_than_memory_is_not_read(tmp_path: Path) -> None:
    claim = member("x", 2**35, tarfile.XHDTYPE)
    (tmp_path / "a.tar").write_bytes(claim.tobuf() + bytes(4096))
    with pytest.raises(ImageError, match="damaged or compressed"):
        read_images(tmp_path / "a.tar", "id", tmp_path)


def test_compressed_and_cut_shards_are_refused(photos: Path, tmp_path: Path) -> None:
    whole = tar_of(tmp_path / "a.tar", shard_members(photos)).read_bytes()
    with tarfile.open(tmp_path / "b.tar", "w:gz") as shard:
        shard.add(photos / NAMES[0], "a.png")
    (tmp_path / "c.tar.gz").write_bytes(whole)
    (tmp_path / "d.tar").write_bytes(whole[:700])
    beside = tmp_path / "shards"
    beside.mkdir()
    (beside / "a.tar").write_bytes(whole)
    (beside / "b.TAR.gz").write_bytes(whole)
    for name, said in (
        ("b.tar", "compress"),
        ("c.tar.gz", "compressed"),
        ("d.tar", "cut off|damaged"),
        ("shards", "'b.TAR.gz' is compressed"),
    ):
        with pytest.raises(ImageError, match=said):
            read_images(tmp_path / name, "id", tmp_path)


def test_no_image_of_a_damaged_shard_is_lost_in_silence(photos: Path, tmp_path: Path) -> None:
    """Cut anywhere, with any header damaged, or followed by another: all images, or a sentence."""
    path = tmp_path / "a.tar"
    whole = tar_of(path, shard_members(photos)).read_bytes()
    all_names = [image.name for image in images_of_shard(path)]
    with tarfile.open(path) as shard:
        headers = [member.offset for member in shard]
        end = shard.offset
    assert len(headers) == 8 and len(all_names) == 4

    cuts = range(256, end + tarfile.BLOCKSIZE, 256)
    damaged = [whole[: at + 8] + b"~" + whole[at + 9 :] for at in headers]
    trials = [*(whole[:cut] for cut in cuts), *damaged, whole + whole]
    for trial in trials:
        path.write_bytes(trial)
        with pytest.raises(ImageError, match=r"cut off|damaged"):
            images_of_shard(path)
    for padded in (whole[: end + tarfile.BLOCKSIZE], whole, whole + bytes(20_480)):
        path.write_bytes(padded)
        assert [image.name for image in images_of_shard(path)] == all_names


def test_an_address_is_a_path_after_file(tmp_path: Path) -> None:
    assert source_of(f"file://{tmp_path}/a%20b") == tmp_path / "a b"
    assert source_of("photos/x") == Path("photos/x")
    assert source_of("s3://bucket/x/") == Uri("s3://bucket/x/")
    with pytest.raises(ImageError, match="another machine"):
        source_of("file://host/share")


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    path = manifest(tmp_path / "list.csv", [("pipe.png", "a")])
    with pytest.raises(ImageError, match="The one image in"):
        read_images(path, "id", tmp_path)
