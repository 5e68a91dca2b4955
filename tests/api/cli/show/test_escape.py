"""Text that others chose does nothing to a terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpeek_api.cli.show.escape import cut, cut_left, one_line, safe, width


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ruby", "ruby"),
        ("größe 鯨", "größe 鯨"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\nb\tc\x7f\x9b", r"a\x0ab\x09c\x7f\x9b"),
        ("exe.\u202etxt", r"exe.\u202etxt"),
        ("\u2066x\u200bx\ufeff", r"\u2066x\u200bx\ufeff"),
        ("\udc80", r"\udc80"),
        ("\U000e0041", r"\U000e0041"),
        (r"a\x1b", r"a\\x1b"),
    ],
)
def test_what_is_not_shown_as_itself_is_escaped(text: str, shown: str) -> None:
    assert safe(text) == shown


@given(st.text())
def test_nothing_that_is_shown_controls_anything(text: str) -> None:
    for shown in (safe(text), one_line(text)):
        assert not {unicodedata.category(each) for each in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@given(st.text().map(safe), st.text().map(safe))
def test_different_texts_are_shown_differently(one: str, other: str) -> None:
    assert (safe(one) == safe(other)) == (one == other)


@given(st.text().map(safe), st.integers(0, 30))
def test_a_text_is_cut_to_the_columns_there_are(text: str, columns: int) -> None:
    for shown in (cut(text, columns), cut_left(text, columns)):
        assert width(shown) <= columns
        assert shown == text or "~" in shown or not columns


def test_wide_signs_take_two_columns_and_marks_none() -> None:
    assert width("鯨") == 2
    assert width("e\u0301") == 1
