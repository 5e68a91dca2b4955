"""A range of a target's memory as a file, for whatever reads files."""

from __future__ import annotations

import errno
import io
import os
from typing import TYPE_CHECKING, Final

from farpeek_api.client import calls
from farpeek_api.client.pieces import check_ranges
from farpeek_api.client.steps import MIB

if TYPE_CHECKING:
    from typing import Self

    from _typeshed import WriteableBuffer

    from farpeek_api.client.drivers import AsyncDriver, Driver
    from farpeek_api.client.steps import Call

_AT_ONCE: Final = MIB


class _Window:
    """Where in a range a file is."""

    def __init__(self, target_id: str, start: int, end: int) -> None:
        check_ranges([(start, end)])
        self._target_id = target_id
        self._start = start
        self._size = end - start
        self.at = 0

    def seek(self, offset: int, whence: int) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self._size}.get(whence)
        if begin is None:
            raise ValueError(f"{whence!r} is no way to seek: use SEEK_SET, SEEK_CUR or SEEK_END")
        if begin + offset < 0:
            raise OSError(errno.EINVAL, "there is nothing before the file's begin")
        self.at = begin + offset
        return self.at

    def read(self, length: int) -> Call[bytes]:
        """Read up to ``length`` bytes and go on; short before a gap. OSError(EIO) at one."""
        length = min(length, self._size - self.at, _AT_ONCE)
        if length <= 0:
            return b""
        address = self._start + self.at
        stop = {"on_gap": "stop"}
        result = yield from calls.readv(self._target_id, [(address, length)], stop)
        if not result.data:
            raise OSError(errno.EIO, f"{address:#x} cannot be read: {result.gaps[0].reason}")
        self.at += len(result.data)
        return result.data

    def read_all(self) -> Call[bytes]:
        """Read up to the end, or a gap."""
        parts: list[bytes] = []
        while self.at < self._size:
            try:
                parts.append((yield from self.read(_AT_ONCE)))
            except OSError:
                if parts:  # the next read says why
                    break
                raise
        return b"".join(parts)


class MemoryFile(io.RawIOBase):
    """A range of a target's memory; its offset 0 is the range's start.

    Reads are short before a gap, and OSError(EIO) with the reason at one. Problems of the service
    are raised as they are. `io.BufferedReader` around it makes fewer requests.
    """

    def __init__(self, driver: Driver, target_id: str, start: int, end: int) -> None:
        super().__init__()
        self._driver = driver
        self._window = _Window(target_id, start, end)

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place; where that is."""
        self._check_open()
        return self._window.seek(offset, whence)

    def tell(self) -> int:
        """Where it is: bytes behind the range's start."""
        self._check_open()
        return self._window.at

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer as far as it goes; how many bytes were read, 0 at the end."""
        self._check_open()
        view = memoryview(buffer).cast("B")
        data = self._driver.run(self._window.read(len(view)))
        view[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        """Read up to the end, or up to a gap."""
        self._check_open()
        return self._driver.run(self._window.read_all())

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the file is closed")


class AsyncMemoryFile:
    """The same for `AsyncTarget`: reads are awaited."""

    def __init__(self, driver: AsyncDriver, target_id: str, start: int, end: int) -> None:
        self._driver = driver
        self._window = _Window(target_id, start, end)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place; where that is."""
        return self._window.seek(offset, whence)

    def tell(self) -> int:
        """Where it is: bytes behind the range's start."""
        return self._window.at

    async def read(self, size: int = -1, /) -> bytes:
        """Read up to ``size`` bytes, or up to the end; short before a gap, OSError(EIO) at one."""
        call = self._window.read_all() if size < 0 else self._window.read(size)
        return await self._driver.run(call)

    async def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer as far as it goes; how many bytes were read, 0 at the end."""
        view = memoryview(buffer).cast("B")
        data = await self._driver.run(self._window.read(len(view)))
        view[: len(data)] = data
        return len(data)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass
