"""Bodies of searches, what they answer, and scans of any memory."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

from pydantic import ValidationError

from farpeek.errors import InvalidRequest
from farpeek.model import Mode
from farpeek.search.model import LONGEST_MATCH, Hex
from farpeek.search.patterns import compile_pattern
from farpeek.search.places import check
from farpeek_api.client.members import Odd
from farpeek_api.client.searches import LineParser
from farpeek_api.http.search_bodies import parse
from fuzz.choices import Choices
from support.scanning import Laid, expected, scan


def search_bodies(data: bytes) -> None:
    """A body becomes a search whose pattern is bounded, or it is refused by a member."""
    with suppress(ValidationError, InvalidRequest):
        spec = parse(data)
        check(spec)
        matcher = compile_pattern(spec.pattern, "little", 8)
        assert 0 < matcher.longest <= LONGEST_MATCH
        for match in matcher.find(bytearray(data), 4096, 0, len(data)):
            assert match is None or 0 <= match[0] < match[1] <= len(data)


def search_lines(data: bytes) -> None:
    """An answer says the same however it is cut."""
    choices = Choices(data)
    cut = [choices.number(64) for _ in range(3)]
    answer = choices.rest()
    ends = [0, *sorted(cut), len(answer)]
    assert _fed([answer]) == _fed([answer[start:end] for start, end in pairwise(ends)])


def _fed(parts: list[bytes]) -> tuple[object, ...]:
    parser = LineParser()
    try:
        found = [item for part in parts for item in parser.feed(part)]
    except Odd:
        return ("odd",)
    return (*found, parser.is_done)


def scans(data: bytes) -> None:
    """What is found in chunks is what is there, whatever memory is made of."""
    choices = Choices(data)
    wanted = [choices.pick([None, 0, 97, 98]) for _ in range(1 + choices.number(5))]
    if all(each is None for each in wanted):
        return
    mode = choices.pick(list(Mode))
    laid = [
        Laid(choices.pick(["data", "zeros", "gap"]), choices.take(1 + choices.number(80)))
        for _ in range(choices.number(8))
    ]
    pattern = Hex(" ".join("??" if each is None else f"{each:02x}" for each in wanted))
    context = choices.number(4)
    assert scan(laid, pattern, mode, context, chunk=48) == expected(laid, wanted, mode)
