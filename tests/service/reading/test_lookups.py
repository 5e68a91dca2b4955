"""Lists of processes, which may take long, stand in nobody's way."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from farpeek.errors import TooBusy
from farpeek.identity import Match
from farpeek.targets import processes
from support.targets import start
from support.waiting import aio_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farpeek.memory import MemoryService


class Slow:
    """A function of `processes` that does not go on until it is let; it counts its calls."""

    def __init__(self, name: str) -> None:
        self._inner = getattr(processes, name)
        self._may_go = threading.Event()
        self.calls = 0

    def __call__(self, *arguments: object) -> object:
        self.calls += 1
        self._may_go.wait()
        return self._inner(*arguments)

    def let_go(self) -> None:
        self._may_go.set()


@contextmanager
def slow(monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[Slow]:
    """Stand for a host with thousands of processes."""
    made = Slow(name)
    monkeypatch.setattr(processes, name, made)
    try:
        yield made
    finally:
        made.let_go()


async def test_registering_and_asking_for_a_target_do_not_wait_for_lists(
    service: MemoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start("plain") as target, slow(monkeypatch, "find") as find:
        lists = [
            asyncio.ensure_future(service.processes(Match(comm=f"none-{number}")))
            for number in range(30)
        ]
        await aio_until(lambda: find.calls >= 2, "lists are under way")
        async with asyncio.timeout(60):
            snapshot, created = await service.register(target.pid)
            assert created
            assert (await service.target(snapshot.id)).identity.pid == target.pid
        assert not any(each.done() for each in lists)
        find.let_go()
        assert await asyncio.gather(*lists) == [[]] * 30


async def test_equal_lists_that_are_asked_for_meanwhile_are_one(
    service: MemoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    with slow(monkeypatch, "find") as find:
        first = asyncio.ensure_future(service.processes(Match(comm="plain")))
        await aio_until(lambda: find.calls == 1, "one is under way")
        with start("plain") as target:
            others = [
                asyncio.ensure_future(service.processes(Match(comm="plain"))) for _ in range(50)
            ]
            others[0].cancel()
            await asyncio.sleep(0)
            find.let_go()
            await first
            for found in await asyncio.gather(*others[1:]):
                # It began before they asked, so they get one that has not passed it by.
                assert target.pid in [each.identity.pid for each in found]
        assert find.calls == 2


async def test_a_target_is_shown_as_it_is_known_when_it_cannot_be_looked_at_again(
    service: MemoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start("plain") as target:
        snapshot, _ = await service.register(target.pid)
        with slow(monkeypatch, "refresh"):
            async with asyncio.timeout(60):
                shown = await asyncio.gather(*(service.target(snapshot.id) for _ in range(40)))
            assert shown == [snapshot] * 40


async def test_who_finds_the_line_for_lists_full_is_told_that_and_nothing_of_the_kernel(
    service: MemoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    with slow(monkeypatch, "find") as find:
        lists = [
            asyncio.ensure_future(service.processes(Match(comm=f"none-{number}")))
            for number in range(67)
        ]
        with pytest.raises(TooBusy, match="64 requests wait for the threads that list processes"):
            await asyncio.gather(*lists)
        find.let_go()
        await asyncio.gather(*lists, return_exceptions=True)
