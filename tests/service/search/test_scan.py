"""Chunks, holes and zeros change nothing of what is found."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farpeek.model import Mode
from farpeek.search.model import Hex, Regex
from support.scanning import Laid, expected, scan, stretches

PARTS = st.lists(
    st.builds(
        Laid,
        st.sampled_from(["data", "data", "zeros", "gap"]),
        st.lists(st.sampled_from(b"\0ab"), min_size=1, max_size=90).map(bytes),
    ),
    max_size=8,
)


@settings(max_examples=300, deadline=None)
@given(
    PARTS,
    st.lists(st.sampled_from([None, 0, 97, 98]), min_size=1, max_size=5).filter(
        lambda wanted: any(each is not None for each in wanted)
    ),
    st.sampled_from(Mode),
    st.integers(0, 4),
)
def test_bytes_are_found_where_they_are(
    laid: list[Laid], wanted: list[int | None], mode: Mode, context: int
) -> None:
    pattern = Hex(" ".join("??" if each is None else f"{each:02x}" for each in wanted))
    assert scan(laid, pattern, mode, context, chunk=40) == expected(laid, wanted, mode)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.builds(
            lambda kind, unit, times: Laid(kind, unit * times),
            st.sampled_from(["data", "data", "data", "gap", "zeros"]),
            st.binary(min_size=1, max_size=6),
            st.integers(1, 2500),
        ),
        max_size=6,
    ),
    st.sampled_from([rb"ab+", rb"[a-z]+", rb"\bword\b", rb"\x00\x00[\x01-\xff]", rb"a.{0,9}b"]),
)
def test_expressions_find_what_they_do_in_the_whole(laid: list[Laid], text: bytes) -> None:
    found = scan(laid, Regex(text.decode()), Mode.NOWAIT, 3, chunk=9000)
    whole = [
        (at + match.start(), at + match.end())
        for at, content in stretches(laid, Mode.NOWAIT)
        for match in re.finditer(text, content)
    ]
    # A match ends after 4,096 bytes; what re finds in one go is then found in several.
    if all(end - start <= 4096 for start, end in whole):
        assert found == whole
    else:
        assert all(end - start <= 4096 for start, end in found)


@pytest.mark.parametrize("at", range(33, 48))
def test_bytes_that_run_over_the_end_of_a_chunk_are_found_once(at: int) -> None:
    content = b"\xff" * at + b"needle" + b"\xff" * 80
    found = scan([Laid("data", content)], Hex(b"needle".hex(" ")), Mode.NOWAIT, 4, chunk=40)
    assert found == [(at, at + 6)]


@pytest.mark.parametrize("at", [*range(8986, 9004), 4904, 4905, 4906, 13_000])
def test_an_expression_is_found_once_over_the_end_of_a_chunk(at: int) -> None:
    content = b"." * at + b"abbbbbbbbb" + b"." * 12_000
    assert scan([Laid("data", content)], Regex("ab+"), Mode.NOWAIT, 3, chunk=9000) == [
        (at, at + 10)
    ]


@pytest.mark.parametrize("size", [3000, 4096])
def test_matches_of_an_expression_never_overlap_whatever_the_chunk(size: int) -> None:
    """One that a chunk has decided is not begun again inside of it by the next."""
    content = b"." * 3000 + (b"a" * (size - 1) + b".") * 6
    wanted = [(3000 + n * size, 3000 + (n + 1) * size - 1) for n in range(6)]
    assert scan([Laid("data", content)], Regex("a+"), Mode.NOWAIT, 3, chunk=9000) == wanted
