"""A user's images to an ImageSet: each file is read once, for digest and header.

They come as a folder, files or a ZIP, or as a source that lists them (`images.sources`).
"""

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath

from gsc_core.errors import ImageError
from gsc_core.images.archive import Limits, inspect, is_hidden, unpack
from gsc_core.images.imageset import Broken, Duplicate, ImageFile, ImageSet
from gsc_core.images.labels import Labelling, LabelsFrom, labels_of
from gsc_core.images.opening import IMAGE_SUFFIXES, READABLE, header
from gsc_core.images.sources.address import BytesAt, bytes_of
from gsc_core.images.sources.listing import images_listed, is_listing
from gsc_core.images.sources.uri import EVERYWHERE, Reach, Uri

OnCount = Callable[[int, int], None]
"""Told how many files of how many are done; may raise, to stop."""


def nobody(done: int, total: int) -> None:
    """Nobody listens."""


def read_images(
    path: Path | Uri,
    name: str,
    into: Path,
    labels: LabelsFrom | None = None,
    reach: Reach = EVERYWHERE,
) -> ImageSet:
    """Read any source as a set: a folder, a ZIP (unpacked into the new folder `into`), an image.

    Also what `read_listing` does. `reach` is which addresses it may name. Raises ImageError when it
    is none of these, or holds no readable image.
    """
    if is_listing(path):
        return read_listing(path, name, labels, reach)
    assert isinstance(path, Path)
    if path.is_dir():
        return read_folder(path, name, labels)
    if not path.exists():
        raise ImageError(f"{path} does not exist: check the path.")
    if _is_image(path):
        return read_files([path], name)
    return read_archive(path, name, into, labels)


def read_folder(
    root: Path, name: str, labels: LabelsFrom | None = None, on_count: OnCount = nobody
) -> ImageSet:
    """Read all images below a folder, labelled by a CSV table, class folders or WordNet ids.

    Hidden files, those of operating systems, and files that are not images by their names are
    passed over; linked folders are not entered. `on_count` may raise, to stop. Raises ImageError
    when no image can be read.
    """
    if not root.is_dir():
        raise ImageError(f"{root} is not a folder that can be read: check the path.")
    return _read(list(_visible(root)), root, name, labels, on_count=on_count)


def read_files(paths: Sequence[Path], name: str) -> ImageSet:
    """Read these images as a set; their names are relative to the folder common to all of them.

    Raises ImageError when none of them is a readable image.
    """
    absolute = [path.absolute() for path in paths]
    root = Path(os.path.commonpath([path.parent for path in absolute])) if paths else Path()
    return _read(absolute, root, name, None, look_around=False)


def read_listing(
    source: Path | Uri,
    name: str,
    labels: LabelsFrom | None = None,
    reach: Reach = EVERYWHERE,
    on_count: OnCount = nobody,
) -> ImageSet:
    """Read the images that a manifest, tar shards, a Parquet table or a prefix list, in its order.

    Labels are those of the listing; where it has none, of class folders in the names, or of the
    table in `labels`. Raises ImageError as `images_listed` does, and when no image can be read.
    """
    listed = images_listed(source, reach)
    given = {image.name: image.label for image in listed}
    said = f"They come from {source.name}."
    looked = _look_at_all([(image.name, image.at) for image in listed], on_count)

    def label(names: Sequence[str], copies: Sequence[str]) -> Labelling:
        if labels is None and any(given.values()):
            return Labelling({image: given[image] for image in names}, said)
        return labels_of(names, None, labels, copies)

    return _set_of(looked, name, label, lambda broken: _nothing(name, [], broken))


def read_archive(
    zip_path: Path,
    name: str,
    into: Path,
    labels: LabelsFrom | None = None,
    on_count: OnCount = nobody,
    limits: Limits | None = None,
) -> ImageSet:
    """Unpack an untrusted ZIP into the new folder `into` and read that; see `unpack`.

    Images with names too long for a disk are listed as broken.
    """
    limits = limits or Limits()
    contents = inspect(zip_path, limits)
    if not any(_is_image(Path(member.filename)) for member in contents.members):
        raise ImageError(_nothing(zip_path.name, [Path(other) for other in contents.others], ()))
    unpack(zip_path, into, limits)
    try:
        images = read_folder(into, name, labels, on_count)
    except ImageError:
        shutil.rmtree(into)
        raise
    too_long = (
        Broken(f"{long[:60]}…", "has too long a name: shorten it") for long in contents.too_long
    )
    return replace(images, broken=(*images.broken, *too_long))


def _visible(root: Path) -> Iterable[Path]:
    for folder, folders, files in os.walk(root):
        folders[:] = [subfolder for subfolder in folders if not is_hidden(PurePosixPath(subfolder))]
        for file in files:
            if not is_hidden(PurePosixPath(file)):
                yield Path(folder, file)


def _read(
    paths: list[Path],
    root: Path,
    name: str,
    labels: LabelsFrom | None,
    *,
    look_around: bool = True,
    on_count: OnCount = nobody,
) -> ImageSet:
    named = sorted((_name(path, root), path) for path in paths if _is_image(path))

    def label(names: Sequence[str], copies: Sequence[str]) -> Labelling:
        return labels_of(names, root if look_around else None, labels, copies)

    looked = _look_at_all(named, on_count)
    return _set_of(looked, name, label, lambda broken: _nothing(name, paths, broken))


def _set_of(
    looked: Sequence[ImageFile | Broken],
    name: str,
    label: Callable[[Sequence[str], Sequence[str]], Labelling],
    nothing: Callable[[tuple[Broken, ...]], str],
) -> ImageSet:
    """A set of what could be read, each content once.

    `label` finds the labels of these names, with those of copies; `nothing` says what there is
    instead of a readable image.
    """
    good = [image for image in looked if isinstance(image, ImageFile)]
    broken = tuple(image for image in looked if isinstance(image, Broken))
    if not good:
        raise ImageError(nothing(broken))
    first: dict[str, str] = {}
    for image in good:
        first.setdefault(image.sha256, image.name)
    once = [image for image in good if first[image.sha256] == image.name]
    names = [image.name for image in once]
    copies = [image.name for image in good if first[image.sha256] != image.name]
    labelling = label(names, copies)
    return ImageSet(
        name,
        tuple(replace(image, label=labelling.labels[image.name]) for image in once),
        broken,
        tuple(
            Duplicate(image.name, first[image.sha256])
            for image in good
            if first[image.sha256] != image.name
        ),
        labelling.source,
        labelling.question,
    )


def _look_at_all(
    named: Sequence[tuple[str, BytesAt]], on_count: OnCount
) -> list[ImageFile | Broken]:
    looked = []
    pool = ThreadPoolExecutor(max_workers=min(8, 2 * (os.cpu_count() or 1)))
    try:
        for done, image in enumerate(pool.map(lambda pair: _look(*pair), named), 1):
            looked.append(image)
            on_count(done, len(named))
    finally:
        pool.shutdown(cancel_futures=True)
    return looked


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


def _name(path: Path, root: Path) -> str:
    # Names on Linux may hold bytes that are not text; a database and a report cannot.
    return path.relative_to(root).as_posix().encode("utf-8", "replace").decode()


def _look(name: str, path: BytesAt) -> ImageFile | Broken:
    try:
        data = bytes_of(path, name)
        said = header(data, name)
    except ImageError as error:
        return Broken(name, str(error).removeprefix(f"{name} "))
    digest = hashlib.sha256(data).hexdigest()
    return ImageFile(path, name, digest, None, said.width, said.height, len(data))


def _nothing(name: str, paths: list[Path], broken: tuple[Broken, ...]) -> str:
    """Say in one sentence what was found where images were expected."""
    if broken:
        first = f"{broken[0].name} {broken[0].reason}"
        if len(broken) == 1:
            return f"The one image in {name} cannot be read: {first}"
        return f"None of the {len(broken):,} images in {name} can be read; the first: {first}"
    kinds = Counter(sorted(path.suffix.lower() or "without an ending" for path in paths))
    others = ", ".join(f"{count} × {kind}" for kind, count in kinds.most_common(4))
    return (
        f"There is no image in {name}, only {others or 'an empty folder'}: give {READABLE} files."
    )
