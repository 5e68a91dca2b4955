"""Long ranges in pieces, taken apart as they come. Nothing here waits for anything."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from farpeek_api.client import members
from farpeek_api.client.framing import ADDRESS_LIMIT, LENGTH
from farpeek_api.client.members import Members, Odd

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Kind = Literal["data", "zeros", "gap"]
Range = tuple[int, int]

PIECES: Final = "application/vnd.farpeek.pieces"
_KINDS: Final[Mapping[str, Kind]] = {"data": "data", "zeros": "zeros", "gap": "gap"}
_LONGEST_OBJECT: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Piece:
    """``length`` bytes from ``address`` on that are of one ``kind``.

    ``data`` has the bytes of what is ``data``; ``zeros`` nobody has touched; of a ``gap``,
    ``reason`` says why it cannot be read.
    """

    address: int
    length: int
    kind: Kind
    reason: str | None = None
    data: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Sums:
    """How many bytes were of which kind."""

    data: int
    zeros: int
    gaps: int


def check_ranges(ranges: Iterable[Range]) -> list[Range]:
    """Give the ranges that are not empty; ValueError for what is none."""
    found: list[Range] = []
    for start, end in ranges:
        if not 0 <= start <= end <= ADDRESS_LIMIT:
            raise ValueError(
                f"({start!r}, {end!r}) is no range: those are a first address, and the one behind "
                "the last"
            )
        if start < end:
            found.append((start, end))
    return found


class PieceParser:
    """Takes one answer apart, and looks whether it is of the ranges that were asked for."""

    def __init__(self, ranges: list[Range], generation: int | None = None) -> None:
        self.generation = generation
        self.left = list(ranges)
        """What has not come yet."""
        self.is_done = False
        self._buffer = bytearray()
        self._data: Piece | None = None  # of which bytes are to come
        self._sums = dict.fromkeys(_KINDS, 0)

    @property
    def sums(self) -> Sums:
        """What has come."""
        return Sums(self._sums["data"], self._sums["zeros"], self._sums["gap"])

    def feed(self, part: bytes) -> list[Piece]:
        """Take what came; the pieces that are whole, and data as far as it is there.

        Raises Odd for what is no such answer.
        """
        if self._data is not None and not self._buffer and len(part) <= self._data.length:
            return [self._take(self._data, part)]  # as it is: copies are most of a dump's time
        self._buffer += part
        found = list(self._pieces())
        if self.is_done and self._buffer:
            raise Odd("the answer goes on behind its end")
        return found

    def _pieces(self) -> Iterator[Piece]:
        buffer = self._buffer
        while not self.is_done:
            if self._data is not None:
                if not buffer:
                    return
                yield self._take_data(self._data)
                continue
            shown = self._take_object()
            if shown is None:
                return
            if shown.all.get("done") is True:
                self._end(shown)
            else:
                yield from self._begin(shown)

    def _take_object(self) -> Members | None:
        """Take the next object, if it has come whole."""
        buffer = self._buffer
        if len(buffer) < LENGTH.size:
            return None
        (size,) = LENGTH.unpack_from(buffer)
        if size > _LONGEST_OBJECT:
            raise Odd("the answer has no pieces in it")
        behind = LENGTH.size + size
        if len(buffer) < behind:
            return None
        shown = members.parse(bytes(buffer[LENGTH.size : behind]))
        del buffer[:behind]
        return shown

    def _begin(self, shown: Members) -> Iterator[Piece]:
        kind = _KINDS.get(shown.text("kind"))
        if kind is None:
            raise Odd("the answer has an odd `kind`")
        piece = Piece(
            shown.address("address"),
            shown.number("length"),
            kind,
            shown.text_or_none("reason"),
        )
        if not self.left or self.left[0][0] != piece.address or not piece.length:
            raise Odd("the answer has an odd `address`: it is not where the last piece ends")
        if kind == "data":
            self._data = piece
        else:
            self._advance(piece)
            yield piece

    def _take_data(self, piece: Piece) -> Piece:
        taken = bytes(self._buffer[: piece.length])
        del self._buffer[: len(taken)]
        return self._take(piece, taken)

    def _take(self, piece: Piece, taken: bytes) -> Piece:
        """Take bytes of what is to come; what is to come then."""
        rest = piece.length - len(taken)
        self._data = Piece(piece.address + len(taken), rest, "data") if rest else None
        part = Piece(piece.address, len(taken), "data", None, taken)
        self._advance(part)
        return part

    def _advance(self, piece: Piece) -> None:
        self._sums[piece.kind] += piece.length
        at, end = piece.address, piece.address + piece.length
        while at < end:
            if not self.left or self.left[0][0] != at:
                raise Odd("the answer has an odd `length`: it goes beyond what was asked for")
            start, stop = self.left.pop(0)
            at = min(end, stop)
            if at < stop:
                self.left.insert(0, (max(start, at), stop))

    def _end(self, shown: Members) -> None:
        said = Sums(shown.number("data"), shown.number("zeros"), shown.number("gaps"))
        if self.left or said != self.sums:
            raise Odd("the answer says that it is whole, and is not")
        self.is_done = True
