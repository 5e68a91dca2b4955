"""Laws of what takes answers apart, in whatever parts they come."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpeek_api.client.events import EventParser
from farpeek_api.client.framing import read_result, split_frame
from farpeek_api.client.members import Members, Odd
from farpeek_api.client.pieces import Piece, PieceParser

if TYPE_CHECKING:
    from collections.abc import Iterable

KINDS = st.tuples(st.sampled_from(["data", "zeros", "gap"]), st.integers(1, 40))
PIECES = st.lists(KINDS, min_size=1, max_size=12)
CUTS = st.lists(st.integers(0, 2000), max_size=30)


def _parts(body: bytes, cuts: list[int]) -> Iterable[bytes]:
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    return [body[a:b] for a, b in pairwise(places) if a < b]


def _frame(shown: dict[str, Any], data: bytes = b"") -> bytes:
    text = json.dumps(shown).encode()
    return len(text).to_bytes(4, "big") + text + data


def _answer(kinds: list[tuple[str, int]]) -> tuple[bytes, list[tuple[int, str, bytes]], int]:
    at, body, sums = 0x1000, b"", dict.fromkeys(("data", "zeros", "gap"), 0)
    pieces: list[tuple[int, str, bytes]] = []
    for kind, length in kinds:
        data = bytes((at + n) % 256 for n in range(length)) if kind == "data" else b""
        reason = {"reason": "unmapped"} if kind == "gap" else {}
        body += _frame({"address": hex(at), "length": length, "kind": kind, **reason}, data)
        pieces.append((at, kind, data or bytes(length)))
        sums[kind] += length
        at += length
    done = {"done": True, "data": sums["data"], "zeros": sums["zeros"], "gaps": sums["gap"]}
    return body + _frame({**done, "generation": None}), pieces, at


def _joined(pieces: Iterable[Piece]) -> bytes:
    return b"".join(piece.data or bytes(piece.length) for piece in pieces)


@given(PIECES, CUTS)
def test_pieces_are_the_same_in_whatever_parts_they_come(
    kinds: list[tuple[str, int]], cuts: list[int]
) -> None:
    body, expected, end = _answer(kinds)
    parser = PieceParser([(0x1000, end)])
    found = [piece for part in _parts(body, cuts) for piece in parser.feed(part)]
    assert parser.is_done
    assert parser.left == []
    assert _joined(found) == b"".join(data for _, _, data in expected)
    at = 0x1000
    for piece in found:
        assert piece.address == at
        at += piece.length


@given(PIECES, st.data())
def test_what_is_left_of_a_cut_answer_is_just_what_has_not_come(
    kinds: list[tuple[str, int]], data: st.DataObject
) -> None:
    body, _, end = _answer(kinds)
    middle = data.draw(st.integers(0x1001, end)) if end > 0x1001 else end
    parser = PieceParser([each for each in [(0x1000, middle), (middle, end)] if each[0] < each[1]])
    found = parser.feed(body[: data.draw(st.integers(0, len(body) - 1))])
    assert not parser.is_done
    came = sum(piece.length for piece in found)
    assert sum(stop - start for start, stop in parser.left) == end - 0x1000 - came
    assert not parser.left or parser.left[0][0] == 0x1000 + came


@given(st.binary(max_size=200))
def test_noise_is_odd_and_nothing_else(noise: bytes) -> None:
    for take in (split_frame, PieceParser([(0, 1 << 20)]).feed, EventParser().feed):
        with suppress(Odd):
            take(noise)


@given(st.dictionaries(st.text(max_size=5), st.integers()), st.binary(max_size=50))
def test_a_frame_is_its_object_and_its_bytes(shown: dict[str, int], data: bytes) -> None:
    found, rest = split_frame(_frame(shown, data))
    assert found.all == shown
    assert bytes(rest) == data


@given(st.lists(st.integers(0, 2**63), max_size=8), CUTS)
def test_events_are_the_same_in_whatever_parts_they_come(
    numbers: list[int], cuts: list[int]
) -> None:
    text = b": hello\n\n" + b"".join(b"id: %d\nevent: lost\ndata: {}\n\n" % n for n in numbers)
    parser = EventParser()
    found = [event.number for part in _parts(text, cuts) for event in parser.feed(part)]
    assert found == numbers


def test_an_event_without_end_is_not_kept() -> None:
    parser = EventParser()
    for _ in range(15):
        parser.feed(b"x" * (1 << 16))
    with pytest.raises(Odd):
        parser.feed(b"x" * (2 << 16))


@pytest.mark.parametrize(
    ("stops", "data"), [(False, 3), (False, 5), (True, 3), (True, 1), (True, 4)]
)
def test_more_or_fewer_bytes_than_were_read_are_not_believed(*, stops: bool, data: int) -> None:
    gap = {"region": 0, "offset": 2, "address": "0x3", "length": 2, "reason": "unmapped"}
    counts = {"requested": 4, "read": 2, "generation": None, "began_ns": 1, "elapsed_us": 1}
    shown = Members(
        {**counts, "target": "t", "gaps": [{**gap, "retryable": False}], "backend": {"rung": "r"}}
    )
    right = 2 if stops else 4
    assert read_result(shown, bytes(right), [(1, 4)], stops=stops).data == bytes(right)
    with pytest.raises(Odd, match="other bytes"):
        read_result(shown, bytes(data), [(1, 4)], stops=stops)
