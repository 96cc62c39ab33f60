"""Which model, images, layer and device an audit takes: the widgets, and what they say."""

from collections.abc import Sequence
from itertools import takewhile
from typing import Any, TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from gsc_core.evaluation.selective import FEWEST
from gsc_core.images.class_orders import ORDERS, LabelOrder, order_called
from gsc_core.jobs.database import StoredModel, StoredSet
from gsc_core.workspace import audits
from gsc_core.workspace.demo import is_of_demo
from gsc_core.workspace.models import ModelFacts
from pages.parts.shared.audit_parts import Parts, labels
from pages.parts.shared.text import plain

Record = TypeVar("Record", StoredModel, StoredSet)


def one_of(
    label: str, key: str, records: Sequence[Record], found: Parts, role: str, **more: Any
) -> Record | None:
    """One of the records; the address keeps the choice.

    None until one is chosen: the demo's is not a default for a person's own.
    """
    names, by_id = labels(records), {each.id: each for each in records}
    usual = _usual(key, records, found, role)
    chosen = st.selectbox(
        label,
        list(by_id),
        index=None if usual is None else list(by_id).index(usual),
        format_func=names.__getitem__,
        key=key,
        bind="query-params",
        placeholder="Choose one",
        **more,
    )
    _small(records, [chosen])
    _coming(found, role)
    return None if chosen is None else by_id[chosen]


def _usual(key: str, records: Sequence[Record], found: Parts, role: str) -> str | None:
    """The id of what is chosen at first, and of what was waited for once it is ready."""
    first = next((each for each in records if not _is_small(each)), None)
    usual = None if first is None or (is_of_demo(first) and found.own_begun) else first.id
    waits = f"{key}_waits"
    if usual is None and found.coming(role):
        st.session_state[waits] = True
    elif st.session_state.pop(waits, False) and usual and not st.session_state.get(key):
        st.session_state[key] = [usual] if role == "ood" else usual
    return usual


def _is_small(record: StoredModel | StoredSet) -> bool:
    return isinstance(record, StoredSet) and record.images < FEWEST


def _small(records: Sequence[StoredModel | StoredSet], chosen: Sequence[str | None]) -> None:
    """The newest sets that were passed over, and why; those that a person takes all the same."""
    for each in takewhile(_is_small, records):
        if isinstance(each, StoredSet) and each.id not in chosen:
            images = "1 image" if each.images == 1 else f"{each.images:,} images"
            st.caption(
                f"{plain(each.name)} was not chosen for you: with {images}, a share says next to "
                f"nothing. Take {FEWEST} or more."
            )


def _coming(found: Parts, role: str) -> None:
    """What is still being looked at, by its name."""
    for each in found.coming(role):
        st.caption(
            f"{plain(each.name)} is still being checked: it can be chosen as soon as that is done."
        )


def calibration_of(sets: Sequence[StoredSet]) -> StoredSet | float:
    """A set of calibration images, or the share of the familiar ones to set aside."""
    aside = "Set aside some of the familiar images"
    names = {"": aside} | labels(sets)
    chosen = st.selectbox(
        "Images to calibrate with",
        list(names),
        format_func=names.__getitem__,
        key="audit_calibration",
        bind="query-params",
        help="Detectors and thresholds learn from them what is usual. They are not tested.",
    )
    if chosen:
        return next(each for each in sets if each.id == chosen)
    percent: int = st.slider(
        "Share set aside, in percent",
        min_value=5,
        max_value=95,
        value=50,
        step=5,
        format="%d %%",
        key="audit_share",
        bind="query-params",
    )
    return percent / 100


def strangers_of(found: Parts) -> tuple[StoredSet, ...]:
    """The sets of unfamiliar images; at least one is needed, and none is an answer too."""
    sets = found.strangers
    names, by_id = labels(sets), {each.id: each for each in sets}
    usual = _usual("audit_ood_sets", sets, found, "ood")
    chosen = st.multiselect(
        "Images it was never meant to see",
        list(by_id),
        default=[] if usual is None else [usual],
        format_func=names.__getitem__,
        key="audit_ood_sets",
        bind="query-params",
        wrap=True,
        help="Out-of-distribution (OOD) sets. Several kinds, similar and very different, tell you "
        "more than one.",
    )
    _small(sets, chosen)
    _coming(found, "ood")
    return tuple(by_id[each] for each in chosen)


def label_order() -> LabelOrder | None:
    """How labels stand for classes; None leaves it to the audit, which asks in doubt."""
    chosen: str = st.selectbox(
        "How labels stand for classes (label order)",
        ["", *(order.name for order in ORDERS)],
        format_func=lambda name: f"{name}: {order_called(name).title}" if name else "auto",
        key="audit_label_order",
        bind="query-params",
        help="A class is a number to the model. auto takes class names, then numbers, then the "
        "alphabetical order, compares with the predictions, and stops where another order fits far "
        "better.",
    )
    return order_called(chosen).name if chosen else None


def further_settings(facts: ModelFacts) -> dict[str, Any]:
    """What a beginner leaves alone, as further fields of `AuditSpec`."""
    with st.expander("Layer, device, precision, seed, batch size", key="audit_more"):
        split = _split(facts)
        left, middle, right = st.columns(3)
        device = left.selectbox(
            "Device",
            ["auto", "cpu", "cuda", "mps"],
            key="audit_device",
            bind="query-params",
            help="auto uses a graphics card if there is one.",
        )
        seed, batch_size = _seed(middle), _batch_size(right)
        precision, compiled = _arithmetic(on_cuda=facts.device.startswith("cuda"))
        engine = _engine()
    return {
        "split": split,
        "device": device,
        "precision": precision,
        "compiled": compiled,
        "engine": engine,
        "seed": seed,
        "batch_size": batch_size,
    }


def _split(facts: ModelFacts) -> str | None:
    """The layer at which GSC cuts; None for the usual one, which may change with the program."""
    usual = next((at for at, split in enumerate(facts.splits) if split.default), None)
    about = {
        split.name: f"{split.name}: {' × '.join(map(str, split.shape))}"
        + (", usual" if split.default else "")
        + (", linear after it" if split.linear else "")
        for split in facts.splits
    }
    split = st.selectbox(
        "Layer at which GSC cuts the network",
        list(about),
        index=usual,
        format_func=about.__getitem__,
        key="audit_split",
        bind="query-params",
        placeholder="This network cannot be cut: GSC will be left out",
        help="The usual one is the deepest with something non-linear after it. Where "
        "everything after it is linear, the gradient is the same for every image of a class.",
    )
    return None if usual is not None and split == facts.splits[usual].name else split


# Floats: Streamlit fails on an infinity in the address where it wants an integer.


def _seed(place: DeltaGenerator) -> int:
    seed = place.number_input(
        "Seed",
        min_value=0.0,
        max_value=2.0**31 - 1,
        value=0.0,
        step=1.0,
        format="%.0f",
        key="audit_seed",
        bind="query-params",
        help="For everything random, such as which images are set aside.",
    )
    return round(seed)


def _batch_size(place: DeltaGenerator) -> int | None:
    batch_size = place.number_input(
        "Batch size",
        min_value=1.0,
        max_value=4096.0,
        value=None,
        step=1.0,
        format="%.0f",
        placeholder="auto",
        key="audit_batch",
        help="Images at a time. auto uses 8 on a processor; on a graphics card it tries out "
        "which is fastest for thousands of images, and uses 64 for fewer.",
        bind="query-params",
    )
    return None if batch_size is None else round(batch_size)


def _engine() -> str:
    """What scores the images; a question only where the operator has a cluster for it."""
    if not audits.has_cluster():
        return "local"
    on_cluster = st.toggle(
        "Score on the cluster",
        key="audit_cluster",
        bind="query-params",
        help="For sets of hundreds of thousands of images. Scores are the same; starting the "
        "cluster's actors takes about a minute.",
    )
    return "ray" if on_cluster else "local"


def _arithmetic(*, on_cuda: bool) -> tuple[str, bool]:
    """In which numbers the network computes, and whether it is compiled first."""
    left, right = st.columns(2, vertical_alignment="bottom")
    names = {
        "auto": "auto: fast and close",
        "float32": "float32: nothing rounded",
        "bf16": "bf16: fastest, scores differ",
    }
    precision = left.selectbox(
        "Precision",
        list(names),
        format_func=names.__getitem__,
        key="audit_precision",
        bind="query-params",
        help="auto is float32 on a processor, and TF32 on a graphics card: scores there shift by "
        "a hundredth of their spread. With bf16 they shift by up to twice their spread, and shares "
        "by several in a hundred; a detector of such an audit cannot be exported.",
    )
    compiled = right.checkbox(
        "Compile first (CUDA)",
        key="audit_compiled",
        bind="query-params",
        help="Takes a minute or more, and is used only if it proves faster. For tens of thousands "
        "of images; needs a CUDA graphics card.",
        disabled=not on_cuda,
    )
    return precision, compiled and on_cuda
