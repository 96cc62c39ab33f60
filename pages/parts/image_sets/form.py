"""How a set of images is added: uploaded, or a folder of the server."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.jobs.database import StoredSet
from gsc_core.workspace import imagesets
from gsc_core.workspace.server_folders import VARIABLE, allowed_addresses, image_root
from pages.parts.image_sets.words import ROLE_MEANINGS, ROLE_NAMES
from pages.parts.shared.add_button import add_button
from pages.parts.shared.once import again, once, uploaded
from pages.parts.shared.received import received
from pages.parts.shared.text import plain

LONGEST_NAME = 60
UPLOAD, SERVER, ADDRESS = "Upload", "Folder on the server", "Address"
_TYPES = [
    *("zip", "jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif", "heic", "heif"),
    *("ppm", "pgm", "pbm", "pnm", "csv", "tsv"),
]


def add_form() -> None:
    """Ask for images, a name and a role; once added, the address leads to the new set."""
    with st.container(border=True, key="set_form"):
        st.header("Add a set", anchor=False)
        role = st.radio(
            "What are these images?",
            list(ROLE_NAMES),
            format_func=ROLE_NAMES.__getitem__,
            captions=list(ROLE_MEANINGS.values()),
            key="set_role",
        )
        {UPLOAD: _upload, SERVER: _server_folder, ADDRESS: _address}[_source()](role)
        _how_to_label()


def _source() -> str:
    elsewhere = [SERVER] * (image_root() is not None) + [ADDRESS] * bool(
        allowed_addresses().prefixes
    )
    if not elsewhere:
        return UPLOAD
    chosen: str = st.segmented_control(
        "Where are they?", [UPLOAD, *elsewhere], default=UPLOAD, required=True, key="set_source"
    )
    return chosen


def _upload(role: str) -> None:
    files = st.file_uploader(
        "A ZIP of images, or image files",
        type=_TYPES,
        accept_multiple_files=True,
        key="set_files",
        help="A ZIP is best for more than about 50 images, and keeps class folders. Images: "
        "JPEG, PNG, WebP, BMP, TIFF, GIF, PPM, HEIC.",
    )
    streams: list[tuple[str, BinaryIO]] = [(file.name, received(file)) for file in files]
    name = _name(Path(streams[0][0]).stem if len(streams) == 1 else "")

    def add() -> bool:
        if not files:
            st.error("There are no images yet: choose some.")
            return False
        new = partial(imagesets.add_upload, streams, name=name, role=role)
        return _add(new, uploaded(*files))

    add_button("Add set", "set_add", add)
    if image_root() is None:
        st.caption(
            f"Too many to upload? An operator can allow a folder of this server: set {VARIABLE} "
            "to its path and restart the app."
        )


def _server_folder(role: str) -> None:
    folder = st.selectbox(
        "Folder",
        _folders(str(image_root())),
        index=None,
        placeholder="Choose a folder",
        key="set_folder",
        help="Read in place: nothing is copied, changed or deleted.",
    )
    name = _name(Path(folder).name if folder else "")
    if st.button("Add set", key="set_add", type="primary", disabled=folder is None):
        new = partial(imagesets.add_folder, folder or "", name=name, role=role)
        if _add(new, str(folder)):
            st.rerun()
    else:
        again("set_add")


def _address(role: str) -> None:
    prefixes = allowed_addresses().prefixes or ()
    address = st.text_input(
        "Address",
        key="set_address",
        max_chars=1000,
        placeholder=f"{prefixes[0].rstrip('/')}/…",
        help="A prefix of images, a table with the columns uri and label (.csv, .parquet), tar "
        f"shards, or Parquet with a column of images. Below {', '.join(prefixes)}.",
    ).strip()
    name = _name(Path(address).stem)
    if st.button("Add set", key="set_add", type="primary", disabled=not address):
        _add(lambda: imagesets.add_address(address, name=name, role=role), address)
    else:
        again("set_add")


@st.cache_data(ttl=10, max_entries=4, show_spinner=False)
def _folders(root: str) -> list[str]:
    return imagesets.folders()


def _name(suggested: str) -> str:
    suggested = suggested[:LONGEST_NAME]
    typed = st.text_input(
        "Name",
        key="set_name",
        max_chars=LONGEST_NAME,
        placeholder=suggested or "For example: photos from the night shift",
    )
    return (typed or "").strip() or suggested


def _add(add: Callable[[], StoredSet], of: str) -> bool:
    """Add a set; the address leads to it then. Else it is a sentence."""
    try:
        with st.spinner("Storing the images…"):
            set_id = once("set_add", lambda: add().id, of=of)
    except GscError as error:
        st.error(plain(str(error)))
        return False
    # The next run draws no form, so that the one after that finds it empty.
    st.query_params["set"] = set_id
    return True


def _how_to_label() -> None:
    with st.expander("How do I say what is in an image?", key="set_labels_how"):
        st.markdown(
            "With labels, the audit can also say how often images are classified correctly. "
            "Use either\n"
            "- a **folder for each class** in the ZIP: `cat/1.jpg`, `dog/7.jpg`; or\n"
            "- a **table** `labels.csv` beside the images, with columns `file` and `label` or one "
            "column of zeros and ones for each class; or\n"
            "- **ImageNet's names**: files that begin with `n01440764_`.\n\n"
            "Labels are the model's class names or numbers. If a data set comes in parts, give one "
            "of them: the folders train and test are not classes. Unfamiliar images need no labels."
        )
