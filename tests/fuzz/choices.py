"""Bytes as choices: makes well-formed inputs, for what random bytes never reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


class Choices:
    """Takes bytes from the front; all zeros behind the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, limit: int) -> int:
        """Choose a number below ``limit``."""
        size = max(1, ((limit - 1).bit_length() + 7) // 8)
        return int.from_bytes(self.take(size), "little") % limit

    def pick(self, among: Sequence[T]) -> T:
        """Choose one."""
        return among[self.number(len(among))]

    def yes(self) -> bool:
        """Choose whether."""
        return self.number(2) == 1

    def take(self, size: int) -> bytes:
        """Take bytes as they are, fewer at the end."""
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken

    def text(self, most: int = 64, without: bytes = b"") -> bytes:
        """Take a text of bytes that has none of ``without``."""
        return self.take(self.number(most)).translate(None, without)

    def rest(self) -> bytes:
        """Take all that is left."""
        return self.take(len(self._data))
