"""A system that lets only one thread be: pools hand it to one another."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from farpeek.identity import Match
from farpeek.memory import MemoryService
from farpeek.model import Limits, ReadSpec, Regions
from support.targets import start

if TYPE_CHECKING:
    import pytest


async def test_a_single_thread_serves_all_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = threading.active_count() + 1
    really_start = threading.Thread.start

    def start_one(thread: threading.Thread) -> None:
        if threading.active_count() >= allowed:
            raise RuntimeError("can't start new thread")
        really_start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_one)
    service = await MemoryService.open(Limits(deadline_s=10))
    try:
        with start("plain") as target:
            for _ in range(3):
                snapshot, _ = await service.register(target.pid)
                spec = ReadSpec(Regions([target["marker"]], [8]))
                with service.lease(spec) as lease:
                    assert (await service.read(snapshot.id, spec, lease)).complete
                assert await service.processes(Match(comm="plain"))
                assert (await service.maps(snapshot.id)).views
    finally:
        await asyncio.wait_for(service.close(5), 10)
