"""Numbers in words: what adds up in the figures adds up in the text."""

from hypothesis import example, given
from hypothesis import strategies as st

from gsc_core.evaluation.counts import in_1000, summed

PARTS = st.floats(0, 0.499)


@given(PARTS, PARTS)
@example(0.1374, 0.0952)  # 137 and 95 of 233
@example(0.0004, 0.0004)
@example(0.0006, 0.0006)
@example(0.0, 0.0)
def test_two_parts_add_up_to_their_sum(first, second):
    total, *parts = summed(first, second)
    assert total == in_1000(first + second)
    for said, share in zip(parts, (first, second), strict=True):
        if said == "fewer than 1":
            assert 0 < share < 0.0015
        else:
            assert abs(int(said) - 1000 * share) <= 1.5
            assert (int(said) > 0) or share == 0
    if not any("than" in said for said in (total, *parts)):
        assert int(total) == sum(map(int, parts))
