"""A source that is neither a folder of images nor a ZIP, to the images that it lists."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from gsc_core.errors import ImageError
from gsc_core.images.opening import IMAGE_SUFFIXES
from gsc_core.images.sources.address import Address
from gsc_core.images.sources.listed import Listed, quoted, require_names_once
from gsc_core.images.sources.manifest import columns_of, images_of_manifest, is_manifest
from gsc_core.images.sources.shards import COMPRESSED, TAR, images_of_shard
from gsc_core.images.sources.stores import Place, below
from gsc_core.images.sources.tables import PARQUET, images_of_table
from gsc_core.images.sources.uri import Reach, Uri

CONTAINERS = (TAR, PARQUET)


def is_listing(source: Place) -> bool:
    """Whether images are listed by the source: all in buckets, and manifests, shards and tables.

    A folder is one where it holds shards or tables and no image by its name.
    """
    if isinstance(source, Uri):
        return True
    if source.is_dir():
        endings = {path.suffix.lower() for path in source.iterdir() if path.is_file()}
        return bool(endings & set(CONTAINERS)) and not endings & IMAGE_SUFFIXES
    suffix = source.suffix.lower()
    return suffix in (*CONTAINERS, *COMPRESSED) or (suffix == ".csv" and source.is_file())


def images_listed(source: Place, reach: Reach) -> list[Listed]:
    """The images of a source in its order, or by name where it has none.

    Raises ImageError, one sentence, for what cannot be read, is a trick, or lists no image.
    """
    if isinstance(source, Uri):
        reach.require([source])
    suffix = source.suffix.lower()
    _require_plain([source.name])
    if isinstance(source, Path) and source.is_dir():
        listed = _below(source)
    elif suffix in (TAR, PARQUET, ".csv"):
        listed = _contained(source, reach)
    elif suffix in IMAGE_SUFFIXES:
        listed = [Listed(source.name, Address(source))]
    else:
        listed = _below(source)
    if not listed:
        raise ImageError(
            f"{source} lists no image: give a manifest, tar shards, Parquet, or a prefix of images."
        )
    return listed


def _contained(source: Place, reach: Reach, within: str = "") -> list[Listed]:
    if source.suffix.lower() == TAR:
        return images_of_shard(source, within)
    if is_manifest(source):
        return images_of_manifest(source, reach)
    if source.suffix.lower() == PARQUET:
        return images_of_table(source, within)
    columns = ", ".join(quoted(column) for column in columns_of(source)[:8])
    raise ImageError(
        f"{source.name} has no column called uri: name it so in its first row, which reads "
        f"{columns or 'nothing'}."
    )


def _require_plain(names: Iterable[str]) -> None:
    """Raise ImageError for a compressed archive: its images would be missing."""
    for name in names:
        if name.lower().endswith(COMPRESSED):
            raise ImageError(f"{quoted(name)} is compressed: unpack it to .tar, and give that.")


def _below(source: Place) -> list[Listed]:
    """Images below a prefix; without any, those of all shards or tables there."""
    there = below(source, source.name)
    images = [
        Listed(name, Address(place))
        for name, place in there
        if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
    ]
    if images:
        return images
    for suffix, images_of in ((TAR, images_of_shard), (PARQUET, images_of_table)):
        inner = [pair for pair in there if pair[0].lower().endswith(suffix)]
        if inner:
            _require_plain(name for name, _ in there)
            listed = [image for name, place in inner for image in images_of(place, f"{name}/")]
            require_names_once([image.name for image in listed], source.name)
            return listed
    return []
