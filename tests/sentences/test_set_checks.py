"""What is said of the image sets: a sentence for each thing, and less once images are left out."""

import pytest
from stored_run import write_run

from gsc_core.run import decisions
from gsc_core.run.revised import revised
from gsc_core.run.stored import Revision, Run
from gsc_core.sentences.set_checks import NOTHING, in_short, limits, notices

PAIRS = [{"row": 400 + at, "of": at, "likeness": 0.99} for at in range(3)]
LEAK = {"set": "id", "of": "calibration", "images": 900, "tested": 1000, "near": 5000}


def run_with(folder, **noticed) -> Run:
    return Run.load(write_run(folder, set_checks={"limit": 0.9, **noticed}))


@pytest.fixture
def run(tmp_path) -> Run:
    copies = {"set": "textures", "of": "id", "images": 3, "tested": 120, "near": 9, "looked_at": 9}
    doubt = {"row": 60, "label": 1, "predicted": 2, "confidence": 0.9, "self_confidence": 0.1}
    return run_with(
        tmp_path / "a",
        copies=[copies | {"pairs": PAIRS}, LEAK | {"looked_at": 2000}],
        familiar_looking=[{"set": "noise", "images": 2, "tested": 120, "rows": [500, 501]}],
        labels={"images": 1, "labelled": 250, "doubts": [doubt]},
    )


def test_each_thing_is_a_sentence_with_its_counts(run):
    said = [notice.sentence for notice in notices(run)]
    assert said[0].startswith("3 of 120 images of textures are nearly the same as familiar test")
    assert said[1].startswith("At least 900 of 1,000 familiar test images are nearly the same as c")
    assert said[2].startswith("2 of 120 images of noise look familiar in every respect")
    assert said[3].startswith("1 of 250 labels is likely wrong")
    assert limits(run) == tuple(said)
    assert [notice.mistaken for notice in notices(run)] == [True, True, False, False]


def test_a_line_for_the_command_line(run, tmp_path):
    assert in_short(run) == (
        "The image sets, worth a look: 3 near copies of familiar test images among the images of "
        "textures; 900 near copies of calibration images among the familiar test images; "
        "2 images of noise look familiar in every respect; 1 label is likely wrong."
    )
    assert in_short(run_with(tmp_path / "b")) == NOTHING
    assert in_short(Run.load(write_run(tmp_path / "c"))) is None
    assert limits(run_with(tmp_path / "d")) == ()


def test_what_is_left_out_is_no_more_to_be_looked_at(run):
    fewer = revised(run, Revision(without=frozenset({400, 401, 402, 500, 60})))
    said = [notice.sentence for notice in notices(fewer)]
    assert len(said) == 2 and said[1].startswith("1 of 120 images of noise looks familiar")
    assert decisions.current(fewer) is not None
