"""A node of a fleet as a service: what a connection does for HTTP, done over a broker."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import httpcore2

from farpeek_api.bus import problems
from farpeek_api.bus.asking import Question
from farpeek_api.bus.known import Known
from farpeek_api.bus.problems import Refusal
from farpeek_api.bus.roster import Offline, Roster
from farpeek_api.client.links import ERRORS, Thread
from farpeek_api.client.problems import NodeOffline, UnknownNode, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek_api.bus.answers import Answer
    from farpeek_api.bus.asking import Asking
    from farpeek_api.client.address import Node

_TIMEOUT_S: Final = 30.0
_NOT_SENT: Final = frozenset({b"host", b"accept-encoding", b"user-agent", b"content-length"})
_JSON: Final = (b"Content-Type", b"application/problem+json")


class Exchange:
    """An answer that has begun."""

    def __init__(self, response: httpcore2.Response, first: bytes, answer: Answer) -> None:
        self.response = response
        self._first = first
        self.answer = answer
        self.is_whole = answer.is_over
        """Whether all of it has come with that, so that nothing is to be waited for."""

    def take(self) -> bytes:
        """Give what has come of its body."""
        first, self._first = self._first, b""
        return first

    async def part(self) -> bytes:
        """Give the next part of its body; nothing at the end."""
        return self.take() or await _next(self.answer)

    async def leave_body(self) -> None:
        """Take its head alone, which is the same whether a body is wanted or not."""
        self._first = b""
        await self.answer.close()

    async def close(self) -> None:
        """Take no more of it."""
        await self.answer.close()


async def _next(answer: Answer) -> bytes:
    try:
        while (part := await answer.part()) is not None:
            if part:
                return part
    except Refusal as refusal:
        raise httpcore2.RemoteProtocolError(str(refusal)) from refusal
    return b""


class AwaitingPort:
    """All that waits for something, on the loop that there is."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._link = node.link or node.new_link()
        self._known = Known(node.name)
        self._learning = asyncio.Lock()

    async def send(self, request: httpcore2.Request) -> Exchange:
        """Ask; an answer that has begun."""
        try:
            asking = await self._ready()
            question, is_endless = await self._question(asking, request)
            answer = await asking.ask(self._node.name, question)
            answer.is_endless = is_endless
            exchange = await self._begun(answer, asking)
            if request.method == b"HEAD":
                await exchange.leave_body()
        except ERRORS as error:
            why = str(error).removeprefix("nats: ") or type(error).__name__
            raise httpcore2.ConnectError(f"{self._node.shown}: {why}") from error
        return exchange

    async def upgrade(self, request: httpcore2.Request) -> Exchange:
        """Do the same, for what is spoken on behind it."""
        exchange = await self.send(request)
        exchange.response.extensions["network_stream"] = AwaitingStream(exchange)  # pyright: ignore[reportUnknownMemberType] - httpcore2 leaves its types open
        return exchange

    async def pause(self, seconds: float) -> None:
        """Wait so long."""
        await asyncio.sleep(seconds)

    async def work(self, function: Callable[[], object]) -> object:
        """Do what waits by itself."""
        return await asyncio.to_thread(function)

    async def close(self) -> None:
        """End the connection."""
        if self._node.link is None:
            await self._link.close()

    async def _ready(self) -> Asking:
        """Connect, where that has not been done, or has ended, and learn what there is."""
        asking = await self._link.asking()
        async with self._learning:
            if self._known.learned_at is None:
                await self._learn(asking)
        return asking

    async def _learn(self, asking: Asking) -> None:
        """Ask the node which operations there are."""
        try:
            await self._known.learn(asking)
        except Refusal as refusal:
            await self._explain(refusal, asking)
            raise httpcore2.ConnectError(str(refusal)) from refusal

    async def _question(self, asking: Asking, request: httpcore2.Request) -> tuple[Question, bool]:
        """Write a request as it goes over the broker; and whether its answer may be silent."""
        path, _, query = request.url.target.decode("ascii").partition("?")
        method = request.method.decode("ascii")
        found = self._known.find(method, path)
        if found is None:
            raise Unreachable(f"the service of {self._node.shown} does not know {method} {path}")
        name, route, named = found
        sent = {
            k.decode(): v.decode("latin-1")
            for k, v in request.headers
            if k.lower() not in _NOT_SENT
        }
        body = b"".join(request.stream)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - it is bytes as a whole
        timeout_s = _TIMEOUT_S
        not_after = await self._not_after(asking, timeout_s) if route.changes else None
        question = Question(name, named, query, sent, body, timeout_s, not_after)
        if method == "HEAD":
            question = replace(question, credit=1)
        return question, route.endless

    async def _not_after(self, asking: Asking, timeout_s: float) -> int:
        """Say when a request is too late."""
        try:
            return await self._known.not_after(asking, timeout_s)
        except Refusal as refusal:
            raise httpcore2.ConnectError(str(refusal)) from refusal

    async def _explain(self, refusal: Refusal, asking: Asking) -> None:
        """Raise UnknownNode or NodeOffline where nobody listens."""
        if refusal.kind is problems.NOBODY:
            raise unreached(await Roster(asking).refusal(self._node.name)) from refusal

    async def _begun(self, answer: Answer, asking: Asking) -> Exchange:
        try:
            first = await answer.part()
        except Refusal as refusal:
            await answer.close()
            await self._explain(refusal, asking)
            if refusal.kind is problems.UNREACHABLE:
                raise httpcore2.ConnectError(str(refusal)) from refusal
            if refusal.kind in (problems.BROKEN, problems.LOST):
                raise httpcore2.ReadError(str(refusal)) from refusal
            body = refusal.document(self._node.name)
            return Exchange(httpcore2.Response(refusal.kind.status, headers=[_JSON]), body, answer)
        if answer.is_over:
            await answer.close()
        self._known.heard(answer)
        headers = [(k.encode(), v.encode("latin-1", "replace")) for k, v in answer.headers.items()]
        return Exchange(httpcore2.Response(answer.status, headers=headers), first or b"", answer)


def unreached(refusal: Refusal) -> Unreachable:
    """Make the exception for a node that is not there."""
    if isinstance(refusal, Offline):
        return NodeOffline(str(refusal), refusal.heartbeat.at)
    return UnknownNode(str(refusal))


class AwaitingStream(httpcore2.AsyncNetworkStream):
    """What is spoken behind a 101, as bytes."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._left = b""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """See httpcore2."""
        del timeout
        came = self._left or await self._exchange.part()
        self._left = came[max_bytes:]
        return came[:max_bytes]

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """See httpcore2."""
        try:
            async with asyncio.timeout(timeout):
                await self._exchange.answer.send(bytes(buffer))
        except TimeoutError as error:
            raise httpcore2.WriteTimeout("the node takes nothing") from error
        except ERRORS as error:
            raise httpcore2.WriteError(str(error)) from error

    async def aclose(self) -> None:
        """See httpcore2."""
        await self._exchange.close()

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore2's
        """See httpcore2."""
        del info


class _WaitingExchange:
    def __init__(self, exchange: Exchange, thread: Thread) -> None:
        self.response = exchange.response
        self._exchange = exchange
        self._thread = thread

    # Most answers are whole when they begin, and each wait for the other thread takes two wakes.

    async def part(self) -> bytes:
        exchange = self._exchange
        return exchange.take() if exchange.is_whole else self._thread.do(exchange.part())

    async def close(self) -> None:
        if not self._exchange.is_whole:
            self._thread.do(self._exchange.close())


class WaitingPort:
    """The same for who waits: a thread has the loop."""

    def __init__(self, node: Node) -> None:
        self._thread = node.thread or Thread()
        self._port = AwaitingPort(node)
        self._is_own = node.thread is None

    async def send(self, request: httpcore2.Request) -> _WaitingExchange:
        """Ask; an answer that has begun."""
        return _WaitingExchange(self._thread.do(self._port.send(request)), self._thread)

    async def upgrade(self, request: httpcore2.Request) -> _WaitingExchange:
        """Do the same, for what is spoken on behind it."""
        exchange = self._thread.do(self._port.send(request))
        stream = WaitingStream(AwaitingStream(exchange), self._thread)
        exchange.response.extensions["network_stream"] = stream  # pyright: ignore[reportUnknownMemberType] - httpcore2 leaves its types open
        return _WaitingExchange(exchange, self._thread)

    async def pause(self, seconds: float) -> None:
        """Wait so long."""
        time.sleep(seconds)  # noqa: ASYNC251 - no loop runs it

    async def work(self, function: Callable[[], object]) -> object:
        """Do what waits by itself."""
        return function()

    async def close(self) -> None:
        """End the connection, and the thread."""
        self._thread.do(self._port.close())
        if self._is_own:
            self._thread.end()


class WaitingStream(httpcore2.NetworkStream):
    """What is spoken behind a 101, for who waits."""

    def __init__(self, stream: AwaitingStream, thread: Thread) -> None:
        self._stream = stream
        self._thread = thread

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """See httpcore2."""
        return self._thread.do(self._stream.read(max_bytes, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """See httpcore2."""
        self._thread.do(self._stream.write(buffer, timeout))

    def close(self) -> None:
        """See httpcore2."""
        self._thread.do(self._stream.aclose())

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore2's
        """See httpcore2."""
        return self if info == "socket" else None

    def shutdown(self, how: int) -> None:
        """Have nothing come any more, as a socket does."""
        del how
        self.close()
