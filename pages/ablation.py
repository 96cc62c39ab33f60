"""What each part of GSC contributes on this model: the answer first, then curves and the paper."""

import streamlit as st

from gsc_core.ablation import Ablation
from gsc_core.ablation.findings import OUTDATED, Finding, answer, findings
from gsc_core.ablation.gain import Influence
from gsc_core.errors import GscError
from gsc_core.jobs import queue
from gsc_core.jobs.database import Kind
from gsc_core.run.stored import Run
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import ablations
from pages.parts.ablation.charts import factors, gradients, paper, surrogates
from pages.parts.shared import links
from pages.parts.shared.download import logged
from pages.parts.shared.job import job_progress
from pages.parts.shared.rights import READS_ONLY
from pages.parts.shared.run import chosen_run
from pages.parts.shared.text import SURROGATE, UNFAMILIAR, duration, plain

MARKS = {
    Influence.HELPS: ":green-badge[fewer accepted]",
    Influence.HURTS: ":red-badge[more accepted]",
}


def render() -> None:
    """Show the ablation of the run that the address asks for, or offer to start it."""
    run = chosen_run("ablation")
    if run is None:
        return
    try:
        found = _read(run.id, ablations.version(run.id))
    except GscError as error:
        st.error(plain(str(error)))
        found = None
    if found is None:
        _not_yet(run)
        return
    st.caption(f"**Ablation** · {plain(_subject(found))}")
    if found.outdated:
        st.warning(plain(OUTDATED))
    else:
        st.title(plain(answer(found)), anchor=False)
        _say(findings(found))
    factors(run.id, found)
    paper(found)
    gradients(found)
    surrogates(found)
    _basis(run, found)


# The version is the key: an ablation that was replaced is read again.
@st.cache_resource(max_entries=8, show_spinner=False)
def _read(run_id: str, version: int) -> Ablation | None:
    return ablations.ablation(run_id)


def _subject(found: Ablation) -> str:
    used = found.facts.images
    strangers = sum(used[name].used for name in found.ood_sets)
    return f"{used['id'].used:,} familiar images, {strangers:,} unfamiliar images"


def _say(told: list[Finding]) -> None:
    """What helps or hurts first, the rest below."""
    matters = [each for each in told if each.verdict in MARKS]
    rest = [each for each in told if each.verdict not in MARKS]
    if matters:
        st.markdown("**What matters here**")
        st.markdown(
            "\n".join(f"- {MARKS[each.verdict]} {plain(each.sentence)}" for each in matters)
        )
    if rest:
        st.markdown("**No clear difference, or nothing to choose between**")
        st.markdown("\n".join(f"- {plain(each.sentence)}" for each in rest))


def _not_yet(run: Run) -> None:
    st.title("What does each part of GSC contribute on this model?", anchor=False)
    st.markdown(
        "GSC switches off what a prediction relies on most and looks at what remains. An ablation "
        "changes one part of the method at a time (how much is cut, where, how it is chosen, how "
        "the score is read) and counts how many unfamiliar images are then accepted.",
        help=UNFAMILIAR,
    )
    if _at_work(run):
        return
    sizes = sum(ablations.images_used(run).values())
    st.caption(
        f"It looks at {sizes:,} of the audit's images, once for each of two layers: about "
        f"{duration(ablations.estimate(run))}. Its progress says what is left; you can close this "
        "page meanwhile."
    )
    _start(run, "Start the ablation")


def _at_work(run: Run) -> bool:
    """Show the ablation's job while it waits or runs, or how it ended; whether it is at work."""
    job = queue.latest(run.id, Kind.ABLATION)
    if job is None:
        return False
    job_progress(job.id, "ablation")
    return job.state in queue.WAITING


def _start(run: Run, text: str) -> None:
    if not acting.permits(Action.START):
        st.caption(READS_ONLY)
        return
    if not st.button(text, key="ablation_start", type="primary", icon=":material/play_arrow:"):
        return
    try:
        ablations.submit_ablation(run.id)
    except GscError as error:
        st.error(plain(str(error)))
        return
    st.rerun()


def _basis(run: Run, found: Ablation) -> None:
    st.header("What this rests on", anchor=False)
    facts = found.facts
    parts = [
        f"{'familiar' if name == 'id' else name}: {used.used:,}"
        + (f" of {used.of:,}" if used.used < used.of else "")
        for name, used in facts.images.items()
    ]
    text = f"Images: {', '.join(parts)}."
    if any(used.used < used.of for used in facts.images.values()):
        text += f" From larger sets a random sample was taken (seed {facts.seed})."
    layers = ", ".join(f"{layer.depth} {layer.name}" for layer in facts.layers)
    st.caption(
        plain(
            f"{text} Layers: {layers}. Directions are learned on surrogate images, unless a row "
            f"says otherwise. Intervals are 95 %. Took {duration(facts.seconds)}."
        ),
        help=SURROGATE,
    )
    if facts.excused:
        with st.expander(f"Settings left out: {len(facts.excused)}", key="ablation_excused"):
            for name, reason in facts.excused.items():
                st.markdown(plain(f"{name}: {reason}."))
    with st.container(horizontal=True):
        st.download_button(
            "Download as CSV",
            logged(
                lambda: str(found.table.to_csv(index=False)),
                "run",
                run.id,
                f"ablation-{run.id}.csv",
            ),
            file_name=f"ablation-{run.id}.csv",
            mime="text/csv",
            key="ablation_csv",
            icon=":material/download:",
        )
        st.page_link(
            links.to("results"),
            label="Back to the results",
            icon=":material/bar_chart:",
            query_params={"run": run.id},
        )
    if not _at_work(run):
        with st.expander("Run it again", expanded=found.outdated, key="ablation_again"):
            st.caption("Useful after the audit was repeated or the program was updated.")
            _start(run, "Start again")


# On a cold server Streamlit may run this file itself as an old-style page: start at the entry.
if __name__ == "__main__":
    from app import main

    main()
