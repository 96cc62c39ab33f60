"""How a model is added: its file and what belongs to it; and how that is changed afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from gsc_core.classifier import Preprocessing
from gsc_core.classifier.options import format_options, parse_options, split_options
from gsc_core.classifier.weights.architecture_names import full_name
from gsc_core.errors import GscError
from gsc_core.jobs.database import StoredModel
from gsc_core.workspace import models
from gsc_core.workspace.catalogue import catalogue
from pages.parts.models.preprocessing import preprocessing_form
from pages.parts.shared.add_button import add_button
from pages.parts.shared.once import once, uploaded
from pages.parts.shared.received import received
from pages.parts.shared.text import plain

EXPORT = """import torch

images = torch.randn(2, 3, 224, 224)
batch = torch.export.Dim("batch")
program = torch.export.export(model.eval(), (images,), dynamic_shapes=({0: batch},))
torch.export.save(program, "model.pt2")"""
WEIGHTS = {"plain": "The trained weights (plain)", "ema": "Their average over training (ema)"}


@dataclass(frozen=True)
class Network:
    """Which network the file's weights belong to, as the form has it."""

    architecture: str | None
    options: Mapping[str, Any]
    weights: str | None


def add_form() -> None:
    """Ask for a model file; once it is added, the address leads to its record."""
    with st.container(border=True, key="model_form"):
        st.header("Add a model", anchor=False)
        file = st.file_uploader(
            "Model file",
            type=[suffix.removeprefix(".") for suffix in models.SUFFIXES],
            key="model_file",
            help="A whole program (.pt2), weights (.safetensors, .pt, .pth and the like) for an "
            "architecture that you name, or a Hugging Face folder as a ZIP. Files that could run "
            "code are refused.",
        )
        whole = file is not None and file.name.lower().endswith(".pt2")
        name = st.text_input(
            "Name",
            key="model_name",
            max_chars=models.LONGEST_NAME,
            placeholder=Path(file.name).stem if file else "Taken from the file",
        )
        architecture = _architecture("model", None, whole)
        with st.expander("Options, preprocessing and class names (optional)", key="model_more"):
            network = _network("model", architecture, whole, {}, None)
            fits, preprocessing = _preprocessing("model", architecture, None)
            class_names = _class_names("model")
        unfit = network is None or not fits
        content = received(file) if file is not None else None

        def add() -> bool:
            if file is None or content is None or network is None:
                st.error("There is no model file yet: choose one.")
                return False
            return _add(file, content, name, network, preprocessing, class_names)

        add_button("Add model", "model_add", add, disabled=unfit)
        with st.expander("How do I get such a file?", key="model_how"):
            st.markdown(
                "A `.pt2` is the simplest: it needs no architecture. With your model in "
                "memory, run this with the size of its images:"
            )
            st.code(EXPORT, language="python")


def revise_form(stored: StoredModel) -> None:
    """Change how a stored model is loaded, and have it checked again."""
    spec = models.spec_of(stored)
    whole = spec.checkpoint is not None and spec.checkpoint.suffix.lower() == ".pt2"
    architecture = _architecture("revise", spec.architecture, whole)
    network = _network("revise", architecture, whole, spec.options, spec.weights)
    fits, preprocessing = _preprocessing("revise", architecture, _preprocessing_now(stored))
    class_names = _class_names("revise")
    unfit = network is None or not fits
    if st.button("Save and check again", key="revise_save", disabled=unfit) and network:
        try:
            models.revise_model(
                stored.id,
                architecture=network.architecture,
                options=network.options,
                weights=network.weights,
                preprocessing=preprocessing,
                class_names=class_names,
            )
        except GscError as error:
            st.error(plain(str(error)))
            return
        st.rerun()


def _add(
    file: UploadedFile,
    content: BinaryIO,
    name: str | None,
    network: Network,
    preprocessing: Preprocessing | None,
    class_names: BinaryIO | None,
) -> bool:
    """Add a model; the address leads to it then. Else it is a sentence."""

    def new() -> str:
        return models.add_model(
            content,
            file.name,
            name=name or _from_file(file.name),
            architecture=network.architecture,
            options=network.options,
            weights=network.weights,
            preprocessing=preprocessing,
            class_names=class_names,
        ).id

    try:
        with st.spinner("Storing the model…"):
            st.query_params["model"] = once("model_add", new, of=uploaded(file))
    except GscError as error:
        st.error(plain(str(error)))
        return False
    return True


def _from_file(file_name: str) -> str:
    """A name for who gave none: the file's, as far as it can be shown."""
    stem = "".join(c for c in Path(file_name).stem if c.isprintable())
    return stem.strip()[: models.LONGEST_NAME] or "Model"


def _architecture(prefix: str, now: str | None, whole: bool) -> str | None:
    names = list(catalogue().architectures)
    found = full_name(now, names) if now else None
    chosen = st.selectbox(
        "Architecture",
        names,
        index=names.index(found) if found else None,
        placeholder="Not needed: the .pt2 has it" if whole else "Needed for weights: type a name",
        disabled=whole,
        key=f"{prefix}_architecture",
        help="Weights alone do not say what network they belong to. Type a part of the name, such "
        "as resnet18. A .pt2 file carries its own; a .safetensors file may.",
    )
    return None if whole else chosen


def _network(
    prefix: str,
    architecture: str | None,
    whole: bool,
    options_now: dict[str, Any],
    weights_now: str | None,
) -> Network | None:
    """Ask for what weights cannot tell; None where what was typed is not understood."""
    typed = st.text_input(
        "Options of the architecture",
        value=format_options(options_now),
        placeholder="None",
        disabled=whole,
        key=f"{prefix}_options",
        help="What the network was built with besides its name, such as aux_logits=false or "
        "img_size=96; separate several by spaces. The check says when one is needed.",
    )
    weights = st.selectbox(
        "Weights in the file",
        list(dict.fromkeys([*WEIGHTS, *([weights_now] if weights_now else [])])),
        index=None if weights_now is None else _place(weights_now),
        format_func=lambda name: WEIGHTS.get(name, name),
        placeholder="It holds only one kind",
        accept_new_options=True,
        disabled=whole,
        key=f"{prefix}_weights",
        help="Some files hold the trained weights and their average over training (EMA). The check "
        "says what a file holds, and asks if there are several.",
    )
    if whole:
        return Network(None, {}, None)
    try:
        return Network(architecture, parse_options(split_options(typed or "")), weights)
    except GscError as error:
        st.error(plain(str(error)))
        return None


def _place(weights: str) -> int:
    """Where a choice of weights is in the list; one of its own is added at the end."""
    return list(WEIGHTS).index(weights) if weights in WEIGHTS else len(WEIGHTS)


def _preprocessing(
    prefix: str, architecture: str | None, stored: Preprocessing | None
) -> tuple[bool, Preprocessing | None]:
    """Whether what was typed can be used, and the preprocessing (None: as the file says)."""
    try:
        return True, preprocessing_form(prefix, architecture, stored)
    except GscError as error:
        st.error(plain(str(error)))
        return False, None


def _preprocessing_now(stored: StoredModel) -> Preprocessing | None:
    """As it was asked for, else as it was found."""
    asked = models.spec_of(stored).preprocessing
    return asked or (models.facts_of(stored).preprocessing if stored.facts else None)


def _class_names(prefix: str) -> BinaryIO | None:
    file = st.file_uploader(
        "Class names (optional)",
        type=["txt", "json"],
        max_upload_size=16,
        key=f"{prefix}_class_names",
        help="A text file with one name per line in the order of the model's outputs, or a "
        "JSON list. Without it classes are shown by number.",
    )
    return None if file is None else received(file)
