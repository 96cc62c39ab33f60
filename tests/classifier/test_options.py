"""Arguments of an architecture's constructor, as they are typed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsc_core.classifier.options import format_options, parse_options, split_options
from gsc_core.errors import SpecError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("aux_logits=false", False),
        ("aux_logits=False", False),
        ("img_size=96", 96),
        ("img_size=[96,64]", [96, 64]),
        ("drop_rate=0.5", 0.5),
        ("global_pool=avg", "avg"),
        ('global_pool="avg"', "avg"),
        ("act_layer=null", None),
        ("act_layer=None", None),
    ],
)
def test_values(text: str, value: object) -> None:
    (found,) = parse_options([text]).values()
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "texts",
    [["aux"], ["=1"], ["a="], ["a b=1"], ["a=1", "a=2"], ['a={"b": 1}'], ["a=" + "x" * 101]],
)
def test_what_is_no_option(texts: list[str]) -> None:
    with pytest.raises(SpecError):
        parse_options(texts)


def test_options_in_one_line() -> None:
    typed = "--option transform_input=true,  img_size=[96, 64] --option global_pool = avg"
    expected = {"transform_input": True, "img_size": [96, 64], "global_pool": "avg"}
    assert parse_options(split_options(typed)) == expected
    with pytest.raises(SpecError, match="'nonsense'"):
        parse_options(split_options("aux_logits=true nonsense"))


@given(
    st.dictionaries(
        st.from_regex(r"[a-z_]{1,8}", fullmatch=True),
        st.booleans() | st.integers(-9, 999) | st.lists(st.integers(0, 99), max_size=3) | st.none(),
        max_size=4,
    )
)
def test_a_line_of_options_is_read_as_it_was_written(options: dict[str, object]) -> None:
    assert parse_options(split_options(format_options(options))) == options
