"""Searches by the client: typed, as they come, and known for whole or cut off."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from farpeek_api.client import (
    AsyncClient,
    Client,
    Invalid,
    SearchDone,
    SearchMatch,
    TargetExited,
)
from farpeek_api.client.members import Odd
from farpeek_api.client.searches import LineParser
from support.targets import Target, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.wire import Served

MIB = 1 << 20


@pytest.fixture(scope="module")
def searched() -> Iterator[Target]:
    with start("searched") as target:
        for offset in (50, 8 * MIB - 3):
            assert target.command(f"put {offset} needle") == "ok"
        yield target


def test_matches_are_iterated_and_the_last_item_says_how_it_ended(
    served: Served, searched: Target
) -> None:
    first = searched["area"]
    with Client(f"unix:{served.path}") as peek, peek.target(searched.pid) as target:
        items = list(target.search("needle", ranges=[(first, first + 9 * MIB)], context=3))
        found = [each for each in items if isinstance(each, SearchMatch)]
        assert [each.address - first for each in found] == [50, 8 * MIB - 3]
        for each in found:
            assert (each.length, each.before, each.data) == (6, 3, b"needle")
            assert each.mapping is not None
            assert each.mapping.start <= each.address < each.mapping.end
        done = items[-1]
        assert isinstance(done, SearchDone)
        assert (done.matches, done.stopped, done.skipped) == (2, None, 0)
        again = target.search(b"needle", within=[found[1].address], mode="wait")
        assert [each.address for each in again if isinstance(each, SearchMatch)] == [
            found[1].address
        ]
        with pytest.raises(Invalid):
            list(target.search({"regex": "a*"}))
        with pytest.raises(Invalid):
            list(target.search("x", ranges=[(0, 1)], mappings={"perms": "r"}))


async def test_the_asynchronous_client_finds_the_same(served: Served, searched: Target) -> None:
    first = searched["area"]
    async with (
        AsyncClient(f"unix:{served.path}") as peek,
        await peek.target(searched.pid) as target,
    ):
        found = [
            each.address - first
            async for each in target.search({"hex": "6e 65 65 64 ?? 65"}, mappings={"perms": "r"})
            if isinstance(each, SearchMatch) and first <= each.address < first + 16 * MIB
        ]
        assert found == [50, 8 * MIB - 3]


def test_a_target_that_has_exited_is_a_problem_before_the_first_item(served: Served) -> None:
    with start("searched") as process, Client(f"unix:{served.path}") as peek:
        target = peek.target(process.pid)
        process.end()
        with pytest.raises(TargetExited):
            next(iter(target.search("x")))


def test_lines_are_the_same_in_whatever_parts_they_come() -> None:
    match = {"address": "0x10", "length": 1, "mapping": None, "context": "YQ==", "before": 0}
    end = {"matches": 1, "bytes": 5, "skipped": 0, "stopped": None}
    text = b"".join(
        json.dumps(each).encode() + b"\n"
        for each in ({"match": match}, {"later": 1}, {"done": end})
    )
    for size in range(1, len(text) + 1):
        parser = LineParser()
        items = [
            item for at in range(0, len(text), size) for item in parser.feed(text[at : at + size])
        ]
        assert [type(each) for each in items] == [SearchMatch, SearchDone]
        assert parser.is_done
    for odd in (b"[]\n", b'{"match": {}}\n', text + b'{"progress": {}}\n', b"x" * (2 << 20)):
        with pytest.raises(Odd):
            LineParser().feed(odd)
