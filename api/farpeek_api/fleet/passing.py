"""One request passed on to the service, and its answer back: whole, in parts, or both ways."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

import httpcore2

from farpeek_api.bus import messages, problems
from farpeek_api.bus.problems import Refusal
from farpeek_api.fleet.broker import Gone
from farpeek_api.fleet.service import SWITCHING
from farpeek_api.fleet.transfers import Buffer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farpeek_api.bus.catalogue import Route
    from farpeek_api.bus.messages import Terms
    from farpeek_api.fleet.service import Exchange, LocalService
    from farpeek_api.fleet.transfers import Answer, Part

_WITHOUT_BODY: Final = (204, 304)
_FIRST_PROBLEM: Final = 400
_READ: Final = 64 << 10


async def ask(
    service: LocalService,
    route: Route,
    asked: Mapping[str, str],
    body: bytes,
    client: str,
    terms: Terms,
) -> Exchange:
    """Put a request, in the time that it has. Raises Refusal."""
    terms.check_time()
    try:
        async with asyncio.timeout(terms.timeout_s):
            return await service.begin(route, asked, body, client)
    except TimeoutError:
        if route.changes:
            raise Refusal(
                problems.OUTCOME_UNKNOWN,
                f"the service has not answered within {terms.timeout_s:g} s, and may still do it: "
                "look before you send it again",
            ) from None
        raise Refusal(
            problems.DEADLINE, f"the service has not answered within {terms.timeout_s:g} s"
        ) from None


async def back(route: Route, exchange: Exchange, part: Part, terms: Terms) -> None:
    """Pass an answer on. Raises Refusal, Gone."""
    headers = _headers(exchange)
    if exchange.status == SWITCHING:
        await _both_ways(exchange, part, headers)
    elif route.method == "HEAD" or exchange.status in _WITHOUT_BODY:
        await part.answer.end(b"", messages.COMPLETE, headers)
    elif _is_small(exchange, part.answer) or not terms.credit:
        await _at_once(exchange, part.answer, headers)
    else:
        await _in_parts(exchange, part.answer, headers)


def _headers(exchange: Exchange) -> dict[str, str]:
    headers = {messages.STATUS: str(exchange.status), **exchange.passed_on}
    if exchange.status >= _FIRST_PROBLEM:
        headers[messages.ERROR] = "see the problem"
        headers[messages.ERROR_CODE] = str(exchange.status)
    return headers


def _is_small(exchange: Exchange, answer: Answer) -> bool:
    return exchange.size is not None and exchange.size <= answer.room


async def _at_once(exchange: Exchange, answer: Answer, headers: Mapping[str, str]) -> None:
    """Pass on what is one message."""
    whole = bytearray()
    async for each in exchange.parts():
        whole += each
        if len(whole) > answer.room:
            raise Refusal(
                problems.TOO_LARGE,
                f"the service has answered with status {exchange.status}, and more than the "
                f"{answer.room} bytes of one message: ask with `{messages.CREDIT}`",
            )
    await answer.end(bytes(whole), messages.COMPLETE, headers)


async def _in_parts(exchange: Exchange, answer: Answer, headers: Mapping[str, str]) -> None:
    await answer.send(b"", headers)
    buffer = Buffer(answer.room)
    filling = asyncio.create_task(_fill(buffer, exchange))
    try:
        await _empty(buffer, answer)
    finally:
        await _over(filling)


async def _fill(buffer: Buffer, exchange: Exchange) -> None:
    try:
        async for each in exchange.parts():
            await buffer.put(each)
    except Refusal as refusal:
        buffer.end(refusal)
    else:
        buffer.end()


async def _empty(buffer: Buffer, answer: Answer) -> None:
    while payload := await buffer.take():
        await answer.send(payload, {})
    await answer.end(b"", messages.COMPLETE, {})


async def _both_ways(exchange: Exchange, part: Part, headers: Mapping[str, str]) -> None:
    """Pass bytes on in both directions, until one of them ends."""
    await part.answer.send(b"", headers)
    stream = exchange.stream
    buffer = Buffer(part.answer.room)
    filling = asyncio.create_task(_listen(buffer, stream))
    speaking = asyncio.create_task(_speak(stream, part))
    emptying = asyncio.create_task(_empty(buffer, part.answer))
    try:
        done, _ = await asyncio.wait({speaking, emptying}, return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            each.result()
    finally:
        await _over(filling, speaking, emptying)
        with contextlib.suppress(httpcore2.NetworkError, OSError):
            await stream.aclose()


async def _listen(buffer: Buffer, stream: httpcore2.AsyncNetworkStream) -> None:
    with contextlib.suppress(httpcore2.NetworkError, httpcore2.TimeoutException, OSError):
        while came := await stream.read(_READ, None):
            await buffer.put(came)
    buffer.end()


async def _speak(stream: httpcore2.AsyncNetworkStream, part: Part) -> None:
    """Pass on what the client sends, and say how much of it that was. Raises Refusal, Gone."""
    count = 0
    while True:
        payload = await part.sent.take()
        # Where that fails, whatever the service has said is passed on still, to its end.
        with contextlib.suppress(httpcore2.NetworkError, OSError):
            await stream.write(payload, None)
        count += 1
        await part.answer.tell_taken(count)


async def _over(*tasks: asyncio.Task[None]) -> None:
    """End tasks that are wanted no more."""
    for each in tasks:
        each.cancel()
    for each in tasks:
        with contextlib.suppress(asyncio.CancelledError, Refusal, Gone):
            await each
