"""The small classifier, and many images for it as files."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from scored import MANY, write
from small_classifier import World, pictures, world

from gsc_core.images import ImageFile, ImageSet


@pytest.fixture(scope="session")
def small() -> World:
    return world()


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    return write(tmp_path_factory.mktemp("many") / "id", pictures(MANY, seed=21)[0])


@pytest.fixture
def some(many: ImageSet) -> Sequence[ImageFile]:
    return many.images[:20]
