"""Watching a share: error rates by simulation and exactly, the closed form by integration."""

import math
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import betaln
from scipy.stats import beta, betabinom, binom

from gsc_core.errors import SpecError
from gsc_core.evaluation.sequential import Calibrated, log_evidence, risen, share_between
from gsc_core.evaluation.thresholds import keep_id, youden

ALPHA = 0.05
NEVER = 10**9


@cache
def alarms(calibrated, pictures, alpha=ALPHA):
    """The fewest flagged images `[images+1]` that raise the alarm after each number of them."""
    seen = np.arange(pictures + 1)
    low, high = np.zeros(pictures + 1, int), seen + 1
    while (low < high).any():
        middle = (low + high) // 2
        evidence = log_evidence(calibrated, np.minimum(middle, seen), seen, alpha)
        enough = (evidence >= -math.log(alpha)) & (middle <= seen)
        high = np.where(enough, middle, high)
        low = np.where(enough, low, np.minimum(middle + 1, high))
    return np.where(high <= seen, high, NEVER)


def chance_of_alarm(calibrated, shares, pictures, alpha=ALPHA):
    """Exactly, looking after every image, for each true share: by following all counts."""
    at, shares = alarms(calibrated, pictures, alpha), np.asarray(shares)[:, None]
    most = int(at[at < NEVER].max(initial=0))
    chances = np.zeros((len(shares), most + 2))  # of each count, no alarm raised yet
    chances[:, 0] = 1
    raised = np.zeros(len(shares))
    for seen in range(1, pictures + 1):
        chances[:, 1:] = chances[:, 1:] * (1 - shares) + chances[:, :-1] * shares
        chances[:, 0] *= 1 - shares[:, 0]
        raised += chances[:, at[seen] :].sum(axis=1)
        chances[:, at[seen] :] = 0
    return raised


def raised_at(calibrated, share, pictures, rng):
    """After how many new images, flagged with this chance, the alarm is raised; 0 if never."""
    flagged = np.cumsum(rng.random(pictures) < share)
    over = flagged >= alarms(calibrated, pictures)[1:]
    return int(over.argmax()) + 1 if over.any() else 0


def at_most(alpha, repeats):
    """What a share of errors of at most alpha can show by chance in so many repeats (4 sigma)."""
    return alpha + 4 * math.sqrt(alpha * (1 - alpha) / repeats)


@pytest.mark.parametrize(("images", "share"), [(50, 0.9), (200, 0.95), (1000, 0.95)])
def test_false_alarms_of_a_conformal_threshold_calibrated_anew_each_time(images, share):
    """2,000 repeats of calibration and of 3,000 looks."""
    rng, repeats = np.random.default_rng(images), 2000
    found = 0
    for _ in range(repeats):
        scores = rng.exponential(size=images)
        threshold = keep_id(scores, share)
        calibrated = Calibrated(int((scores > threshold).sum()), images)
        found += raised_at(calibrated, math.exp(-threshold), 3000, rng) > 0
    assert 0 < found / repeats <= at_most(ALPHA, repeats)


@pytest.mark.slow
def test_false_alarms_of_a_conformal_threshold_on_tied_scores():
    rng, repeats, images = np.random.default_rng(5), 2000, 60
    found = 0
    for _ in range(repeats):
        scores = rng.geometric(0.2, size=images).astype(float)
        threshold = keep_id(scores, 0.9)
        calibrated = Calibrated(int((scores > threshold).sum()), images)
        found += raised_at(calibrated, 0.8**threshold, 1500, rng) > 0
    assert 0 < found / repeats <= at_most(ALPHA, repeats)


@pytest.mark.slow
def test_false_alarms_of_a_typed_threshold():
    """2,000 repeats: the threshold stays, so its count in the calibration set is binomial."""
    rng, repeats = np.random.default_rng(2), 2000
    for images, share in ((200, 0.05), (100, 0.3)):
        found = 0
        for flagged in rng.binomial(images, share, repeats):
            found += raised_at(Calibrated(int(flagged), images), share, 2000, rng) > 0
        assert 0 < found / repeats <= at_most(ALPHA, repeats)


@pytest.mark.slow
@pytest.mark.parametrize("images", [5, 20, 60])
def test_the_error_of_a_typed_threshold_exactly(images):
    """Over all counts that calibration can show, for true shares of every size."""
    shares = np.array([0.003, 0.01, 0.03, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97])
    error = sum(
        binom.pmf(f, images, shares) * chance_of_alarm(Calibrated(f, images), shares, 600)
        for f in range(images)
    )
    assert (error <= ALPHA).all()
    assert error.max() > 0.005


@pytest.mark.slow
def test_false_alarms_of_a_threshold_searched_for():
    """Youden's threshold takes what luck flatters: the cautious bound is needed, and holds."""
    rng, repeats, images = np.random.default_rng(3), 2000, 60
    cautious = plain = 0
    for _ in range(repeats):
        known, strange = rng.normal(size=images), rng.normal(size=images) + 0.5
        threshold = youden(known, {"a": strange})
        share = 0.5 * math.erfc(threshold / math.sqrt(2))
        count = int((known > threshold).sum())
        state = rng.bit_generator.state
        cautious += raised_at(Calibrated(count, images, searched=True), share, 1500, rng) > 0
        rng.bit_generator.state = state
        plain += raised_at(Calibrated(count, images), share, 1500, rng) > 0
    assert cautious / repeats <= at_most(ALPHA, repeats)
    assert cautious < plain


@pytest.mark.parametrize(
    ("images", "times", "within", "found"),
    [(200, 3, 250, 0.9), (200, 2, 1500, 0.9), (1000, 2, 800, 0.9), (1000, 3, 200, 0.9)],
)
def test_drifts_are_found(images, times, within, found):
    """From 5 % outside to two and three times as many: a lower bound of the power, exact."""
    calibrated = Calibrated(images // 20 - 1, images)
    assert chance_of_alarm(calibrated, [0.05 * times], within)[0] >= found


@pytest.mark.parametrize("searched", [False, True])
@pytest.mark.parametrize(("f", "n"), [(0, 30), (9, 200), (49, 1000), (600, 1000)])
def test_any_share_above_the_promise_is_found_in_the_end(f, n, searched):
    """And one a little below it never is, however many images say so."""
    calibrated = Calibrated(f, n, searched)
    seen, bound = 10**8, calibrated.most(ALPHA)
    for share, found in ((bound + 0.002, True), (bound - 0.002, False)):
        evidence = float(log_evidence(calibrated, share * seen, seen, ALPHA))
        assert risen(evidence, ALPHA) is found


def test_a_searched_threshold_still_finds_a_large_drift():
    calibrated = Calibrated(100, 1000, searched=True)
    assert chance_of_alarm(calibrated, [0.3], 400)[0] > 0.95
    assert chance_of_alarm(calibrated, [calibrated.most(ALPHA)], 400)[0] <= ALPHA / 2


def integral(function, low, high):
    """By quadrature, in pieces, without an absolute tolerance: the chances are tiny."""
    ends = np.linspace(low, high, 5)
    return sum(quad(function, *piece, epsabs=0, limit=200)[0] for piece in pairwise(ends))


@pytest.mark.parametrize(("f", "n"), [(0, 20), (3, 40), (30, 100)])
@pytest.mark.parametrize(("m", "seen"), [(0, 1), (1, 1), (2, 10), (9, 30), (30, 30)])
def test_the_evidence_by_numerical_integration(f, n, m, seen):
    """The chance of the sequence by what is staked on, over its chance where nothing changed."""
    known, jeffreys = beta(f + 1, n - f), beta(0.5, 0.5)
    showed, bound = (f + 0.5) / n, known.ppf(1 - ALPHA / 2)

    def chance(prior):
        return lambda p: p**m * (1 - p) ** (seen - m) * prior.pdf(p)

    soon = integral(chance(jeffreys), showed, 1) / jeffreys.sf(showed)
    surely = integral(chance(known), bound, 1) / known.sf(bound)
    expected = (0.25 * soon + 0.75 * surely) / integral(chance(known), 0, 1)
    evidence = float(log_evidence(Calibrated(f, n), m, seen, ALPHA))
    assert evidence == pytest.approx(math.log(expected), abs=1e-6)

    calibrated = Calibrated(f, n, searched=True)
    bound = calibrated.most(ALPHA)
    beyond = integral(chance(jeffreys), bound, 1) / jeffreys.sf(bound)
    expected = beyond / (bound**m * (1 - bound) ** (seen - m)) / 2
    evidence = float(log_evidence(calibrated, m, seen, ALPHA))
    assert evidence == pytest.approx(math.log(expected), abs=1e-6)


@pytest.mark.parametrize(("f", "n", "seen"), [(0, 30, 7), (4, 80, 60), (50, 200, 500)])
def test_its_mean_is_one_where_nothing_has_changed(f, n, seen):
    """A fair game: the mean over the beta-binomial counts, and over binomial ones at the bound."""
    m = np.arange(seen + 1)
    evidence = np.exp(log_evidence(Calibrated(f, n), m, seen, ALPHA))
    assert evidence @ betabinom(seen, f + 1, n - f).pmf(m) == pytest.approx(1)
    searched = Calibrated(f, n, searched=True)
    evidence = np.exp(log_evidence(searched, m, seen, ALPHA))
    assert evidence @ binom(seen, searched.most(ALPHA)).pmf(m) == pytest.approx(0.5)


COUNTS = st.integers(1, 2000).flatmap(
    lambda n: st.tuples(st.integers(0, n), st.just(n), st.booleans())
)


@settings(max_examples=60, deadline=None)
@given(COUNTS, st.integers(1, 3000))
def test_more_flagged_pictures_never_lower_the_evidence(counts, seen):
    m = np.arange(seen + 1)
    evidence = log_evidence(Calibrated(*counts), m, seen, ALPHA)
    assert not np.isnan(evidence).any()
    with np.errstate(invalid="ignore"):  # both −inf
        assert not (np.diff(evidence) < -1e-9).any()


@settings(max_examples=60, deadline=None)
@given(COUNTS, st.integers(1, 3000))
def test_an_alarm_shows_more_than_was_promised(counts, seen):
    """No one reads of a rise beside a share that lies below the promise."""
    calibrated = Calibrated(*counts)
    below = math.floor(calibrated.most(ALPHA) * seen)
    assert not risen(float(log_evidence(calibrated, min(below, seen), seen, ALPHA)), ALPHA)


@pytest.mark.parametrize("f", [0, 1, 500, 9_999, 10_000])
def test_a_million_pictures(f):
    """Numbers stay numbers, and agree with the sum of the single steps' logs where they are few."""
    seen = 10**6
    for searched in (False, True):
        calibrated = Calibrated(f, 10_000, searched)
        m = np.array([0, 1, seen // 20, seen // 2, seen - 1, seen])
        evidence = log_evidence(calibrated, m, seen, ALPHA)
        assert not np.isnan(evidence).any()
        assert (evidence < np.inf).all()
    everything = float(log_evidence(Calibrated(f, 10_000), seen, seen, ALPHA))
    if f < 9_999:
        assert everything > 100
    if f == 10_000:
        assert everything == 0
    low, high = share_between(f, seen, ALPHA)
    assert low <= f / seen <= high < low + 0.01


@pytest.mark.slow
def test_the_confidence_sequence_holds_at_every_look():
    """2,000 repeats of 150 looks: the true share is outside at any time in at most 5 %."""
    rng, repeats, looks = np.random.default_rng(4), 2000, 150
    bounds = {}
    for share in (0.1, 0.5):
        missed = 0
        for flips in rng.random((repeats, looks)) < share:
            for seen, m in enumerate(np.cumsum(flips).tolist(), 1):
                if (m, seen) not in bounds:
                    bounds[m, seen] = share_between(m, seen, ALPHA)
                low, high = bounds[m, seen]
                if not low <= share <= high:
                    missed += 1
                    break
        assert 0 < missed / repeats <= at_most(ALPHA, repeats)


def test_the_bounds_of_the_share_are_where_the_mixture_says():
    """By a fine grid of shares, at each of which the mixture's evidence is taken directly."""
    grid = (np.arange(200_000) + 0.5) / 200_000
    for m, seen in ((0, 0), (0, 10), (3, 10), (10, 10), (40, 1000)):
        mixture = betaln(m + 0.5, seen - m + 0.5) - betaln(0.5, 0.5)
        inside = grid[mixture - m * np.log(grid) - (seen - m) * np.log1p(-grid) < -np.log(ALPHA)]
        assert share_between(m, seen, ALPHA) == pytest.approx((inside[0], inside[-1]), abs=1e-5)


def test_what_calibration_promises():
    """Clopper and Pearson's bound: where so few flagged have just the chance alpha/2."""
    promised = Calibrated(9, 200).most(ALPHA)
    assert binom.cdf(9, 200, promised) == pytest.approx(ALPHA / 2)
    assert Calibrated(0, 10).most(ALPHA) == pytest.approx(1 - 0.025**0.1)
    assert Calibrated(10, 10).most(ALPHA) == 1
    searched = Calibrated(9, 200, searched=True).most(ALPHA)
    assert math.exp(-2 * 200 * (searched - 9 / 200) ** 2) == pytest.approx(ALPHA / 2)


@pytest.mark.parametrize(("f", "n"), [(3, 2), (-1, 5), (0, 0), (0, 10**400)])
def test_impossible_counts_are_refused(f, n):
    with pytest.raises(SpecError, match="export the detector again"):
        Calibrated(f, n)
