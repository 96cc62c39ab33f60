"""What is said about a threshold: counts, promises and doubts."""

import numpy as np
import pytest
from decided import effect_of, stored_run

from gsc_core.evaluation import counts
from gsc_core.evaluation.selective import selective
from gsc_core.evaluation.thresholds import (
    F1,
    CatchOod,
    Cost,
    KeepId,
    Typed,
    Youden,
    promise,
)
from gsc_core.run.decisions import Decision
from gsc_core.run.stored import Run
from gsc_core.sentences import outcomes
from gsc_core.sentences import threshold as words


def test_refusing_in_words():
    right = np.arange(1000) >= 60
    scores = np.where(np.arange(1000) < 40, 1.0, 0.0)  # 40 of the 60 wrong ones are flagged
    said = outcomes.refusing_sentence(selective(right, scores, 0.5))
    assert "accepted familiar images, 979 are classified correctly (95 % interval 968 to" in said
    assert "987), instead of 940" in said
    assert "40 of 1,000 are flagged" in said
    nothing = outcomes.refusing_sentence(selective(right, scores, 1.0))
    assert "940 are classified correctly" in nothing
    assert "as many as when none is flagged; 0 of 1,000" in nothing
    random = outcomes.area_sentence(selective(right, np.zeros(1000), 0))
    assert "60 of 1,000 accepted images are classified wrongly; if" in random
    assert random.endswith("at random, 60 would be.")
    few = selective(np.ones(80), np.arange(80) >= 49, 0.5)  # 612.5 and 387.5 of 1,000
    assert "388 of 1,000 are flagged" in outcomes.refusing_sentence(few)
    assert "388 are flagged" in words.familiar_sentence(effect_of((49, 80)))


def test_what_a_rule_with_prevalence_leads_to():
    found = effect_of((950, 1000), a=(200, 1000), b=(400, 1000))
    (alarms,) = F1(prevalence=0.1).outcomes(found)
    assert alarms == (
        "Of 1,000 images with 100 unfamiliar images among them, expect 70 unfamiliar images and "
        "45 familiar "
        "images to be flagged, and 30 unfamiliar images to be accepted."
    )
    rare = Cost(miss=10, alarm=2, prevalence=0.0001)
    alarms, costs = rare.outcomes(found)
    assert alarms.startswith("Of 100,000 images with 10 unfamiliar images among them, expect 7 ")
    # 3 missed at 10 and 5 % of 99,990 at 2
    assert costs == (
        "That costs 10,029, where accepting an unfamiliar image costs 10 and flagging a familiar "
        "image 2; flagging nothing would cost 100, flagging everything 199,980."
    )
    assert KeepId(share=0.9).outcomes(found) == ()


@pytest.mark.parametrize(
    ("prevalence", "said"),
    [
        (0.5, "Of 1,000 images with 500 unfamiliar images"),
        (0.01, "Of 1,000 images with 10 unfamiliar images"),
        (0.0015, "Of 10,000 images with 15 unfamiliar images"),
        (0.001, "Of 10,000 images with 10 unfamiliar images"),
        (0.0001, "Of 100,000 images with 10 unfamiliar images"),
    ],
)
def test_a_stream_is_long_enough_to_count_its_strangers(prevalence, said):
    (alarms,) = F1(prevalence=prevalence).outcomes(effect_of((9, 10), a=(1, 2)))
    assert alarms.startswith(said)


def test_one_stranger_is_one_and_half_a_stranger_is_not_none():
    def alarms(passed, of):
        found = effect_of((999, 1000), a=(passed, of))
        return F1(prevalence=0.01).outcomes(found)[0]

    assert "expect 9 unfamiliar images and 1 familiar image to be flagged" in alarms(1, 10)
    assert alarms(1, 10).endswith("and 1 unfamiliar image to be accepted.")
    assert alarms(1, 20).endswith("and fewer than 1 unfamiliar image to be accepted.")  # 0.5
    assert alarms(0, 20).endswith("and 0 unfamiliar images to be accepted.")


def test_no_price_or_share_is_said_with_an_exponent_or_rounded_to_all():
    cheap = Cost(miss=1e-6, alarm=1, prevalence=0.01)
    text = cheap.outcomes(effect_of((10, 10), a=(1, 2)))[1]
    assert text.startswith(
        "That costs 0.000005, where accepting an unfamiliar image costs 0.000001 and f"
    )
    assert (
        "accepting an unfamiliar image being 1,000,000 times as bad as"
        in Cost(miss=1e6, alarm=1, prevalence=0.01).words()
    )
    assert (
        "flagging a familiar image being 1,000,000 times as bad as accepting an unfamiliar image"
        in (cheap.words())
    )
    assert KeepId(share=0.99999).words() == "accept 99.999 % of familiar images"


def test_every_rule_has_its_words():
    said = {
        "accept 95 % of familiar images": KeepId(share=0.95),
        "catch 99.9 % of unfamiliar images": CatchOod(share=0.999),
        "widest gap between familiar and unfamiliar images": Youden(),
        "best balance of unfamiliar images caught and correct alarms (F1), expecting 1 unfamiliar "
        "image in 1,000": F1(prevalence=0.001),
        "least cost, accepting an unfamiliar image being 2.5 times as bad as flagging a familiar "
        "image, expecting 10 unfamiliar images in 1,000": Cost(miss=5, alarm=2, prevalence=0.01),
        "set by hand": Typed(value=1),
    }
    for text, rule in said.items():
        assert rule.words() == text
    equal = Cost(miss=2, alarm=2, prevalence=0.01).words()
    assert "being as bad as" in equal


def test_counts_are_said_of_1000():
    found = effect_of((951, 1000), textures=(312, 1000))
    assert words.familiar_sentence(found) == (
        "Of 1,000 familiar images, 951 are accepted (95 % interval 900 to 970) and 49 are flagged."
    )
    assert (
        "1,000 unfamiliar images from textures, 312 would be accepted"
        in words.strangers_sentence(found)
    )
    found = effect_of((951, 1000), a=(1, 10), b=(5, 10), c=(3, 10))
    said = words.strangers_sentence(found)
    assert "300 would be accepted, the mean of 3 sets" in said
    assert "fewest from a (100), most from b (500)" in said
    said = words.strangers_sentence(effect_of((951, 1000), a=(0, 10), b=(0, 20)))
    assert said == "Of 1,000 unfamiliar images, 0 would be accepted, the same from each of 2 sets."


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0, "0"),
        (0.0001, "fewer than 1"),
        (1 / 2000, "fewer than 1"),
        (1999 / 2000, "more than 999"),
        (0.9999, "more than 999"),
        (1, "1,000"),
        (0.5, "500"),
    ],
)
def test_a_rare_event_is_not_rounded_away(share, said):
    assert counts.in_1000(share) == said


def test_what_passes_and_what_is_flagged_make_a_thousand():
    """49 of 80 are 612.5 of 1,000, and 31 are 387.5."""
    for n in (80, 160, 2000):
        for k in range(1, n):
            passing, flagged = counts.parted(k / n)
            if passing.isdigit():
                assert int(passing) + int(flagged) == 1000
                assert abs(int(passing) - 1000 * k / n) <= 0.5 + 1e-9
    said = words.familiar_sentence(effect_of((49, 80)))
    assert "612 are accepted" in said
    assert "388 are flagged" in said


def test_an_interval_is_not_rounded_to_none_or_all():
    assert counts.between(0.0, 0.0002) == "0 to fewer than 1"
    assert counts.between(0.0001, 0.002) == "0 to 2"
    assert counts.between(0.9998, 0.9999) == "more than 999 to 1,000"
    assert counts.between(0.928, 0.968) == "928 to 968"


KEEP_90 = KeepId(share=0.9)


def basis(run: Run, known: tuple[int, int], detector="msp", rule=KEEP_90) -> str:
    made = Decision(detector=detector, rule=rule, value=0.0)
    return words.basis_sentence(run, made, effect_of(known, a=(1, 2)))


def test_what_was_promised_stands_beside_what_was_shown(home):
    run = stored_run(home)
    said = basis(run, (903, 1000))
    assert "The 50 calibration images" in said
    assert "at least 900 of 1,000" in said  # nothing of MSP is learned: exact
    assert "showed 903: the promise holds" in said
    assert "showed 700, fewer than that" in basis(run, (700, 1000))
    assert "Either this is chance" in basis(run, (700, 1000))
    assert "more than that" in basis(run, (1000, 1000))
    assert "same unfamiliar images" in basis(run, (900, 1000), rule=Youden())
    assert "by hand" in basis(run, (900, 1000), rule=Typed(value=1.0))


def test_a_detector_that_learns_promises_less_and_one_without_held_out_scores_nothing(home):
    run = stored_run(home, detectors={"msp": 1.0, "knn": 1.0, "of-later": 1.0})
    for name in ("knn", "of-later"):
        assert "on average about 900 of 1,000" in basis(run, (903, 1000), name)
    few = stored_run(home, "few", detectors={"msp": 1.0, "knn": 1.0}, in_sample=["knn"])
    said = basis(few, (400, 1000), "knn")
    assert "nothing is promised" in said
    assert "differ from" not in said
    assert "at least 900" in basis(few, (903, 1000))


def test_the_band_and_the_verdict_never_contradict_each_other_when_rounded(home):
    """A share just under the band that is said with the same number does not break the promise."""
    run = stored_run(home)
    low = promise(50, 0.9, 100_000).low
    passed = round(low * 100_000) - 1
    said = basis(run, (passed, 100_000))
    assert f"may show {round(1000 * low)} to" in said
    assert f"showed {round(1000 * low)}: the promise holds" in said


def test_too_few_calibration_pictures_are_told():
    warned = words.shortage(KeepId(share=0.999), 200)
    assert warned is not None
    assert "999 calibration images" in warned
    assert "has 200" in warned
    assert words.shortage(KeepId(share=0.95), 19) is None
    assert words.shortage(KeepId(share=0.95), 18) is not None
    assert words.shortage(Youden(), 1) is None
