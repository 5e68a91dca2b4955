"""A stream: many reads in flight on one connection, and subscriptions. Of both flavours."""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import threading
from contextlib import suppress
from functools import partial
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
)

import httpcore2

from farpeek_api.client.conversation import Handshake
from farpeek_api.client.operations import Awaiting, Waiting
from farpeek_api.client.problems import Interrupted, PeekError
from farpeek_api.client.streaming import StreamOperations
from farpeek_api.client.subscriptions import AsyncSubscription, Subscription

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from farpeek_api.client.conversation import Deliveries
    from farpeek_api.client.drivers import AsyncDriver, Driver
    from farpeek_api.client.results import ReadResult
    from farpeek_api.client.streaming import Put

GOODBYE_S: Final = 5.0
"""How long the service may take to answer a goodbye."""

_AT_ONCE: Final = 1 << 16
_BROKEN: Final = (httpcore2.NetworkError, httpcore2.TimeoutException, OSError)


def _closed() -> Interrupted:
    return Interrupted("the stream is closed")


class Stream(StreamOperations[Subscription], Waiting):
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
        opened = self._socket = self._driver.upgrade(Handshake())
        self._thread = threading.Thread(
            target=self._receive, args=(opened,), name="farpeek-stream", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
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
        self,
        what: Sequence[tuple[int, int]] | Mapping[str, object],
        options: Mapping[str, object],
    ) -> Subscription:
        made = Subscription(self.unsubscribe)
        with self._lock:
            made.number, message = self._conversation.subscribe(what, options, made)
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


class AsyncStream(StreamOperations[AsyncSubscription], Awaiting):
    """A stream of `AsyncClient`; two tasks receive and send."""

    def __init__(self, driver: AsyncDriver) -> None:
        super().__init__()
        self._driver = driver
        self._socket: httpcore2.AsyncNetworkStream | None = None
        self._out = bytearray()
        self._has_more = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        opened = self._socket = await self._driver.upgrade(Handshake())
        self._tasks = [
            asyncio.create_task(self._receive(opened)),
            asyncio.create_task(self._write(opened)),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
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
        self,
        what: Sequence[tuple[int, int]] | Mapping[str, object],
        options: Mapping[str, object],
    ) -> AsyncSubscription:
        made = AsyncSubscription(self.unsubscribe)
        made.number, message = self._conversation.subscribe(what, options, made)
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
            self._take(data)  # by now what came with the handshake is
            own = None if self._conversation.error is not None else _own_socket(opened)
            if own is not None:
                with own:
                    await self._receive_from(own)

    async def _receive_from(self, own: socket.socket) -> None:
        """Do the same, called by the loop: by awaiting, each message takes twice as long.

        The loop is told of a descriptor that nobody else closes: it goes on about the next one that
        gets the number else.
        """
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()

        def take() -> None:
            try:
                data = own.recv(_AT_ONCE)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                data = b""
            receive(data)

        def receive(data: bytes) -> None:
            try:
                self._take(data)
            except BaseException as error:  # noqa: BLE001 - for whoever awaits this
                end(error)
                return
            if self._conversation.error is not None:
                end(None)

        def end(error: BaseException | None) -> None:
            loop.remove_reader(own)
            if over.done():
                return
            if error is None:
                over.set_result(None)
            else:
                over.set_exception(error)

        with self._driver.before_close(partial(receive, b"")):
            loop.add_reader(own, take)
            try:
                await over
            finally:
                loop.remove_reader(own)

    def _take(self, data: bytes) -> None:
        deliveries, message = self._conversation.receive(data)
        if message:
            self._out += message
            self._has_more.set()
        _deliver(deliveries)


def _own_socket(opened: httpcore2.AsyncNetworkStream) -> socket.socket | None:
    """Give another descriptor of a stream that has no other way to read; None where it has.

    None, too, where there are no descriptors left.
    """
    plain = opened.get_extra_info("socket")
    if not isinstance(plain, socket.socket) or opened.get_extra_info("ssl_object") is not None:
        return None  # a loop reads it already, or it has to be deciphered
    with suppress(OSError):
        return plain.dup()
    return None
