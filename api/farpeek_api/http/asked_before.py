"""What was made of bodies that came lately: a profiler sends the same one again and again."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_MOST: Final = 8
_LARGEST: Final = 32 << 10
"""Bytes of a body that is kept: what is made of one of small reads takes some twenty times as much,
so that all of them take 5 MiB at the most."""


class AskedBefore(Generic[T]):
    """Bodies that made sense, and values made of them that nobody changes. Lives on the loop."""

    def __init__(self) -> None:
        self._made: OrderedDict[bytes, T] = OrderedDict()

    def find(self, body: bytes | bytearray) -> T | None:
        """Give what was made of the very same bytes, if that is known still."""
        if len(body) > _LARGEST or not self._made:
            return None
        key = bytes(body)
        made = self._made.get(key)
        if made is not None:
            self._made.move_to_end(key)
        return made

    def keep(self, body: bytes | bytearray, made: T) -> None:
        """Keep what was made of a body, in place of what was not asked for the longest."""
        if len(body) > _LARGEST:
            return
        self._made[bytes(body)] = made
        if len(self._made) > _MOST:
            self._made.popitem(last=False)
