"""What a run says of itself."""

import pytest
from stored_run import write_run

from gsc_core.run.stored import Run
from gsc_core.sentences.run import answer


@pytest.mark.parametrize(("familiar", "unfamiliar"), [(19, 40), (40, 6), (3, 2)])
def test_shares_of_a_few_images_are_said_to_be_of_a_few(tmp_path, familiar, unfamiliar):
    run = Run.load(write_run(tmp_path / "few", n=familiar, m=unfamiliar))
    said = answer(run)
    assert f"Too few to judge by: only {familiar} familiar and {3 * unfamiliar} unfamiliar" in said


def test_from_twenty_on_the_counts_stand_alone(tmp_path):
    said = answer(Run.load(write_run(tmp_path / "some", n=20, m=10)))
    assert "Too few" not in said and said.endswith("familiar images are accepted.")
