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


def simple(target_id: str, result: ReadResult, data: bytes, elapsed_us: int) -> bytes | None:
    """Write the whole object of a read that gave all, with ``data`` as text; None for another.

    The same as the two parts, in a third of the time: an answer may have thousands.
    """
    if not is_simple(result):
        return None
    return _SIMPLE % (
        target_id.encode(),
        result.requested,
        result.read,
        data,
        _backend(result.backend),
        b"null" if result.generation is None else b"%d" % result.generation,
        result.began_ns,
        elapsed_us,
    )


def is_simple(result: ReadResult) -> bool:
    """Whether it gave all, and there is nothing more to say of it than that."""
    return not result.gaps and result.stable is None and result.prefetch is None


def simple_opening(target_id: str, result: ReadResult) -> bytes:
    """Write what all simple results of a read have in common that are of one program."""
    return _SIMPLE_OPENING % (
        target_id.encode(),
        result.requested,
        result.read,
        _backend(result.backend),
        b"null" if result.generation is None else b"%d" % result.generation,
    )


SIMPLE_TIMES: Final = b'%b"began_ns":%d,"elapsed_us":%d'
"""The members of a simple result without ``data``: an opening, and two numbers."""

_SIMPLE_OPENING: Final = (
    b'"target":"%b","requested":%d,"read":%d,"complete":true,"gaps":[],"backend":%b,'
    b'"generation":%b,'
)
_SIMPLE: Final = (
    b'{"target":"%b","requested":%d,"read":%d,"complete":true,"data":"%b","gaps":[],"backend":%b,'
    b'"generation":%b,"began_ns":%d,"elapsed_us":%d}'
)


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
