"""Do what calls yield, over httpcore2: one driver that waits, and one that awaits.

What is done is written once, as coroutines. They differ in their input and output alone: where that
waits, a coroutine never suspends, and is run by a single step. httpcore2 follows no proxies of the
environment, no redirects and no cookies: target memory goes where it was meant to.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar, cast

import httpcore2

from farpeek_api.client.joining import AsyncJoining, Joining
from farpeek_api.client.problems import BadAnswer
from farpeek_api.client.steps import Item, More, Open, Pause, Reply, Request, patient
from farpeek_api.client.wire import head

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator

    from farpeek_api.client.conversation import Handshake
    from farpeek_api.client.steps import Call, Flow, Step
    from farpeek_api.client.wire import Wire

T = TypeVar("T")

_CONNECTIONS: Final = 100
_KEPT: Final = 20
_KEPT_S: Final = 5.0
_SWITCHING: Final = 101
_FAR_BEYOND: Final = 1 << 20  # of a refusal, whatever was asked for


class _Exchange(Protocol):
    """An answer that has begun."""

    response: httpcore2.Response

    async def part(self) -> bytes:
        """Give the next part of its body; nothing at the end."""
        ...

    async def close(self) -> None: ...


class _Port(Protocol):
    """All that waits for something, in one of the two ways."""

    async def send(self, request: httpcore2.Request) -> _Exchange: ...
    async def upgrade(self, request: httpcore2.Request) -> _Exchange: ...
    async def pause(self, seconds: float) -> None: ...
    async def work(self, function: Callable[[], object]) -> object: ...
    async def close(self) -> None: ...


class _Doing(Generic[T]):
    """A call or a flow that is being done, and the answer that it has open."""

    def __init__(self, port: _Port, wire: Wire, steps: Generator[Any, Any, T]) -> None:
        self._port = port
        self._wire = wire
        self._steps = steps
        self._open: _Exchange | None = None
        self._result: T | None = None

    async def run(self) -> T:
        """Do all of a call; its result."""
        try:
            await self.item()
            return cast("T", self._result)
        finally:
            await self.close()

    async def item(self) -> Item[Any] | None:
        """Go on to the next item of a flow; None at the end."""
        try:
            step: Step | Item[Any] = next(self._steps)
            while not isinstance(step, Item):
                try:
                    came = await self._do(step)
                except Exception as error:  # noqa: BLE001 - the call decides
                    step = self._steps.throw(error)
                else:
                    step = self._steps.send(came)
        except StopIteration as end:
            self._result = end.value
            return None
        return step

    async def close(self) -> None:
        """End what has not ended."""
        self._steps.close()
        await self._close_answer()

    async def _do(self, step: Step) -> object:
        if isinstance(step, Request):
            return await _ask(self._port, self._wire, step)
        if isinstance(step, More):
            with self._wire.errors():
                return b"" if self._open is None else await self._open.part()
        if isinstance(step, Open):
            return await self._begin(step.request)
        if isinstance(step, Pause):
            await self._port.pause(step.seconds)
            return None
        return await self._port.work(step.function)

    async def _begin(self, wanted: Request) -> Reply:
        await self._close_answer()
        with self._wire.errors():
            self._open = await self._port.send(self._wire.request(wanted))
            if not _is_fine(self._open):
                return await _whole(self._open, _FAR_BEYOND)
            return head(self._open.response)

    async def _close_answer(self) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            with self._wire.errors():
                await opened.close()


async def _ask(port: _Port, wire: Wire, wanted: Request) -> Reply:
    with wire.errors():
        exchange = await port.send(wire.request(wanted))
        try:
            return await _whole(exchange, wanted.most if _is_fine(exchange) else _FAR_BEYOND)
        finally:
            await exchange.close()


async def _upgrade(port: _Port, wire: Wire, handshake: Handshake) -> Any:  # noqa: ANN401 - of either kind
    """Agree on a WebSocket; what to speak it on."""
    with wire.errors():
        exchange = await port.upgrade(wire.request(handshake.request))
        is_switched = exchange.response.status == _SWITCHING
        try:
            reply = head(exchange.response) if is_switched else await _whole(exchange, _FAR_BEYOND)
            handshake.check(reply)
        except BaseException:
            await exchange.close()
            raise
        extensions = cast("dict[str, Any]", exchange.response.extensions)  # pyright: ignore[reportUnknownMemberType] - httpcore2 leaves its types open
        return extensions["network_stream"]


async def _whole(exchange: _Exchange, most: int) -> Reply:
    """Take all of an answer's body, up to the most that is taken."""
    found = head(exchange.response)
    parts: list[bytes] = []
    size = 0
    while part := await exchange.part():
        size += len(part)
        if size > most:
            raise BadAnswer(f"the answer has more than the {most} bytes that it may have")
        parts.append(part)
    return Reply(found.status, found.headers, b"".join(parts))


def _is_fine(exchange: _Exchange) -> bool:
    return exchange.response.status // 100 == 2  # noqa: PLR2004 - 2xx


class Driver:
    """Waits for each step."""

    def __init__(self, wire: Wire, retries: int) -> None:
        self._wire = wire
        self._retries = retries
        self._port: _Port = _waiting_port(wire)

    def close(self) -> None:
        """Close all connections."""
        _waited(self._port.close())

    def upgrade(self, handshake: Handshake) -> httpcore2.NetworkStream:
        """Begin to speak WebSocket; on what. Raises Problem or BadAnswer."""
        opened = _waited(_upgrade(self._port, self._wire, handshake))
        return cast("httpcore2.NetworkStream", opened)

    def run(self, call: Call[T]) -> T:
        """Do a call; its result."""
        return _waited(_Doing(self._port, self._wire, patient(call, self._retries)).run())

    def iterate(self, flow: Flow[T]) -> Generator[T, None, None]:
        """Do a flow; its items."""
        doing = _Doing(self._port, self._wire, patient(flow, self._retries))
        try:
            while (item := _waited(doing.item())) is not None:
                yield item.value
        finally:
            _waited(doing.close())


def _waited(coroutine: Coroutine[object, None, T]) -> T:
    """Run a coroutine that suspends nowhere."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    coroutine.close()
    raise RuntimeError("what was to wait has suspended")


def _waiting_port(wire: Wire) -> _Port:
    if wire.place.node is None:
        return _WaitingPort(wire)
    from farpeek_api.client import nodes  # noqa: PLC0415 - an extra

    return nodes.WaitingPort(wire.place.node)


def _awaiting_port(wire: Wire) -> _Port:
    if wire.place.node is None:
        return _AwaitingPort(wire)
    from farpeek_api.client import nodes  # noqa: PLC0415 - an extra

    return nodes.AwaitingPort(wire.place.node)


class _WaitingExchange:
    def __init__(self, response: httpcore2.Response) -> None:
        self.response = response
        self._parts = response.iter_stream()

    async def part(self) -> bytes:
        return next(self._parts, b"")

    async def close(self) -> None:
        self.response.close()


class _WaitingPort:
    def __init__(self, wire: Wire) -> None:
        self._requests = httpcore2.ConnectionPool(
            ssl_context=wire.verify,
            max_connections=_CONNECTIONS,
            max_keepalive_connections=_KEPT,
            keepalive_expiry=_KEPT_S,
            uds=wire.socket,
            network_backend=Joining(),
        )
        # What follows on them is sent as it is written.
        self._streams = httpcore2.ConnectionPool(ssl_context=wire.verify, uds=wire.socket)

    async def send(self, request: httpcore2.Request) -> _WaitingExchange:
        return _WaitingExchange(self._requests.handle_request(request))

    async def upgrade(self, request: httpcore2.Request) -> _WaitingExchange:
        return _WaitingExchange(self._streams.handle_request(request))

    async def pause(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - no loop runs it

    async def work(self, function: Callable[[], object]) -> object:
        return function()

    async def close(self) -> None:
        self._requests.close()
        self._streams.close()


class AsyncDriver:
    """Awaits each step."""

    def __init__(self, wire: Wire, retries: int) -> None:
        self._wire = wire
        self._retries = retries
        self._port: _Port = _awaiting_port(wire)
        self._before_close: dict[object, Callable[[], None]] = {}

    async def close(self) -> None:
        """Close all connections."""
        for end in list(self._before_close.values()):
            end()
        await self._port.close()

    @contextmanager
    def before_close(self, end: Callable[[], None]) -> Generator[None]:
        """Have ``end`` called before connections are closed; as long as the context lasts."""
        key = object()
        self._before_close[key] = end
        try:
            yield
        finally:
            del self._before_close[key]

    async def upgrade(self, handshake: Handshake) -> httpcore2.AsyncNetworkStream:
        """Begin to speak WebSocket; on what. Raises Problem or BadAnswer."""
        opened = await _upgrade(self._port, self._wire, handshake)
        return cast("httpcore2.AsyncNetworkStream", opened)

    async def run(self, call: Call[T]) -> T:
        """Do a call; its result."""
        return await _Doing(self._port, self._wire, patient(call, self._retries)).run()

    async def iterate(self, flow: Flow[T]) -> AsyncGenerator[T, None]:
        """Do a flow; its items."""
        doing = _Doing(self._port, self._wire, patient(flow, self._retries))
        try:
            while (item := await doing.item()) is not None:
                yield item.value
        finally:
            await doing.close()


class _AwaitingExchange:
    def __init__(self, response: httpcore2.Response) -> None:
        self.response = response
        self._parts = response.aiter_stream()

    async def part(self) -> bytes:
        return await anext(self._parts, b"")

    async def close(self) -> None:
        await self.response.aclose()


class _AwaitingPort:
    def __init__(self, wire: Wire) -> None:
        self._requests = httpcore2.AsyncConnectionPool(
            ssl_context=wire.verify,
            max_connections=_CONNECTIONS,
            max_keepalive_connections=_KEPT,
            keepalive_expiry=_KEPT_S,
            uds=wire.socket,
            network_backend=AsyncJoining(),
        )
        # What follows on them is sent as it is written.
        self._streams = httpcore2.AsyncConnectionPool(ssl_context=wire.verify, uds=wire.socket)

    async def send(self, request: httpcore2.Request) -> _AwaitingExchange:
        return _AwaitingExchange(await self._requests.handle_async_request(request))

    async def upgrade(self, request: httpcore2.Request) -> _AwaitingExchange:
        return _AwaitingExchange(await self._streams.handle_async_request(request))

    async def pause(self, seconds: float) -> None:
        import asyncio  # noqa: PLC0415 - a loop runs us, so it is there; programs that wait lack it

        await asyncio.sleep(seconds)

    async def work(self, function: Callable[[], object]) -> object:
        import asyncio  # noqa: PLC0415 - the same

        return await asyncio.to_thread(function)

    async def close(self) -> None:
        await self._requests.aclose()
        await self._streams.aclose()
