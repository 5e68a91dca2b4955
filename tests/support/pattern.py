"""The bytes that targets fill their pages with: every word tells its own address."""

from __future__ import annotations

import struct

_WORDS = 1 << 64
_FACTOR = 0x9E3779B97F4A7C15  # as in target.h


def pattern(address: int, length: int) -> bytes:
    """Return what a page filled with the pattern holds at ``address .. address + length``."""
    start, end = address & ~7, (address + length + 7) & ~7
    words = ((word * _FACTOR) % _WORDS for word in range(start, end, 8))
    packed = struct.pack(f"<{(end - start) // 8}Q", *(word ^ (word >> 32) for word in words))
    return packed[address - start : address - start + length]
