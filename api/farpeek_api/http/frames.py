"""What a read is as JSON around its bytes, and as a binary frame; regions that come in binary.

A frame is a big-endian u32 N, N bytes of the JSON object without ``data``, then the raw bytes.
"""

from __future__ import annotations

import struct
import sys
from array import array
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from pydantic_core import to_json

from farpeek.errors import InvalidRequest
from farpeek.model import Regions
from farpeek_api.http import render

if TYPE_CHECKING:
    from farpeek.model import Backend, ReadResult

FRAME: Final = "application/vnd.farpeek.frame"
IOV: Final = "application/vnd.farpeek.iov"

_PAIR = 16  # bytes of a region: address and length, a little-endian u64 each
_LENGTH = struct.Struct(">I")


def regions(body: bytes | bytearray) -> Regions:
    """Read little-endian u64 pairs of address and length; InvalidRequest for half a pair."""
    if len(body) % _PAIR:
        raise InvalidRequest(
            f"{len(body)} bytes are no multiple of 16: each region is its address and its length, "
            "both as a little-endian u64",
            ("body",),
        )
    numbers = array("Q", body)
    if sys.byteorder == "big":
        numbers.byteswap()
    return Regions(numbers[0::2], numbers[1::2])


def before_data(target_id: str, result: ReadResult) -> bytes:
    """Write the object up to where ``data`` belongs, with its opening brace."""
    return b'{"target":"%b","requested":%d,"read":%d,"complete":%b' % (
        target_id.encode(),  # the id of a target that was read from needs no escapes
        result.requested,
        result.read,
        b"true" if result.complete else b"false",
    )


def behind_data(result: ReadResult, gaps: bytes, elapsed_us: int) -> bytes:
    """Write the rest of the object, from the comma on; ``gaps`` is their array."""
    rest = b',"gaps":%b,"backend":%b,"generation":%b,"began_ns":%d,"elapsed_us":%d' % (
        gaps,
        _backend(result.backend),
        b"null" if result.generation is None else b"%d" % result.generation,
        result.began_ns,
        elapsed_us,
    )
    if result.stable is not None:
        stable = b"true" if result.stable else b"false"
        rest = b'%b,"stable":%b,"readings":%d' % (rest, stable, result.readings)
    if result.prefetch is not None:
        rest = b'%b,"prefetch":%b' % (rest, to_json(render.prefetch(result.prefetch)))
    return rest + b"}"


class Simple:
    """Writes results that gave all, of reads of one target that ask for as many bytes.

    What they say alike is written once. None for a result of which more is to be said.
    """

    __slots__ = ("_before", "_behind", "_said_of", "_target")

    def __init__(self, target_id: str) -> None:
        self._target = target_id
        self._said_of: tuple[int | None, Backend | None] = None, None
        self._before = self._behind = b""  # where ``data`` belongs

    def members(self, result: ReadResult, elapsed_us: int) -> bytes | None:
        """Write all but ``data``, without the braces."""
        if not _is_simple(result):
            return None
        self._say_of(result)
        return _MEMBERS % (self._before, self._behind, result.began_ns, elapsed_us)

    def whole(self, result: ReadResult, data: bytes, elapsed_us: int) -> bytes | None:
        """Write the object, with ``data`` as text."""
        if not _is_simple(result):
            return None
        self._say_of(result)
        return _WHOLE % (self._before, data, self._behind, result.began_ns, elapsed_us)

    def _say_of(self, result: ReadResult) -> None:
        """Write what is alike, if that is not of the program and the way of the last one."""
        generation, backend = self._said_of
        if backend is result.backend and generation == result.generation:
            return
        self._said_of = result.generation, result.backend
        self._before = _BEFORE % (self._target.encode(), result.requested, result.read)
        self._behind = _BEHIND % (
            _backend(result.backend),
            b"null" if result.generation is None else b"%d" % result.generation,
        )


def _is_simple(result: ReadResult) -> bool:
    """Whether it gave all, and there is nothing more to say of it than that."""
    return not result.gaps and result.stable is None and result.prefetch is None


_BEFORE: Final = b'"target":"%b","requested":%d,"read":%d,"complete":true'
_BEHIND: Final = b'"gaps":[],"backend":%b,"generation":%b,"began_ns":'
_MEMBERS: Final = b'%b,%b%d,"elapsed_us":%d'
_WHOLE: Final = b'{%b,"data":"%b",%b%d,"elapsed_us":%d}'


@lru_cache(maxsize=16)
def _written(used: Backend) -> bytes:
    """Write how a read was done; there are only a few ways."""
    return to_json(render.backend(used))


_last: Final[list[tuple[Backend | None, bytes]]] = [(None, b"")]
"""What was written last, which nearly always is what is written next; any thread may look."""


def _backend(used: Backend) -> bytes:
    known, text = _last[0]
    if known is not used:
        text = _written(used)
        _last[0] = used, text
    return text


def head(text: bytes) -> bytes:
    """Begin a frame: the length of its object, and the object."""
    return _LENGTH.pack(len(text)) + text


def message(text: bytes, data: bytes | bytearray = b"") -> bytes:
    """Write a whole frame."""
    return b"".join((_LENGTH.pack(len(text)), text, data))
