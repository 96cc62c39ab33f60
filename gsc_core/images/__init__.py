"""A user's images to an ImageSet: folders, files and ZIPs, labels, pixels, surrogate outliers."""

from gsc_core.images.archive import Limits, unpack
from gsc_core.images.decode import PICTURE_SUFFIXES, Header, decode, decode_bytes, header
from gsc_core.images.imageset import Broken, Duplicate, ImageFile, ImageSet, shared
from gsc_core.images.matching import LabelMatch, class_indices
from gsc_core.images.partition import LeftOut, Partition, partition
from gsc_core.images.reading import read_archive, read_files, read_folder, read_images
from gsc_core.images.surrogates import (
    SURROGATES,
    Surrogate,
    jigsaw,
    mix,
    phase,
    surrogate_makers,
    surrogates_of,
    write_surrogates,
    zoom,
)

__all__ = [
    "PICTURE_SUFFIXES",
    "SURROGATES",
    "Broken",
    "Duplicate",
    "Header",
    "ImageFile",
    "ImageSet",
    "LabelMatch",
    "LeftOut",
    "Limits",
    "Partition",
    "Surrogate",
    "class_indices",
    "decode",
    "decode_bytes",
    "header",
    "jigsaw",
    "mix",
    "partition",
    "phase",
    "read_archive",
    "read_files",
    "read_folder",
    "read_images",
    "shared",
    "surrogate_makers",
    "surrogates_of",
    "unpack",
    "write_surrogates",
    "zoom",
]
