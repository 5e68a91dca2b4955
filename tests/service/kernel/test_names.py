"""Names that others chose: what is shown is that name's alone, and JSON can hold it."""

from __future__ import annotations

import json
import re

from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from farpeek.kernel import names

_TRICKY = [b"\\", b"x", b"5c", b"ff", b"\xff", b"\\xff", b"\\x5c", b"\x0b", b"\r", b"\xc2\x85"]
_SURROGATE = b"\xed\xb2\x80"

any_name = st.one_of(
    st.binary(max_size=24).filter(lambda name: b"\0" not in name),
    st.lists(st.sampled_from([*_TRICKY, _SURROGATE]), max_size=8).map(b"".join),
)


def meant(text: str) -> bytes:
    """Read back what is shown, as docs/http.md says."""
    return re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), text.encode())


@given(any_name)
def test_what_is_shown_is_one_name_and_no_other(name: bytes) -> None:
    text = names.shown(name)
    assert meant(text) == name
    assert json.loads(to_json(text)) == text


@given(st.text(max_size=24))
def test_a_name_in_utf8_is_shown_as_it_is(name: str) -> None:
    if not re.search(r"\\x[0-9a-f]{2}", name):
        assert names.shown(name.encode()) == name
