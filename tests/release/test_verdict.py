"""The interval decides, and the gravest outcome is the verdict."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gsc_core.evaluation.intervals import Interval
from gsc_core.release.verdict import Judged, Outcome, Verdict

thousandths = st.integers(-1000, 2000)


@given(thousandths, thousandths, thousandths, st.booleans())
def test_a_limit_is_kept_or_broken_by_the_whole_interval(one, other, limit, at_most):
    """Told from whole numbers, exactly at the limit included."""
    low, high = sorted((one, other))
    within = {x <= limit if at_most else x >= limit for x in (low, high)}
    wanted = {(True,): Outcome.MET, (False,): Outcome.BROKEN}.get(tuple(within), Outcome.UNSURE)
    figure = Interval(low / 1000, low / 1000, high / 1000)
    assert Outcome.of(figure, limit / 1000, at_most=at_most) is wanted


def test_rounding_of_floats_breaks_no_limit():
    summed = 0.1 + 0.2  # 0.30000000000000004
    assert Outcome.of(Interval(summed, 0.1, summed), 0.3, at_most=True) is Outcome.MET
    assert Outcome.of(Interval(0.3, 0.3, 0.5), summed, at_most=False) is Outcome.MET


@given(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_the_gravest_outcome_is_the_verdict(kept, broken, unsure):
    parts = [(Outcome.MET, kept), (Outcome.BROKEN, broken), (Outcome.UNSURE, unsure)]
    rules = [Judged(f"{o} {i}", "at most 1 %", "2 %", o, "") for o, n in parts for i in range(n)]
    verdict = Verdict(tuple(rules))
    if not rules:
        return
    total = len(rules)
    if broken:
        assert verdict.outcome is Outcome.BROKEN
        assert "breaks" in verdict.headline
    elif unsure:
        assert verdict.outcome is Outcome.UNSURE
        assert "cannot be decided yet" in verdict.headline
    else:
        assert verdict.outcome is Outcome.MET
        assert verdict.sentence == verdict.headline
    assert ("the one limit" if total == 1 else str(total)) in verdict.headline
    assert f"{unsure} more cannot be decided yet." in verdict.sentence or not (broken and unsure)


def test_the_sentence_names_what_stands_against_a_pass():
    figure = Interval(0.02, 0.02, 0.02)
    broken = [
        Judged(f"Limit {i}", "at most 1 %", "2.0 %", Outcome.BROKEN, "", i, figure)
        for i in range(5)
    ]
    unsure = Judged("Doubt", "at most 1 %", "no figure", Outcome.UNSURE, "The run has no set x.")
    assert Verdict((*broken, unsure)).sentence == (
        "This model breaks 5 of 6 limits of the release policy. Limit 0: 2.0 %, required: at most "
        "1 %. Limit 1: 2.0 %, required: at most 1 %. Limit 2: 2.0 %, required: at most 1 %. And 2 "
        "more. 1 more cannot be decided yet."
    )
    assert Verdict((*[replace(b, outcome=Outcome.MET) for b in broken], unsure)).headline == (
        "This model breaks none of 6 limits of the release policy, but 1 cannot be decided yet."
    )
    assert Verdict((unsure,)).sentence == (
        "Whether this model meets the one limit of the release policy cannot be decided yet. "
        "Doubt: The run has no set x."
    )
