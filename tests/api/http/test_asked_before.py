"""Bodies that were asked before: what was made of the very same bytes, and of few of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from farpeek_api.http.asked_before import AskedBefore


@given(st.lists(st.binary(max_size=2)))
def test_what_is_found_was_made_of_the_very_same_bytes(bodies: list[bytes]) -> None:
    asked = AskedBefore[list[bytes]]()
    for body in bodies:
        made = asked.find(bytearray(body))
        assert made in (None, [body])
        if made is None:
            asked.keep(bytearray(body), [body])
        assert asked.find(body) == [body]


def test_the_eight_that_were_asked_for_last_are_kept_and_none_that_is_large() -> None:
    asked = AskedBefore[int]()
    for number in range(10):
        asked.keep(b"%d" % number, number)
        assert asked.find(b"0") == 0, "what is asked for stays"
    kept = [number for number in range(10) if asked.find(b"%d" % number) is not None]
    assert kept == [0, *range(3, 10)]
    asked.keep(b" " * (32 << 10), 1)
    assert asked.find(b" " * (32 << 10)) == 1
    asked.keep(b" " * ((32 << 10) + 1), 1)
    assert asked.find(b" " * ((32 << 10) + 1)) is None
