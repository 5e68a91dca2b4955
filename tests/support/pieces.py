"""Answers in pieces, taken apart as a client would."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Taken:
    """One piece, as it came."""

    address: int
    length: int
    kind: str
    reason: str | None
    data: bytes


def take_apart(body: bytes) -> tuple[list[Taken], dict[str, Any] | None]:
    """Return the pieces of ``body``, and what the last one says; None if it was cut off."""
    pieces: list[Taken] = []
    for shown, data in frames(body):
        if shown.get("done"):
            return pieces, shown
        pieces.append(
            Taken(
                int(shown["address"], 16), shown["length"], shown["kind"], shown.get("reason"), data
            )
        )
    return pieces, None


def frames(body: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Return each object, and the bytes behind it."""
    at = 0
    while at < len(body):
        (size,) = struct.unpack_from(">I", body, at)
        shown = json.loads(body[at + 4 : at + 4 + size])
        at += 4 + size
        length = shown["length"] if shown.get("kind") == "data" else 0
        yield shown, body[at : at + length]
        at += length


def laid_out(pieces: list[Taken], start: int, end: int) -> bytes:
    """Return ``start .. end`` with zeros where pieces have no bytes; each byte is in one piece."""
    laid = bytearray()
    at = start
    for piece in pieces:
        assert piece.address == at
        laid += piece.data if piece.kind == "data" else bytes(piece.length)
        at += piece.length
    assert at == end
    return bytes(laid)
