"""How the threshold is set: the rule, and the numbers it asks for.

What a rule was given is in the address, and comes back when that rule is chosen again.
"""

import streamlit as st

from gsc_core.evaluation import thresholds
from gsc_core.evaluation.thresholds import (
    Control,
    ThresholdRule,
)

RULE = "threshold_rule"


def key_of(control: Control) -> str:
    """The widget's key, and the number's name in the address."""
    return f"threshold_{control.key}"


def begin(rule: ThresholdRule) -> None:
    """Let the controls hold what a rule holds."""
    st.session_state[RULE] = rule.name
    for kind in thresholds.RULES:
        for control in kind.controls:
            st.session_state[key_of(control)] = _start(control, rule)


def chosen(start: ThresholdRule) -> ThresholdRule | None:
    """The rule that the controls ask for, `start` until somebody moves them; None by hand."""
    kind = _asked_kind(start)
    if kind.by_hand:
        return None
    answers: dict[str, float] = {}
    if kind.controls:
        columns = st.columns(len(kind.controls), vertical_alignment="bottom")
        for column, control in zip(columns, kind.controls, strict=True):
            with column:
                answers[control.key] = _asked(control, start)
    return kind.answered(answers)


def _asked_kind(start: ThresholdRule) -> type[ThresholdRule]:
    kinds = thresholds.kinds()
    name = st.pills(  # joined buttons look torn where they take two lines
        "How it is set",
        list(kinds),
        default=start.name,
        format_func=lambda name: kinds[name].title,
        required=True,
        wrap=True,
        key=RULE,
        bind="query-params",
        help=_help(),
    )
    asked = kinds[name or start.name]  # an empty value in the address chooses nothing
    st.caption(asked.meaning)
    return asked


def _help() -> str:
    """What the rules are called in the field, and which of them use unfamiliar images."""
    methods = [f"{kind.title}: {kind.method}." for kind in thresholds.RULES if kind.method]
    *some, last = (kind.title for kind in thresholds.RULES if kind.needs_ood)
    return (
        f"{' '.join(methods)} {', '.join(some)} and {last} use one half of the unfamiliar "
        "images; their effect is shown on the other half."
    )


def _asked(control: Control, start: ThresholdRule) -> float:
    """One number, from a slider or typed; an emptied field asks for what it began with."""
    begun = _start(control, start)
    ask = st.slider if control.slider else st.number_input
    number = ask(
        control.label,
        min_value=float(control.low),
        max_value=float(control.high),
        value=begun,
        step=float(control.step),
        format=control.format,
        key=key_of(control),
        bind="query-params",
        width=480,
        help=control.help,
    )
    return begun if number is None else float(number)


def _start(control: Control, rule: ThresholdRule) -> float:
    """What a rule has of this number, as it can be asked for; rules without it start elsewhere."""
    number = rule.answers().get(control.key, control.start)
    return control.within(float(f"{number:.9g}"))  # 100 * 0.57 is 56.99999999999999
