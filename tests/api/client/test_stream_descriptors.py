"""A stream has a descriptor of its own, if there is one, and touches nobody else's."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import TYPE_CHECKING, NoReturn

import pytest
import uvloop

from farpeek_api.client import AsyncClient, Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek_api.client.stream import AsyncStream
    from farpeek_api.client.subscriptions import AsyncSubscription
    from support.sample import Sample
    from support.wire import Served


@pytest.mark.parametrize(
    "loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
def test_a_client_that_is_closed_ends_its_stream_and_no_other_that_gets_the_descriptor(
    loop: Callable[[], asyncio.AbstractEventLoop], served: Served, target: str, sample: Sample
) -> None:
    async def begin(peek: AsyncClient, stream: AsyncStream) -> AsyncSubscription:
        known = await peek.target(target)
        ticks = stream.subscribe(known, [(sample.address, 4)], hz=50)
        assert await ticks.get(60) is not None
        return ticks

    async def take_all(ticks: AsyncSubscription) -> None:
        while await ticks.get(60) is not None:
            pass

    async def close_one_and_open_another() -> None:
        peek = AsyncClient(f"unix:{served.path}")
        stream = peek.stream()
        await stream.__aenter__()
        ticks = await begin(peek, stream)
        await peek.close()
        with pytest.raises(Interrupted):
            await take_all(ticks)
        async with AsyncClient(f"unix:{served.path}") as next_one, next_one.stream() as another:
            following = await begin(next_one, another)
            await stream.close()
            for _ in range(10):
                assert await following.get(60) is not None

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(close_one_and_open_another())


def test_a_stream_that_gets_no_descriptor_goes_on_without(
    served: Served, target: str, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[object] = []

    def refuse(self: socket.socket) -> NoReturn:
        tried.append(self)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async def read_some() -> None:
        async with AsyncClient(f"unix:{served.path}") as peek, peek.stream() as stream:
            known = await peek.target(target)
            for offset in range(10):
                result = await stream.readv(known, [(sample.address + offset, 4)])
                assert result.data == sample.bytes(offset, 4)

    monkeypatch.setattr(socket.socket, "dup", refuse)
    asyncio.run(asyncio.wait_for(read_some(), 60))
    assert tried
