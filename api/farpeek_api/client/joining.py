"""Connections with few system calls: requests go out at once, long ranges come in large parts.

httpcore2 writes head and body one behind the other, so that the service is woken up twice; and it
reads 64 KiB at a time.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

import httpcore2

if TYPE_CHECKING:
    import ssl

_MOST: Final = 1 << 16
"""Bytes that wait for others; a larger body fills packets by itself."""

_LARGEST_READ: Final = 1 << 18
"""What a processor's cache has room for several times: more makes a dump slower."""


class _Flow:
    """What is written and not sent yet, and how much is read at a time."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._room = 0

    def add(self, data: bytes) -> bool:
        """Take some; whether it is time to send."""
        self._parts.append(data)
        self._size += len(data)
        return self._size > _MOST

    def take(self) -> bytes:
        """Give all of it."""
        data = b"".join(self._parts)
        self._parts, self._size = [], 0
        return data

    def room(self, at_least: int) -> int:
        """How much to ask for: much where much comes, for memory is made for it beforehand."""
        self._room = max(self._room, at_least)
        return self._room

    def came(self, size: int) -> None:
        """Take note of what has come."""
        if size == self._room:
            self._room = min(2 * self._room, _LARGEST_READ)
        elif size < self._room // 4:
            self._room //= 2


class _Joining(httpcore2.NetworkStream):
    """Sends what was written when an answer is read."""

    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream
        self._flow = _Flow()

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._flow.add(buffer):
            self._stream.write(self._flow.take(), timeout)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if data := self._flow.take():
            # A server may answer before it has taken all, and close; httpcore2 passes over it, too.
            with suppress(httpcore2.WriteError):
                self._stream.write(data, timeout)
        came = self._stream.read(self._flow.room(max_bytes), timeout)
        self._flow.came(len(came))
        return came

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        return _Joining(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore2's
        return self._stream.get_extra_info(info)


class Joining(httpcore2.NetworkBackend):
    """Makes such connections."""

    def __init__(self) -> None:
        self._backend = httpcore2.SyncBackend()

    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore2.NetworkStream:  # noqa: ANN401
        """Connect to a port."""
        return _Joining(self._backend.connect_tcp(*args, **kwargs))

    def connect_unix_socket(self, *args: Any, **kwargs: Any) -> httpcore2.NetworkStream:  # noqa: ANN401
        """Connect to a socket."""
        return _Joining(self._backend.connect_unix_socket(*args, **kwargs))


class _AsyncJoining(httpcore2.AsyncNetworkStream):
    """The same as `_Joining`, awaited."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self._stream = stream
        self._flow = _Flow()

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        if self._flow.add(buffer):
            await self._stream.write(self._flow.take(), timeout)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        if data := self._flow.take():
            with suppress(httpcore2.WriteError):
                await self._stream.write(data, timeout)
        came = await self._stream.read(self._flow.room(max_bytes), timeout)
        self._flow.came(len(came))
        return came

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore2.AsyncNetworkStream:
        return _AsyncJoining(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore2's
        return self._stream.get_extra_info(info)


class AsyncJoining(httpcore2.AsyncNetworkBackend):
    """Makes such connections."""

    def __init__(self) -> None:
        # Of another type where there is no anyio, which httpcore2's extra for asyncio brings.
        self._backend = cast("httpcore2.AsyncNetworkBackend", httpcore2.AnyIOBackend())

    async def connect_tcp(
        self,
        *args: Any,  # noqa: ANN401
        **kwargs: Any,  # noqa: ANN401
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to a port."""
        return _AsyncJoining(await self._backend.connect_tcp(*args, **kwargs))

    async def connect_unix_socket(
        self,
        *args: Any,  # noqa: ANN401
        **kwargs: Any,  # noqa: ANN401
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to a socket."""
        return _AsyncJoining(await self._backend.connect_unix_socket(*args, **kwargs))
