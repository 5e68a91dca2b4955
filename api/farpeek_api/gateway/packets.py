"""Packets of the remote serial protocol, as they come and as they go. Nothing here does anything.

The format is GDB's manual's, appendix E.1: ``$payload#checksum``. Nothing is run-length encoded
here, so a ``*`` in a payload is escaped, because the other side would expand it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

MOST: Final = 1 << 17
"""Bytes of the longest payload, either way."""

SAFE: Final = (MOST - 64) // 2
"""Bytes that fit into a payload whatever they are, escaped or in hex."""

_START, _END, _ESCAPE = b"$#}"
_FLIP: Final = 0x20
_BREAK: Final = 0x03
_SPECIAL: Final = re.compile(rb"[$#}*]")
_ESCAPED: Final = re.compile(rb"\}(.)", re.DOTALL)


class TooLong(Exception):
    """A packet does not end."""


@dataclass(frozen=True, slots=True)
class Packet:
    """``payload`` is as it came: what is binary in it is still escaped."""

    payload: bytes


Sign: TypeAlias = Literal["+", "-", "break", "damaged"]
"""Acknowledged; to be sent again; Ctrl-C; a packet with a wrong checksum."""

Item: TypeAlias = Packet | Sign


class PacketParser:
    """Takes apart what a debugger sends, however it is cut."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, part: bytes) -> list[Item]:
        """Take what came; all of it that is whole. Raises TooLong."""
        self._buffer += part
        found: list[Item] = []
        while self._buffer:
            taken, item = self._first()
            if not taken:
                break
            del self._buffer[:taken]
            if item is not None:
                found.append(item)
        if len(self._buffer) > MOST + 4:
            raise TooLong(f"a packet has more than {MOST} bytes")
        return found

    def _first(self) -> tuple[int, Item | None]:
        """How many bytes the first item takes, 0 while it is not whole; and the item."""
        buffer = self._buffer
        if buffer[0] == _START:
            return self._packet()
        signs: dict[int, Sign] = {ord("+"): "+", ord("-"): "-", _BREAK: "break"}
        return 1, signs.get(buffer[0])  # others mean nothing between packets

    def _packet(self) -> tuple[int, Item | None]:
        buffer = self._buffer
        end = buffer.find(b"#")
        again = buffer.find(b"$", 1, None if end < 0 else end)
        if again > 0:
            return again, None  # the one before it was given up in its middle
        if end < 0 or len(buffer) < end + 3:
            return 0, None
        payload = bytes(buffer[1:end])
        right = bytes(buffer[end + 1 : end + 3]).lower() == b"%02x" % (sum(payload) & 0xFF)
        return end + 3, Packet(payload) if right else "damaged"


def packet(payload: bytes) -> bytes:
    """Make a packet of a payload that is escaped where it has to be."""
    return b"$%b#%02x" % (payload, sum(payload) & 0xFF)


def escape(data: bytes) -> bytes:
    """Write bytes so that they can be part of a payload."""
    return _SPECIAL.sub(lambda found: bytes((_ESCAPE, found[0][0] ^ _FLIP)), data)


def unescape(text: bytes) -> bytes:
    """Read what `escape` wrote."""
    return _ESCAPED.sub(lambda found: bytes((found[1][0] ^ _FLIP,)), text)


def number(text: bytes) -> int:
    """Read a hexadecimal number of up to 64 bits. Raises ValueError."""
    if not re.fullmatch(rb"[0-9a-fA-F]{1,16}", text):
        raise ValueError("it is no number of 64 bits")
    return int(text, 16)


def numbers(text: bytes, separator: bytes = b",") -> list[int]:
    """Read numbers with separators between. Raises ValueError."""
    return [number(each) for each in text.split(separator)]
