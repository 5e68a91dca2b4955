"""The bytes of a core's segments, made of pieces: what is not there is zeros, and is told of."""

from __future__ import annotations

import time
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from farpeek.model import PAGE_SIZE, PieceKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farpeek.model import Piece

_ZEROS: Final = bytes(1 << 20)
_MOST_GAPS: Final = 65_536
"""That are remembered; the last note has room for some of them, and counts the others."""

_MOST_TOLD: Final = 1024
"""Of other things that the last note lists."""


class Filling:
    """Makes the bytes of segments from pieces; what is not there is zeros."""

    def __init__(self, began: float | None = None) -> None:
        """``began``: when that of the whole core did (time.monotonic)."""
        self.size = 0
        self.gap_count = 0
        self.gaps: list[tuple[int, int, str]] = []
        self.unsettled: list[str] = []
        """Where stacks are of which no two readings were equal."""
        self._began = time.monotonic() if began is None else began
        self._read: list[tuple[str, int]] = []

    def part(self) -> Reading:
        """Begin with a part of it, which `add` takes or nobody does."""
        return Reading(self._began)

    def add(self, part: Filling) -> None:
        """Take a part for what is next."""
        self.size += part.size
        self.gap_count += part.gap_count
        self.gaps += part.gaps[: max(0, _MOST_GAPS - len(self.gaps))]
        self._read += part._read

    def encode(self, pieces: Sequence[Piece]) -> Sequence[bytes | memoryview]:
        """In a thread: the bytes of pieces; those of long stretches of zeros are the same ones."""
        out: list[bytes | memoryview] = []
        for piece in pieces:
            if piece.data is not None:
                self.size += piece.length
                out.append(piece.data)
                continue
            if piece.kind is PieceKind.GAP:
                self._note(piece)
            out += [_ZEROS] * (piece.length // len(_ZEROS))
            out.append(memoryview(_ZEROS)[: piece.length % len(_ZEROS)])
        if pieces:
            self._read.append((hex(pieces[0].address), self._passed_ms()))
        return out

    def said(self) -> dict[str, object]:
        """What the last note says besides the gaps: when it was read from which address on."""
        return {
            "took_ms": self._passed_ms(),
            "bytes": self.size,
            "read_at_ms": self._read[:_MOST_TOLD],
            "unsettled_stacks": self.unsettled[:_MOST_TOLD],
        }

    def _note(self, piece: Piece) -> None:
        self.gap_count += 1
        if len(self.gaps) < _MOST_GAPS:
            self.gaps.append((piece.address, piece.length, str(piece.reason)))

    def _passed_ms(self) -> int:
        return round(1000 * (time.monotonic() - self._began))


class Reading(Filling):
    """The same of a part that is read several times: two are equal if their `content` is.

    By the pages that are not zeros: a look at what nobody has touched may touch a page of it.
    """

    def __init__(self, began: float) -> None:
        super().__init__(began)
        self._content = blake2b(digest_size=16)

    @property
    def content(self) -> bytes:
        """What stands for all that was read."""
        return self._content.digest()

    def encode(self, pieces: Sequence[Piece]) -> Sequence[bytes | memoryview]:
        """See ``Filling.encode``."""
        for piece in pieces:
            data = b"" if piece.data is None else bytes(piece.data)
            for offset in range(0, len(data), PAGE_SIZE):
                page = data[offset : offset + PAGE_SIZE]
                if not _ZEROS.startswith(page):
                    self._content.update(b"%d " % (piece.address + offset))
                    self._content.update(page)
        return super().encode(pieces)
