"""What was made of a run's detectors: downloads, how to use one, and how to watch what it sees."""

from decimal import ROUND_UP, Decimal, localcontext

import streamlit as st

from gsc_core.deploy.card import Agreement
from gsc_core.errors import GscError
from gsc_core.run.stored import Run
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import exports, runs
from gsc_core.workspace.exports import CARD_FILE, MAX_EXPORTS, ONNX_FILE, PROGRAM_FILE, StoredExport
from pages.parts.shared.download import logged
from pages.parts.shared.text import plain, size

_LABELS = {PROGRAM_FILE: "Detector", CARD_FILE: "Card", ONNX_FILE: "ONNX"}
_HELP = {
    PROGRAM_FILE: "The program, for PyTorch.",
    CARD_FILE: "Its facts and figures: keep it next to the program.",
    ONNX_FILE: "The same, for ONNX Runtime; it takes images that are already resized and cropped.",
}
_TYPES = {CARD_FILE: "application/json"}
_REFUSED = "deploy_not_deleted"


def shelf(run: Run, made: tuple[StoredExport, ...]) -> None:
    """One card an export, the newest first."""
    if refused := st.session_state.pop(_REFUSED, None):
        st.error(plain(refused))
    if not made:
        return
    st.header("Made so far", anchor=False)
    for stored in made:
        with st.container(border=True):
            _card(run, stored, newest=stored is made[0])
    st.caption(f"The newest {MAX_EXPORTS} are kept with the run; older ones are removed.")


def _card(run: Run, stored: StoredExport, *, newest: bool) -> None:
    card, decision = stored.card, stored.order.decision
    st.markdown(f"**{plain(card.detector)}**: {plain(decision.rule.words())}")
    st.caption(
        plain(
            f"Made {card.made:%d %B %Y, %H:%M} UTC. Flags images that score above "
            f"{card.threshold:.4g}: {card.calibration_flagged:,} of its {card.calibration:,} "
            f"calibration images. "
            f"{_agreement(card.agreement)}"
        )
    )
    if not stored.current:
        st.warning("The audit has been repeated since: this detector has the earlier figures.")
    with st.container(horizontal=True):
        for file, count in stored.files.items():
            # Read when somebody asks; a download redraws nothing, which would withdraw the others.
            st.download_button(
                f"{_LABELS[file]} ({size(count)})",
                logged(stored.path(file).read_bytes, "export", stored.id, file),
                file_name=file,
                mime=_TYPES.get(file, "application/octet-stream"),
                key=f"deploy_{file.rpartition('.')[2]}_{stored.id}",
                on_click="ignore",
                type="primary" if newest and file == PROGRAM_FILE else "secondary",
                icon=":material/download:",
                help=_HELP[file],
            )
        if not acting.permits(Action.DELETE, runs.owner(run.id)):
            return
        with st.popover("Delete", key=f"deploy_delete_{stored.id}"):
            st.markdown("Its files are deleted for good; downloaded copies are not affected.")
            st.button(
                "Delete the detector",
                type="primary",
                key=f"deploy_delete_yes_{stored.id}",
                on_click=_delete,
                args=(run.id, stored.id),
            )


def _agreement(found: Agreement) -> str:
    """How closely it agrees with the audit, and on which images that was measured."""
    difference = found.largest_difference
    close = f"the audit's to within {_tiny(difference)}" if difference else "the audit's exactly"
    if found.against == "reopened audit":
        return (
            f"The test images are gone: on {found.pictures} generated ones its scores match "
            f"{close}."
        )
    images = "image" if found.pictures == 1 else "images"
    text = f"On {found.pictures:,} test {images} its scores match {close}"
    if not (otherwise := found.decided_otherwise):
        return f"{text}."
    are = "is" if otherwise == 1 else "are"
    return f"{text}; {otherwise:,} right at the threshold {are} decided differently."


def _tiny(difference: float) -> str:
    """Written out and never rounded down: `0.000002`."""
    with localcontext(prec=1, rounding=ROUND_UP):
        return f"{+Decimal(str(difference)):f}"


def _delete(run_id: str, export_id: str) -> None:
    try:
        exports.delete_export(run_id, export_id)
    except GscError as error:
        st.session_state[_REFUSED] = str(error)


def example(stored: StoredExport) -> None:
    """The lines that use it, as its card has them."""
    st.header("Use it", anchor=False)
    st.markdown("Wherever PyTorch is installed:")
    st.code(stored.card.example, language="python", wrap_lines=True)


def watch() -> None:
    """The command that looks at new images with it."""
    st.header("Watch what it sees", anchor=False)
    st.markdown(
        "Familiar images may change: another camera, a new season, another customer. Show the "
        "detector new ones from time to time: it says whether more of them are flagged than the "
        "calibration promised. Check as often as you like: at most 5 in 100 such watches raise a "
        "false alarm."
    )
    st.code("gsc watch --detector detector.pt2 --images new-images", language="bash")
