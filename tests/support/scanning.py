"""Scans of memory that is made up, and what they have to find."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from farpeek.access.pieces import Batch
from farpeek.counts import Counts
from farpeek.mappings.mapping import Mapping
from farpeek.model import GapReason, Mode, Piece, PieceKind
from farpeek.search.model import Pattern, SearchSpec
from farpeek.search.patterns import compile_pattern
from farpeek.search.places import Places
from farpeek.search.scan import Scan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

START = 0x1000
PATIENCE_S = 60.0


class Laid(NamedTuple):
    """A part of memory: its ``kind``, and its bytes, which count where it is ``data``."""

    kind: str
    content: bytes


class _Memory:
    """Reads memory that is made up, as a ``PieceReader`` does."""

    def __init__(self, laid: Sequence[Laid]) -> None:
        self._pieces: list[tuple[int, Laid]] = []
        self.end = START
        for each in laid:
            self._pieces.append((self.end, each))
            self.end += len(each.content)

    def read(self, process: object, start: int, end: int, most: int, deadline: float) -> Batch:
        del process, deadline
        left = most
        found: list[Piece] = []
        reached = start
        for address, each in self._pieces:
            first, last = max(start, address), min(end, address + len(each.content))
            if first >= last or not left:
                continue
            if each.kind == "data":
                last = min(last, first + left)
                left -= last - first
                content = memoryview(bytearray(each.content))[first - address : last - address]
                found.append(Piece(first, last - first, PieceKind.DATA, None, content))
            elif each.kind == "zeros":
                found.append(Piece(first, last - first, PieceKind.ZEROS, None, None))
            else:
                reason = GapReason.NOT_RESIDENT
                found.append(Piece(first, last - first, PieceKind.GAP, reason, None))
            reached = last
        return Batch(found, reached)


class _Programs:
    def within_one(self, act: Callable[[], Any], wanted: int | None) -> tuple[Any, int | None]:
        return act(), wanted


def scan(
    laid: Sequence[Laid], pattern: Pattern, mode: Mode, context: int, chunk: int
) -> list[tuple[int, int]]:
    """Find a pattern, ``chunk`` bytes at a time; starts and ends from the first byte on.

    What goes with each match has to be what is there.
    """
    memory: Any = _Memory(laid)
    if memory.end == START:
        return []
    target: Any = SimpleNamespace(process=None, programs=_Programs())
    mapping = Mapping(START, memory.end, "rw-p", 0, (0, 0), 0, b"")
    spec = SearchSpec(pattern, mode=mode, context=context, limit=1 << 20)
    matcher = compile_pattern(pattern, "little", 8)
    going = Scan(target, spec, matcher, Places([mapping]), memory, Counts(), chunk)
    whole = b"".join(
        each.content if each.kind == "data" else bytes(len(each.content)) for each in laid
    )
    found: list[tuple[int, int]] = []
    end = time.monotonic() + PATIENCE_S
    while not going.progress.is_done:
        for each in going.turn(end, end):
            at = each.address - START
            found.append((at, at + each.length))
            first = at - each.before
            assert whole[first : first + len(each.context)] == each.context
    progress = going.progress
    assert progress.stopped is None
    assert progress.bytes + progress.skipped == progress.of == len(whole)
    return found


def stretches(laid: Sequence[Laid], mode: Mode) -> list[tuple[int, bytes]]:
    """Put together what no gap is in, each with the place of its first byte."""
    found: list[tuple[int, bytes]] = []
    at, goes_on = 0, False
    for kind, content in laid:
        counts = kind == "data" or (kind == "zeros" and mode is Mode.WAIT)
        if counts:
            shown = content if kind == "data" else bytes(len(content))
            if goes_on:
                found[-1] = found[-1][0], found[-1][1] + shown
            else:
                found.append((at, shown))
        goes_on = counts
        at += len(content)
    return found


def expected(
    laid: Sequence[Laid], wanted: Sequence[int | None], mode: Mode
) -> list[tuple[int, int]]:
    """Tell by `re` where bytes are, None being any."""
    return [
        (at + start, at + end)
        for at, content in stretches(laid, mode)
        for start, end in whole_find(content, wanted)
    ]


def whole_find(content: bytes | bytearray, wanted: Sequence[int | None]) -> list[tuple[int, int]]:
    """The same in one stretch."""
    text = b"".join(b"." if each is None else b"\\x%02x" % each for each in wanted)
    looked = re.compile(b"(?s)(?=%b)" % text)
    return [(match.start(), match.start() + len(wanted)) for match in looked.finditer(content)]
