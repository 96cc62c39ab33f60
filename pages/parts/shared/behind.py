"""The images behind a part of a chart: a few of them here, and a link to all."""

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.run.gallery import RunImage, class_name, run_images
from gsc_core.run.stored import Run
from gsc_core.run.subsets import Subset
from pages.parts.shared.only import link_to
from pages.parts.shared.pictures import Tile, picture_grid
from pages.parts.shared.text import plain

SHOWN = 6
UNDER = "Under each image: ● familiar or ○ unfamiliar, and what the model calls it."


def behind(run: Run, subset: Subset, shown: int = SHOWN) -> None:
    """Show the first images of a subset, in its order."""
    try:
        rows = subset.rows(run)
        st.markdown(plain(f"{subset.sentence(run)}: {len(rows):,}"))
        if not len(rows):
            return
        picture_grid([tile(run, image) for image in run_images(run, rows[:shown])])
        st.caption(UNDER)
        if len(rows) > shown:
            link_to(run, subset, f"Open all {len(rows):,}")
    except GscError as error:
        st.warning(plain(str(error)))


def tile(run: Run, image: RunImage) -> Tile:
    """An image with what the classifier says, which leads to its page."""
    seen = class_name(run, image.predicted)
    whose = image.set if image.role == "ood" else image.role
    labelled = image.label is not None and image.label != image.predicted
    of = f", labelled {class_name(run, image.label)}" if labelled else ""
    return Tile(
        path=image.path,
        caption=f"{'○' if image.role == 'ood' else '●'} {seen}",
        alt=f"{image.file}, from {whose}, classified as {seen}{of}",
        link=("images", {"run": run.id, "image": str(image.row)}),
    )
