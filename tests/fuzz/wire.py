"""What clients send, and what the client is answered."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

from pydantic import ValidationError

from farpeek.errors import InvalidRequest, TooLarge
from farpeek.model import ADDRESS_LIMIT, Backend, Gap, GapReason, ReadResult
from farpeek_api.client import framing
from farpeek_api.client.members import Odd
from farpeek_api.client.pieces import PieceParser
from farpeek_api.http import frames, memory_bodies, render, schema
from farpeek_api.http.bulk import parse_range
from farpeek_api.http.refusals import BadRange
from farpeek_api.stream import messages
from fuzz.choices import Choices

MOST_REGIONS = 65_536
ID = "1-abc"


def json_reads(data: bytes) -> None:
    """A body becomes as many regions as it has addresses, or it is refused."""
    with suppress(ValidationError, InvalidRequest, TooLarge):
        memory_bodies.check_columns(data, MOST_REGIONS)
        regions = memory_bodies.ReadRequest.model_validate_json(data).spec().regions
        assert all(0 <= each < ADDRESS_LIMIT for each in regions.addresses)
        assert all(0 <= each < ADDRESS_LIMIT for each in regions.lengths)
    with suppress(ValidationError, InvalidRequest, TooLarge):
        memory_bodies.check_reads(data, MOST_REGIONS)
        request = memory_bodies.ManyReadsRequest.model_validate_json(data)
        assert len(request.specs()) == len(request.reads)


def json_others(data: bytes) -> None:
    """Writes and pieces cross over, or are refused."""
    with suppress(ValidationError, InvalidRequest, TooLarge):
        spec = memory_bodies.WriteRequest.model_validate_json(data).spec()
        assert all(isinstance(piece, bytes) for piece in spec.data)
    with suppress(ValidationError, InvalidRequest):
        for start, end in memory_bodies.PiecesRequest.model_validate_json(data).spans():
            assert 0 <= start < ADDRESS_LIMIT > end >= 0


def iov(data: bytes) -> None:
    """Pairs that a body has are the pairs that the client would write."""
    try:
        regions = frames.regions(data)
    except InvalidRequest:
        assert len(data) % 16
        return
    pairs = list(zip(regions.addresses, regions.lengths, strict=True))
    assert framing.pack_regions(pairs) == data


def stream_messages(data: bytes) -> None:
    """A message is one, or it is known as far as can be whose broken one it is."""
    number, target, kind = messages.origin(data)
    assert number is None or -(2**63) <= number < ADDRESS_LIMIT
    assert target is None or len(target) <= schema.LONGEST_TARGET
    assert kind in messages.VERBS_OF_KINDS
    with suppress(ValidationError, InvalidRequest, TooLarge):
        message = messages.parse(data, MOST_REGIONS)
        assert type(message) in messages.VERBS


def ranges(data: bytes) -> None:
    """A Range is what the client wrote, or refused; addresses beyond the last one count as that."""
    values = data.decode("utf-8", "surrogateescape").split("\n")
    with suppress(BadRange):
        first, end = parse_range(values)
        assert len(values) == 1
        assert 0 <= first < 10 * ADDRESS_LIMIT > end > 0  # the service refuses those beyond
        if first < ADDRESS_LIMIT >= end:
            assert parse_range([f"bytes={first}-{end - 1}"]) == (first, end)


def frames_in(data: bytes) -> None:
    """Any bytes are a frame with a read in it, or Odd."""
    with suppress(Odd):
        shown, rest = framing.split_frame(data)
        result = framing.read_result(shown, bytes(rest), [(4096, 8), (8192, 3)], stops=False)
        assert result.requested == len(result.data) == 11
        assert result.read <= result.requested


def frames_through(data: bytes) -> None:
    """What the service writes of a read is what the client reads of it."""
    choices = Choices(data)
    regions = [
        (choices.number(ADDRESS_LIMIT), choices.number(20)) for _ in range(1 + choices.number(4))
    ]
    requested = sum(length for _, length in regions)
    gaps = [
        Gap(number, 0, address, length, choices.pick(list(GapReason)))
        for number, (address, length) in enumerate(regions)
        if length and choices.yes()
    ]
    content = choices.take(requested).ljust(requested, b"\0")
    result = ReadResult(
        content,
        requested,
        requested - sum(gap.length for gap in gaps),
        gaps,
        Backend("native", "fuzzed"),
        began_ns=choices.number(2**63),
        generation=choices.number(9) or None,
    )
    told = b"[%b]" % render.gaps(gaps)
    text = frames.before_data(ID, result) + frames.behind_data(result, told, 7)
    shown, rest = framing.split_frame(frames.message(text, content))
    got = framing.read_result(shown, bytes(rest), regions, stops=False)
    assert (got.data, got.read, got.generation) == (content, result.read, result.generation)
    assert [(each.region, each.address, each.length) for each in got.gaps] == [
        (each.region, each.address, each.length) for each in gaps
    ]


def pieces(data: bytes) -> None:
    """An answer in pieces says the same however it is cut, and is never longer than was asked."""
    choices = Choices(data)
    cut = [choices.number(64) for _ in range(3)]
    answer = choices.rest()
    ends = [0, *sorted(cut), len(answer)]
    assert _fed([answer]) == _fed([answer[start:end] for start, end in pairwise(ends)])


def _fed(parts: list[bytes]) -> tuple[object, ...]:
    parser = PieceParser([(4096, 4096 + 64), (1 << 20, (1 << 20) + 32)])
    try:
        for part in parts:
            for piece in parser.feed(part):
                assert piece.length <= 64
    except Odd:
        return ("odd",)
    sums = parser.sums
    assert sums.data + sums.zeros + sums.gaps <= 64 + 32
    return sums, parser.left, parser.is_done
