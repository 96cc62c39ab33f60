"""A user's images to an ImageSet: folders, files and ZIPs, labels.

What needs torch is imported from its own module: `decode`, `surrogates`.
"""

from gsc_core.images.archive import Limits, unpack
from gsc_core.images.imageset import Broken, Duplicate, ImageFile, ImageSet, shared
from gsc_core.images.matching import LabelMatch, class_indices
from gsc_core.images.opening import IMAGE_SUFFIXES, Header, header
from gsc_core.images.partition import LeftOut, Partition, partition
from gsc_core.images.reading import read_archive, read_files, read_folder, read_images

__all__ = [
    "IMAGE_SUFFIXES",
    "Broken",
    "Duplicate",
    "Header",
    "ImageFile",
    "ImageSet",
    "LabelMatch",
    "LeftOut",
    "Limits",
    "Partition",
    "class_indices",
    "header",
    "partition",
    "read_archive",
    "read_files",
    "read_folder",
    "read_images",
    "shared",
    "unpack",
]
