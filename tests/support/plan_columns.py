"""Columns of a plan in a frame, taken apart as a client would."""

from __future__ import annotations

import struct
from typing import Any


def column(raw: dict[str, Any], data: bytes) -> list[Any]:
    """Read a column of a frame."""
    if raw["dtype"] in {"utf-8", "bytes"}:
        begin = raw["offset"]
        pieces, start = [], 0
        for end in column(raw["ends"], data):
            piece = data[begin + start : begin + end]
            pieces.append(piece.decode() if raw["dtype"] == "utf-8" else piece)
            start = end
        return pieces
    letter = {"u1": "B", "u2": "H", "u4": "I", "u8": "Q", "i1": "b", "i2": "h", "i4": "i"} | {
        "i8": "q",
        "f4": "f",
        "f8": "d",
    }
    return list(
        struct.unpack_from(f"<{raw['count']}{letter[raw['dtype'][1:]]}", data, raw["offset"])
    )
