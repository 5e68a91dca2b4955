"""Binary frames and binary regions, taken apart and put together by the contract's words."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

FRAME = "application/vnd.farpeek.frame"
IOV = "application/vnd.farpeek.iov"


def take_apart(frame: bytes) -> tuple[Any, bytes]:
    """Return the object of a frame, and its bytes."""
    (length,) = struct.unpack_from(">I", frame)
    return json.loads(frame[4 : 4 + length]), frame[4 + length :]


def iov(pairs: Iterable[tuple[int, int]]) -> bytes:
    """Write regions as little-endian u64 pairs of address and length."""
    return b"".join(struct.pack("<QQ", *pair) for pair in pairs)
