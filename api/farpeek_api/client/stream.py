"""A stream: many reads in flight on one connection, and subscriptions. Of both flavours."""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import threading
from contextlib import suppress
from functools import partial, update_wrapper
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Generic,
    ParamSpec,
    Protocol,
    TypeVar,
    overload,
)

import httpcore2

from farpeek_api.client.conversation import Conversation, Handshake, Ticks
from farpeek_api.client.problems import Interrupted, PeekError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from farpeek_api.client.calls import Mode, OnGap
    from farpeek_api.client.conversation import Deliveries, Left, Tick
    from farpeek_api.client.drivers import AsyncDriver, Driver
    from farpeek_api.client.results import ReadResult
    from farpeek_api.client.target import Operations

    Put = Callable[[Callable[[ReadResult | PeekError], None]], bytes]

P = ParamSpec("P")
S = TypeVar("S")
SubscriptionT = TypeVar("SubscriptionT")

GOODBYE_S: Final = 5.0
"""How long the service may take to answer a goodbye."""

_AT_ONCE: Final = 1 << 16
_BROKEN: Final = (httpcore2.NetworkError, httpcore2.TimeoutException, OSError)


class Named(Protocol):
    """Something that the service knows by an id."""

    @property
    def id(self) -> str:
        """The id."""
        ...


class reading(Generic[S, P]):  # noqa: N801 - a decorator
    """Makes a method, which gives a future of its flavour, of what puts a read."""

    def __init__(self, put: Callable[Concatenate[S, P], Put]) -> None:
        self._put = put
        self.__doc__ = put.__doc__
        self.__name__ = put.__name__
        self.__module__ = put.__module__

    @overload
    def __get__(
        self, instance: Stream, owner: object
    ) -> Callable[P, concurrent.futures.Future[ReadResult]]: ...
    @overload
    def __get__(
        self, instance: AsyncStream, owner: object
    ) -> Callable[P, asyncio.Future[ReadResult]]: ...
    @overload
    def __get__(self, instance: None, owner: object) -> Self: ...

    def __get__(self, instance: Any, owner: object) -> Any:
        if instance is None:
            return self
        put = self._put

        def method(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401 - the overloads say it
            return instance._promise(put(instance, *args, **kwargs))  # noqa: SLF001

        return update_wrapper(method, put)


class StreamOperations(Generic[SubscriptionT]):
    """What a stream is for, in either flavour. It is opened by ``with``, or ``async with``."""

    def __init__(self) -> None:
        self._conversation = Conversation()

    @reading
    def readv(  # noqa: PLR0913 - the members of a read
        self,
        target: Operations | str,
        regions: Sequence[tuple[int, int]],
        *,
        mode: Mode | None = None,
        on_gap: OnGap | None = None,
        timeout_s: float | None = None,
        stable: int | None = None,
        prefetch: bool | None = None,
        generation: int | None = None,
    ) -> Put:
        r"""Begin to read ``(address, length)`` pairs, as `Target.readv` does; a future of it.

        The future has the `ReadResult`, or raises the `Problem`, or Interrupted if the stream ends
        before. Reads are answered in the order in which they are done. In `AsyncClient` the future
        is awaited.

        >>> with peek.stream() as stream:
        ...     futures = [stream.readv(target, [(address + n, 1)]) for n in range(3)]
        ...     [future.result().data for future in futures]
        [b'\x00', b'\x01', b'\x02']
        """
        options = {
            "mode": mode,
            "on_gap": on_gap,
            "timeout_s": timeout_s,
            "stable": stable,
            "prefetch": prefetch,
            "generation": generation,
        }
        return partial(self._conversation.read, _id_of(target), regions, options)

    def subscribe(  # noqa: PLR0913 - the members of a subscription
        self,
        target: Operations | str,
        regions: Sequence[tuple[int, int]],
        *,
        hz: float,
        mode: Mode | None = None,
        changed_only: bool | None = None,
        prefetch: bool | None = None,
        generation: int | None = None,
    ) -> SubscriptionT:
        r"""Have regions read ``hz`` times a second; the subscription is iterated over for `Tick`s.

        With ``changed_only`` a tick comes only when bytes or gaps are other than before. It ends
        when the target exits (``ended`` is ``target-exited``) or when it is closed; any other end
        raises the `Problem`: NoSuchTarget, TargetChanged, TargetStuck, ShuttingDown, ...; or
        Interrupted. Ticks that nobody takes are dropped beyond some thousands, and counted.

        >>> with peek.stream() as stream, stream.subscribe(target, [(address, 2)], hz=50) as ticks:
        ...     tick = next(iter(ticks))
        >>> tick.number, tick.data
        (1, b'\x00\x01')
        """
        options = {
            "target": _id_of(target),
            "hz": hz,
            "mode": mode,
            "changed_only": changed_only,
            "prefetch": prefetch,
            "generation": generation,
        }
        return self._subscribe(regions, options)

    def subscribe_match(
        self,
        match: Named | str,
        regions: Sequence[tuple[int, int]],
        *,
        hz: float,
        mode: Mode | None = None,
        changed_only: bool | None = None,
        prefetch: bool | None = None,
    ) -> SubscriptionT:
        """Do the same for all targets of a standing match, those that come later as well.

        ``match`` is it, or its id. ``result.target`` of a `Tick` says which target it is of; each
        counts its own. ``left`` of the subscription has the targets that are sampled no more.
        NoSuchMatch when the match has ended.

        >>> with peek.stream() as stream:  # doctest: +IGNORE_EXCEPTION_DETAIL
        ...     next(stream.subscribe_match("gone", [(address, 2)], hz=20))
        Traceback (most recent call last):
        farpeek_api.client.problems.NoSuchMatch: ...
        """
        options = {
            "match": match if isinstance(match, str) else match.id,
            "hz": hz,
            "mode": mode,
            "changed_only": changed_only,
            "prefetch": prefetch,
        }
        return self._subscribe(regions, options)

    def _subscribe(
        self, regions: Sequence[tuple[int, int]], options: Mapping[str, object]
    ) -> SubscriptionT:
        raise NotImplementedError


def _id_of(target: Operations | str) -> str:
    return target if isinstance(target, str) else target.id


def _closed() -> Interrupted:
    return Interrupted("the stream is closed")


class Subscription:
    """Ticks of a `Stream`, iterated over as they come; ``with`` ends it, as `close` does."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._ticks = Ticks()
        self._changed = threading.Condition()
        self.number = 0

    @property
    def ended(self) -> str | None:
        """Why it has ended: ``unsubscribed``, ``target-exited``, a slug or ``cut``; else None."""
        return self._ticks.ended

    @property
    def left(self) -> Sequence[Left]:
        """Targets of a standing match that are sampled no more, the last 4,096 of them."""
        return tuple(self._ticks.left)

    @property
    def hz(self) -> float | None:
        """How often it is read; None until the service has agreed."""
        return self._ticks.hz

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Tick:
        tick = self.get()
        if tick is None:
            raise StopIteration
        return tick

    def get(self, timeout_s: float | None = None) -> Tick | None:
        """Wait for the next tick; None at the end. TimeoutError after ``timeout_s`` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._ticks.is_ready, timeout_s):
                raise TimeoutError(f"there was no tick for {timeout_s} s")
            return self._ticks.take()

    def close(self) -> None:
        """End it. Ticks that have come can still be taken."""
        self._stream.unsubscribe(self.number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Called by the stream.

    def agree(self, hz: float) -> None:
        """Take note that it has begun."""
        self._ticks.hz = hz

    def leave(self, left: Left) -> None:
        """Take note that a target is sampled no more."""
        self._ticks.left.append(left)

    def add(self, tick: Tick) -> None:
        """Take a tick."""
        with self._changed:
            self._ticks.add(tick)
            self._changed.notify_all()

    def end(self, why: str, error: PeekError | None) -> None:
        """Take note that it has ended."""
        with self._changed:
            self._ticks.end(why, error)
            self._changed.notify_all()


class Stream(StreamOperations[Subscription]):
    """A stream of `Client`. Any thread may use it; a thread of its own receives."""

    def __init__(self, driver: Driver) -> None:
        super().__init__()
        self._driver = driver
        # Two, for whoever receives must not wait for one who sends: the service may take nothing
        # more before what it has sent is taken.
        self._lock = threading.Lock()  # of the conversation
        self._sending = threading.Lock()
        self._owed = b""
        self._socket: httpcore2.NetworkStream | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        handshake = Handshake()
        reply, opened = self._driver.upgrade(handshake.request)
        try:
            handshake.check(reply)
            assert opened is not None  # noqa: S101 - it was checked that it has switched
        except PeekError:
            if opened is not None:
                opened.close()
            raise
        self._socket = opened
        self._thread = threading.Thread(
            target=self._receive, args=(opened,), name="farpeek-stream", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the stream; reads and subscriptions that are under way end with Interrupted."""
        opened, self._socket = self._socket, None
        if opened is None or self._thread is None:
            return
        with self._lock:
            goodbye = self._conversation.goodbye()
            deliveries = self._conversation.fail(_closed())
        _deliver(deliveries)
        with self._sending, suppress(*_BROKEN):
            opened.write(goodbye, GOODBYE_S)
        self._thread.join(GOODBYE_S)
        if self._thread.is_alive():  # it hears nothing, and waits: that alone ends it
            with suppress(OSError):
                opened.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
            self._thread.join()
        opened.close()

    def unsubscribe(self, number: int) -> None:
        """End a subscription by its number."""
        with self._lock:
            message = self._conversation.unsubscribe(number)
        if message:
            self._send(message)

    def _promise(self, put: Put) -> concurrent.futures.Future[ReadResult]:
        future: concurrent.futures.Future[ReadResult] = concurrent.futures.Future()
        future.set_running_or_notify_cancel()  # what is asked for cannot be taken back
        with self._lock:
            message = put(partial(_settle, future))
        self._send(message)
        return future

    def _subscribe(
        self, regions: Sequence[tuple[int, int]], options: Mapping[str, object]
    ) -> Subscription:
        made = Subscription(self)
        with self._lock:
            made.number, message = self._conversation.subscribe(regions, options, made)
        self._send(message)
        return made

    def _send(self, message: bytes) -> None:
        """Send. Where that fails, the thread that receives is told as well, and tells."""
        opened = self._socket
        if opened is None:
            raise _closed()
        with self._sending, suppress(*_BROKEN):
            opened.write(message)
        self._pay(opened)

    def _pay(self, opened: httpcore2.NetworkStream) -> None:
        """Send pongs that are owed; whoever sends just now does it behind that."""
        while self._owed and self._sending.acquire(blocking=False):
            try:
                with self._lock:
                    message, self._owed = self._owed, b""
                with suppress(*_BROKEN):
                    opened.write(message, GOODBYE_S)
            finally:
                self._sending.release()

    def _receive(self, opened: httpcore2.NetworkStream) -> None:
        """Take what comes up to the end; what is under way then ends with it."""
        while self._conversation.error is None:
            try:
                data = opened.read(_AT_ONCE)
            except _BROKEN:
                data = b""
            with self._lock:
                deliveries, message = self._conversation.receive(data)
                self._owed += message
            _deliver(deliveries)
            self._pay(opened)


def _settle(future: Any, came: ReadResult | PeekError) -> None:  # noqa: ANN401 - of either kind
    if future.done():  # one of asyncio's was cancelled
        return
    if isinstance(came, PeekError):
        future.set_exception(came)
    else:
        future.set_result(came)


def _deliver(deliveries: Deliveries) -> None:
    for tell in deliveries:
        tell()


class AsyncSubscription:
    """Ticks of an `AsyncStream`, iterated over as they come; ``async with`` ends it."""

    def __init__(self, stream: AsyncStream) -> None:
        self._stream = stream
        self._ticks = Ticks()
        self._changed = asyncio.Event()
        self.number = 0

    @property
    def ended(self) -> str | None:
        """Why it has ended: ``unsubscribed``, ``target-exited``, a slug or ``cut``; else None."""
        return self._ticks.ended

    @property
    def left(self) -> Sequence[Left]:
        """Targets of a standing match that are sampled no more, the last 4,096 of them."""
        return tuple(self._ticks.left)

    @property
    def hz(self) -> float | None:
        """How often it is read; None until the service has agreed."""
        return self._ticks.hz

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Tick:
        tick = await self.get()
        if tick is None:
            raise StopAsyncIteration
        return tick

    async def get(self, timeout_s: float | None = None) -> Tick | None:
        """Wait for the next tick; None at the end. TimeoutError after ``timeout_s`` seconds."""
        async with asyncio.timeout(timeout_s):
            while not self._ticks.is_ready:
                self._changed.clear()
                await self._changed.wait()
        return self._ticks.take()

    async def close(self) -> None:
        """End it. Ticks that have come can still be taken."""
        self._stream.unsubscribe(self.number)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    # Called by the stream.

    def agree(self, hz: float) -> None:
        """Take note that it has begun."""
        self._ticks.hz = hz

    def leave(self, left: Left) -> None:
        """Take note that a target is sampled no more."""
        self._ticks.left.append(left)

    def add(self, tick: Tick) -> None:
        """Take a tick."""
        self._ticks.add(tick)
        self._changed.set()

    def end(self, why: str, error: PeekError | None) -> None:
        """Take note that it has ended."""
        self._ticks.end(why, error)
        self._changed.set()


class AsyncStream(StreamOperations[AsyncSubscription]):
    """A stream of `AsyncClient`; two tasks receive and send."""

    def __init__(self, driver: AsyncDriver) -> None:
        super().__init__()
        self._driver = driver
        self._socket: httpcore2.AsyncNetworkStream | None = None
        self._out = bytearray()
        self._has_more = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        handshake = Handshake()
        reply, opened = await self._driver.upgrade(handshake.request)
        try:
            handshake.check(reply)
            assert opened is not None  # noqa: S101 - it was checked that it has switched
        except PeekError:
            if opened is not None:
                await opened.aclose()
            raise
        self._socket = opened
        self._tasks = [
            asyncio.create_task(self._receive(opened)),
            asyncio.create_task(self._write(opened)),
        ]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the stream; reads and subscriptions that are under way end with Interrupted."""
        opened, self._socket = self._socket, None
        if opened is None:
            return
        receiving, writing = self._tasks
        writing.cancel()
        goodbye = self._conversation.goodbye()
        _deliver(self._conversation.fail(_closed()))
        try:
            with suppress(*_BROKEN):
                await opened.write(goodbye, GOODBYE_S)
            await asyncio.wait([receiving], timeout=GOODBYE_S)
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, writing, return_exceptions=True)
            await opened.aclose()

    def unsubscribe(self, number: int) -> None:
        """End a subscription by its number."""
        message = self._conversation.unsubscribe(number)
        if message:
            self._send(message)

    def _promise(self, put: Put) -> asyncio.Future[ReadResult]:
        future: asyncio.Future[ReadResult] = asyncio.get_running_loop().create_future()
        self._send(put(partial(_settle, future)))
        return future

    def _subscribe(
        self, regions: Sequence[tuple[int, int]], options: Mapping[str, object]
    ) -> AsyncSubscription:
        made = AsyncSubscription(self)
        made.number, message = self._conversation.subscribe(regions, options, made)
        self._send(message)
        return made

    def _send(self, message: bytes) -> None:
        if self._socket is None:
            raise _closed()
        self._out += message
        self._has_more.set()

    async def _write(self, opened: httpcore2.AsyncNetworkStream) -> None:
        with suppress(*_BROKEN):  # who receives is told as well, and tells
            while True:
                await self._has_more.wait()
                self._has_more.clear()
                message, self._out = bytes(self._out), bytearray()
                await opened.write(message)

    async def _receive(self, opened: httpcore2.AsyncNetworkStream) -> None:
        """Take what comes up to the end; what is under way then ends with it."""
        while self._conversation.error is None:
            try:
                data = await opened.read(_AT_ONCE)
            except _BROKEN:
                data = b""
            deliveries, message = self._conversation.receive(data)
            self._out += message
            self._has_more.set()
            _deliver(deliveries)
