"""A pattern is looked for in small steps, and in time linear in the memory, whatever it is."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest

from farpeek.errors import InvalidRequest
from farpeek.search import matchers
from farpeek.search.model import Hex, Regex
from farpeek.search.patterns import compile_pattern
from support.scanning import whole_find

MIB = 1 << 20
LONGEST = 4096
BASE = 0x1000

Untyped: TypeAlias = Any  # RE2 has no types


class _Counted:
    """An expression of RE2 that counts the bytes it is asked to look through."""

    def __init__(self, regexp: Untyped) -> None:
        self._regexp = regexp
        self.programsize: int = regexp.programsize
        self.asked: list[int] = []

    def search(self, buffer: Untyped, at: int = 0, stop: int | None = None) -> Untyped:
        stop = len(buffer) if stop is None else stop
        self.asked.append(stop - at)
        return self._regexp.search(buffer, at, stop)

    def match(self, buffer: Untyped, at: int, stop: int) -> Untyped:
        self.asked.append(stop - at)
        return self._regexp.match(buffer, at, stop)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[_Counted]:
    """The expressions that are made, in order."""
    found: list[_Counted] = []
    real: Any = matchers.re2

    def counted(*arguments: Untyped) -> _Counted:
        found.append(_Counted(real.compile(*arguments)))
        return found[-1]

    fake = SimpleNamespace(
        compile=counted, Options=real.Options, error=real.error, purge=real.purge
    )
    monkeypatch.setattr(matchers, "re2", fake)
    return found


@pytest.mark.parametrize("regex", ["1[01]{1000}2", "1[01]{60}2", "foo[a-z]+", "(?s)a.*b"])
def test_an_expression_is_asked_for_less_at_once_the_larger_it_is(
    made: list[_Counted], regex: str
) -> None:
    matcher = compile_pattern(Regex(regex), "little", 8)
    list(matcher.find(bytearray(MIB), BASE, 0, MIB))
    regexp = made[-1]
    # At each byte it takes each step at most once: 10 ns. That is 0.4 s at the very most.
    assert max(regexp.asked) * regexp.programsize <= 2 * LONGEST * 5000
    assert max(regexp.asked) <= max(2 * LONGEST, (4 * MIB) // regexp.programsize + LONGEST)
    assert sum(regexp.asked) <= 2 * MIB + LONGEST


def test_matches_that_are_too_long_cost_no_more_than_their_neighbourhood(
    made: list[_Counted],
) -> None:
    matcher = compile_pattern(Regex("(?s)a.*b"), "little", 8)
    content = bytearray(b"a" * 6000 + b"b" + bytes(MIB // 2 - 8001) + b"b" + bytes(1999))
    found = [each for each in matcher.find(content, BASE, 0, len(content)) if each is not None]
    assert found == [(6001 - LONGEST, 6001)]
    too_long = 6001 - LONGEST
    assert sum(made[-1].asked) <= 3 * LONGEST * (too_long + 1) + 4 * len(content)


def test_an_expression_of_too_many_steps_is_refused_with_its_cure() -> None:
    many = "|".join(f"1[01]{{{number}}}x" for number in range(900, 1000))
    with pytest.raises(InvalidRequest, match=r"95\d\d\d steps, and may be 5000.*repeat less"):
        compile_pattern(Regex(many), "little", 8)
    compile_pattern(Regex("x" * LONGEST), "little", 8)  # the longest that may be written


@pytest.mark.parametrize(
    "wanted",
    [
        [0, *[None] * 62, 0],
        [0, *[None] * 63, 0],
        [0, *[None] * 200, 1],
        [None, 0, *[None] * 90, 0, None, 1],
        [0, 1, *[None] * 100, 0, 0, 1],
    ],
)
def test_bytes_far_apart_are_found_where_memory_is_full_of_them(wanted: list[int | None]) -> None:
    content = bytearray(random.Random(1).choices(b"\0\0\0\1", k=5000))  # noqa: S311
    pattern = Hex(" ".join("??" if each is None else f"{each:02x}" for each in wanted))
    matcher = compile_pattern(pattern, "little", 8)
    found = [each for each in matcher.find(content, BASE, 0, len(content)) if each is not None]
    assert found
    assert found == whole_find(content, wanted)


def test_others_have_a_say_at_each_place_that_a_long_pattern_may_be_at() -> None:
    content = bytearray((b"\1" * 100 + bytes(100)) * 40)
    matcher = compile_pattern(Hex("01" + " ??" * 99 + " 01"), "little", 8)
    assert list(matcher.find(content, BASE, 0, len(content))).count(None) >= content.count(1) - 100
