"""The requests vFile: a debugger reads the target's files through them, and what /proc shows of it.

The format is GDB's manual's, appendices E.7 and E.13: numbers are hexadecimal, errors too.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from farpeek_api.client import FileRemote, Forbidden, NoFile, PeekError, RangeBeyond
from farpeek_api.gateway import packets

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek_api.client import MappedRegion
    from farpeek_api.gateway.inferior import Inferior

MOST_OPEN: Final = 4096

_ENOENT: Final = 2
_EBADF: Final = 9
_EACCES: Final = 13
_EINVAL: Final = 22
_EMFILE: Final = 24
_EIO: Final = 9999  # FILEIO_EUNKNOWN: the protocol has no EIO
_EROFS: Final = 30
_WRITES: Final = 0x1 | 0x2 | 0x8 | 0x200 | 0x400  # FILEIO_O_WRONLY, RDWR, APPEND, CREAT, TRUNC
_STAT: Final = struct.Struct(">IIIIIIIQQQIII")
_REGULAR: Final = 0o100444
_BLOCK: Final = 256 << 10
_LARGEST_INODE: Final = 0xFFFFFFFF


class _Refused(Exception):
    def __init__(self, error: int) -> None:
        super().__init__(error)
        self.error = error


@dataclass(slots=True)
class _OfTheTarget:
    """A file behind a mapping; the block that was read last is kept, for reads are small."""

    inferior: Inferior
    address: int
    size: int
    inode: int
    version: str
    start: int = 0
    block: bytes = b""

    def read(self, offset: int, count: int) -> bytes:
        if not self.start <= offset < self.start + len(self.block):
            self.start = offset // _BLOCK * _BLOCK
            self.block = self._block(self.start)
        return self.block[offset - self.start :][:count]

    def _block(self, start: int) -> bytes:
        target = self.inferior.target
        try:
            return target.read_file(self.address, start, _BLOCK, version=self.version)
        except RangeBeyond:
            return b""


@dataclass(slots=True)
class _Text:
    """What a file of /proc shows."""

    content: bytes
    inode: int = 0

    @property
    def size(self) -> int:
        return len(self.content)

    def read(self, offset: int, count: int) -> bytes:
        return self.content[offset : offset + count]


class Files:
    """The files that one debugger has open."""

    def __init__(self, inferior: Inferior) -> None:
        self._inferior = inferior
        self._open: dict[int, _OfTheTarget | _Text] = {}
        self._requests: dict[bytes, Callable[[bytes], bytes]] = {
            b"setfs": lambda _: b"F0",
            b"open": self._open_file,
            b"pread": self._pread,
            b"fstat": self._fstat,
            b"close": self._close,
            b"readlink": self._readlink,
            b"unlink": self._refuse,
            b"pwrite": self._refuse,
        }

    def answer(self, request: bytes) -> bytes:
        """Answer what stands behind ``vFile:``; empty for what is not known."""
        name, _, rest = request.partition(b":")
        act = self._requests.get(name)
        if act is None:
            return b""
        try:
            return act(rest)
        except (_Refused, PeekError, ValueError) as error:
            return b"F-1,%x" % _number(error)

    def _open_file(self, rest: bytes) -> bytes:
        path, flags, _ = rest.split(b",")
        if packets.number(flags) & _WRITES:
            raise _Refused(_EROFS)
        if len(self._open) >= MOST_OPEN:
            raise _Refused(_EMFILE)
        name = bytes.fromhex(path.decode("ascii")).decode("utf-8", "backslashreplace")
        opened = self._of_proc(name) or self._of_the_target(name)
        descriptor = next(each for each in range(MOST_OPEN) if each not in self._open)
        self._open[descriptor] = opened
        return b"F%x" % descriptor

    def _of_proc(self, name: str) -> _Text | None:
        prefix = f"/proc/{self._inferior.pid}/"
        if not name.startswith(prefix):
            return None
        *between, last = name.removeprefix(prefix).split("/")
        if between and between[0] != "task":
            raise _Refused(_ENOENT)
        if last == "maps":
            return _Text("".join(map(_line, self._inferior.mappings)).encode())
        if last == "cmdline":
            return _Text(_cmdline(self._inferior.target.info.members.get("cmdline")))
        raise _Refused(_ENOENT)

    def _of_the_target(self, name: str) -> _OfTheTarget:
        inferior = self._inferior
        address = inferior.place_of(name)
        if address is None:
            raise _Refused(_ENOENT)
        info = inferior.target.file_info(address)
        return _OfTheTarget(inferior, address, info.size, info.inode, info.version)

    def _pread(self, rest: bytes) -> bytes:
        descriptor, count, offset = packets.numbers(rest)
        data = self._opened(descriptor).read(offset, min(count, packets.SAFE))
        return b"F%x;" % len(data) + packets.escape(data)

    def _fstat(self, rest: bytes) -> bytes:
        opened = self._opened(packets.number(rest))
        blocks = -(-opened.size // 512)
        inode = opened.inode & _LARGEST_INODE
        content = _STAT.pack(0, inode, _REGULAR, 1, 0, 0, 0, opened.size, 4096, blocks, 0, 0, 0)
        return b"F%x;" % len(content) + packets.escape(content)

    def _close(self, rest: bytes) -> bytes:
        descriptor = packets.number(rest)
        self._opened(descriptor)
        del self._open[descriptor]
        return b"F0"

    def _readlink(self, rest: bytes) -> bytes:
        name = bytes.fromhex(rest.decode("ascii")).decode("utf-8", "backslashreplace")
        program = self._inferior.executable().encode()
        if name != f"/proc/{self._inferior.pid}/exe" or not program:
            raise _Refused(_ENOENT)
        return b"F%x;" % len(program) + packets.escape(program)

    def _refuse(self, rest: bytes) -> bytes:
        del rest
        raise _Refused(_EROFS)

    def _opened(self, descriptor: int) -> _OfTheTarget | _Text:
        if descriptor not in self._open:
            raise _Refused(_EBADF)
        return self._open[descriptor]


def _number(error: Exception) -> int:
    """Give the protocol's number for what went wrong."""
    if isinstance(error, _Refused):
        return error.error
    kinds = {NoFile: _ENOENT, FileRemote: _EACCES, Forbidden: _EACCES, ValueError: _EINVAL}
    return next((number for kind, number in kinds.items() if isinstance(error, kind)), _EIO)


def _line(mapping: MappedRegion) -> str:
    """Show a mapping as proc_pid_maps(5) has it."""
    device = mapping.members.get("device") or "00:00"
    inode = mapping.members.get("inode") or 0
    shown = f"{mapping.start:x}-{mapping.end:x} {mapping.perms} {mapping.offset:08x} {device}"
    return f"{shown} {inode:<10} {mapping.path or ''}".rstrip() + "\n"


def _cmdline(shown: object) -> bytes:
    words = cast("list[object]", shown) if isinstance(shown, list) else []
    return b"".join(str(each).encode("utf-8", "backslashreplace") + b"\0" for each in words)
