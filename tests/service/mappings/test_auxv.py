"""The auxiliary vector, whose words tell how large pointers are."""

from __future__ import annotations

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpeek.mappings import auxv

AT_PAGESZ = 6
PAGE = os.sysconf("SC_PAGE_SIZE")
ENTRIES = st.dictionaries(st.integers(7, 60), st.integers(1, 2**32 - 1), max_size=45)


@pytest.mark.parametrize(("size", "letter"), [(8, "Q"), (4, "I")])
@given(entries=ENTRIES, cut=st.integers(0, 15))
def test_a_vector_of_words_of_either_size_is_read_whole(
    size: int, letter: str, entries: dict[int, int], cut: int
) -> None:
    vector = {AT_PAGESZ: PAGE, **entries}
    content = b"".join(struct.pack(f"={letter}{letter}", *each) for each in vector.items())
    assert auxv.parse(content + bytes(2 * size) + b"\xff" * cut) == (size, vector)


@given(st.binary(max_size=400))
def test_what_has_no_size_of_a_page_is_no_vector(content: bytes) -> None:
    size, vector = auxv.parse(content)
    assert (size is None) == (vector == {})
    assert size is None or vector[AT_PAGESZ] == PAGE
