"""How the threshold is set: the rule, and what that rule needs to be told.

What a rule was told is in the address, and comes back when that rule is chosen again.
"""

import streamlit as st

from gsc_core.evaluation.thresholds import F1, CatchOod, Cost, KeepId, Rule, Youden
from gsc_core.run import decisions

RULE, SHARE = "threshold_rule", "threshold_share"
STRANGERS, RATIO = "threshold_strangers", "threshold_ratio"
BY_HAND = "typed"
RULES = {
    "keep_id": "Keep familiar pictures",
    "catch_ood": "Catch strangers",
    "youden": "Widest gap",
    "f1": "Best balance",
    "cost": "Least cost",
    BY_HAND: "By hand",
}
MEANING = {
    "keep_id": "The share of familiar pictures you choose passes; only calibration pictures set "
    "this threshold.",
    "catch_ood": "The share of strangers you choose is flagged, whatever that costs of familiar "
    "pictures.",
    "youden": "The share of familiar pictures that pass lies as far as it can above that of "
    "strangers.",
    "f1": "Many strangers are caught, and of all that is flagged much is strange: the best of both "
    "together.",
    "cost": "The mistakes you expect are as cheap as they can be.",
    BY_HAND: "You choose the score yourself.",
}
LEAST, MOST = 50.0, 99.9  # percent that can be asked for
RAREST = 0.1  # strangers in 1,000 pictures
DEAREST = 1e6  # times as bad


def begin(rule: Rule) -> None:
    """Let the controls hold what a rule holds."""
    st.session_state[RULE] = rule.name
    st.session_state[SHARE] = _share(rule)
    st.session_state[STRANGERS] = _strangers(rule)
    st.session_state[RATIO] = _ratio(rule)


def chosen(start: Rule) -> Rule | None:
    """The rule that the controls ask for, `start` until somebody moves them; None by hand."""
    match _asked_name(start):
        case "keep_id":
            return KeepId(share=_asked_share("Share to keep", start))
        case "catch_ood":
            return CatchOod(share=_asked_share("Share to catch", start))
        case "youden":
            return Youden()
        case "f1":
            return F1(prevalence=_asked_prevalence(start))
        case "cost":
            return _asked_cost(start)
        case _:
            return None


def _asked_name(start: Rule) -> str:
    name = st.segmented_control(
        "How it is set",
        list(RULES),
        default=start.name,
        format_func=RULES.__getitem__,
        required=True,
        wrap=True,
        key=RULE,
        bind="query-params",
        help="Keep familiar pictures: the conformal quantile of the calibration scores. Widest "
        "gap: Youden's index. Best balance: F1. Least cost: the least expected cost. All but the "
        "first and the last look at one half of the strangers; what they do is told of the other.",
    )
    asked = name or start.name  # an empty value in the address chooses nothing
    st.caption(MEANING[asked])
    return asked


def _asked_share(label: str, start: Rule) -> float:
    percent = st.slider(
        label,
        min_value=LEAST,
        max_value=MOST,
        value=_share(start),
        step=0.1,
        format="%.1f %%",
        key=SHARE,
        bind="query-params",
        width=480,
    )
    return percent / 100


def _asked_prevalence(start: Rule) -> float:
    count = st.number_input(
        "Of 1,000 pictures, how many are strangers?",
        min_value=RAREST,
        max_value=1000 - RAREST,
        value=_strangers(start),
        step=1.0,
        format="%g",
        key=STRANGERS,
        bind="query-params",
        width=480,
        help="What you expect where the classifier will work (prevalence). The rarer strangers "
        "are, the more of all alarms are false ones.",
    )
    return (count or _strangers(start)) / 1000


def _asked_cost(start: Rule) -> Cost:
    left, right = st.columns(2, vertical_alignment="bottom")
    with left:
        ratio = st.number_input(
            "How bad is a stranger that passes, compared to a familiar picture flagged?",
            min_value=1 / DEAREST,
            max_value=DEAREST,
            value=_ratio(start),
            step=1.0,
            format="%g",
            key=RATIO,
            bind="query-params",
            help="10: one stranger that passes unnoticed is as bad as ten false alarms.",
        )
    with right:
        prevalence = _asked_prevalence(start)
    return Cost(miss=ratio or _ratio(start), alarm=1, prevalence=prevalence)


def _share(rule: Rule) -> float:
    """In percent; rules without a share start at what is kept by default."""
    share = rule.share if isinstance(rule, KeepId | CatchOod) else decisions.KEEP
    return min(max(round(100 * share, 1), LEAST), MOST)


def _strangers(rule: Rule) -> float:
    """In 1,000 pictures; rules that expect none start at ten."""
    expected = 1000 * rule.prevalence if isinstance(rule, F1 | Cost) else 10.0
    return min(max(round(expected, 6), RAREST), 1000 - RAREST)


def _ratio(rule: Rule) -> float:
    return rule.miss / rule.alarm if isinstance(rule, Cost) else 10.0
