"""Calls for long ranges: in pieces, into a file, and as plain bytes."""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from farpeek_api.client import calls
from farpeek_api.client.pieces import PIECES, Piece, PieceParser, Range, Sums, check_ranges
from farpeek_api.client.problems import (
    BadAnswer,
    Interrupted,
    NoSuchTarget,
    ShuttingDown,
    Unreachable,
)
from farpeek_api.client.steps import (
    MIB,
    PATIENCE_S,
    Call,
    Flow,
    Item,
    Open,
    Pause,
    Request,
    more,
    work,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future, ThreadPoolExecutor

MOST_GAPS: Final = 65_536
"""Gaps of a dump that are remembered; their bytes are counted in any case."""

_MOST_RANGES: Final = 4096
_PAUSE_S: Final = 0.1
_BATCH: Final = MIB
_ZEROS: Final = bytes(MIB)


def _open_pieces(
    target_id: str, ranges: list[Range], options: Mapping[str, object]
) -> Call[PieceParser]:
    """Ask for ranges in pieces."""
    asked = ranges[:_MOST_RANGES]
    body = {**options, "ranges": [[hex(start), hex(end)] for start, end in asked]}
    request = calls.json_request(calls.target_path(target_id, "/memory"), body, PIECES)
    reply = yield from calls.ask(Open(request))
    generation = reply.headers.get("farpeek-generation", "")
    return PieceParser(asked, int(generation) if generation.isdecimal() else None)


def _next_pieces(parser: PieceParser) -> Call[list[Piece] | None]:
    """Take the pieces that come next; None at the end. Raises Interrupted for a cut."""
    part = yield from more()
    if part:
        with calls.answer_of_a_farpeek():
            return parser.feed(part)
    if not parser.is_done:
        raise Interrupted("the answer ended before its last piece")
    return None


def pieces(target_id: str, ranges: Sequence[Range], options: Mapping[str, object]) -> Flow[Piece]:
    """``POST /v1/targets/{id}/memory``: what ranges are made of."""
    left = check_ranges(ranges)
    while left:
        parser = yield from _open_pieces(target_id, left, options)
        left = left[_MOST_RANGES:]
        while (found := (yield from _next_pieces(parser))) is not None:
            for piece in found:
                yield Item(piece)


@dataclass(frozen=True, slots=True)
class Dump:
    """What a dump has written: bytes of ``data``, of ``zeros`` and of ``gaps``.

    ``gap_pieces`` are the places that could not be read, with their reasons, up to 65,536 of them.
    ``resumed`` is how often it went on after the service, or the connection, had gone away.
    """

    sums: Sums
    gap_pieces: Sequence[Piece] = field(repr=False)
    resumed: int

    @property
    def complete(self) -> bool:
        """Whether every byte was read."""
        return not self.sums.gaps


_NO_FILE: Final = "a dump has holes in it, so that it needs a regular file"


class _Sink:
    """A sparse file, written in place; its offset 0 is the first range's start."""

    def __init__(self, path: str | os.PathLike[str], ranges: list[Range]) -> None:
        self._path = path
        self._base = ranges[0][0] if ranges else 0
        self._size = max((end for _, end in ranges), default=self._base) - self._base
        self._batch: list[Piece] = []
        self._batch_size = 0
        self._fd = -1
        self._writer: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None
        self._data = self._zeros = self._gaps = 0
        self.gap_pieces: list[Piece] = []

    def open(self) -> None:
        """Make the file, if it is not made yet: once something has come that is to be in it."""
        if self._fd >= 0:
            return
        from concurrent import futures  # noqa: PLC0415 - for dumps alone

        found = Path(self._path)
        if found.exists() and not found.is_file():  # to open a pipe would wait for its reader
            raise OSError(errno.EINVAL, _NO_FILE, self._path)
        # Of memory, nobody else's business.
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(self._fd, self._size)  # where it cannot be so large, it is known now
            os.ftruncate(self._fd, 0)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._path) from None
        self._writer = futures.ThreadPoolExecutor(1, "farpeek-dump")

    @property
    def sums(self) -> Sums:
        return Sums(self._data, self._zeros, self._gaps)

    @property
    def done(self) -> int:
        """Bytes that are accounted for, whatever they are."""
        return self._data + self._zeros + self._gaps

    def add(self, piece: Piece) -> None:
        if piece.kind == "zeros":
            self._zeros += piece.length
        elif piece.kind == "gap":
            self._gaps += piece.length
            if len(self.gap_pieces) < MOST_GAPS:
                self.gap_pieces.append(piece)
        else:
            self._data += piece.length
            self._batch.append(piece)
            self._batch_size += piece.length

    @property
    def is_full(self) -> bool:
        return self._batch_size >= _BATCH

    def write(self) -> None:
        """Have written what was added, once what was added before it is; more comes meanwhile.

        In a thread of its own a dump takes two thirds of the time.
        """
        batch, self._batch, self._batch_size = self._batch, [], 0
        self._wait()
        assert self._writer is not None  # noqa: S101 - the file is open
        self._writing = self._writer.submit(self._write, batch)

    def _wait(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write(self, batch: list[Piece]) -> None:
        for piece in batch:
            if not _ZEROS.startswith(piece.data):  # those are holes of the file
                _write_all(self._fd, piece.data, piece.address - self._base)

    def end(self) -> None:
        self.open()
        self.write()
        self._wait()
        os.ftruncate(self._fd, self._size)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.shutdown()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def dump(
    target_id: str,
    path: str | os.PathLike[str],
    ranges: Sequence[Range],
    options: Mapping[str, object],
    progress: Callable[[int, int], object] | None,
    patience_s: float = PATIENCE_S,
) -> Call[Dump]:
    """Write ranges to a sparse file; it goes on where the service went away in the middle."""
    left = check_ranges(ranges)
    if left and min(start for start, _ in left) < left[0][0]:
        raise ValueError("the first range is not the lowest: the file's offset 0 is its start")
    total = sum(end - start for start, end in left)
    sink = _Sink(path, left)
    what = _Dumping(target_id, options, patience_s, progress, total)
    try:
        resumed = yield from _fill(what, left, sink)
        yield from work(sink.end)
    finally:
        sink.close()
    return Dump(sink.sums, sink.gap_pieces, resumed)


@dataclass(frozen=True, slots=True)
class _Dumping:
    """What is dumped, how patiently, and who wants to know how far it is."""

    target_id: str
    options: Mapping[str, object]
    patience_s: float
    progress: Callable[[int, int], object] | None
    total: int

    def tell(self, done: int) -> None:
        if self.progress is not None:
            self.progress(done, self.total)


def _fill(what: _Dumping, left: list[Range], sink: _Sink) -> Call[int]:
    """Get all of ``left``; how often it had to be begun again."""
    resumed = 0
    give_up = 0.0
    options = what.options
    while left:
        before = sink.done
        parser: PieceParser | None = None
        try:
            parser = yield from _open_pieces(what.target_id, left, options)
            # What follows is to be of the same program.
            options = {"generation": parser.generation, **what.options}
            yield from work(sink.open)
            yield from _take(parser, sink, what)
            left = left[_MOST_RANGES:]
        except (Interrupted, Unreachable, ShuttingDown, NoSuchTarget) as error:
            if parser is not None:
                left = parser.left + left[_MOST_RANGES:]
            now = time.monotonic()
            if sink.done > before or not give_up:
                give_up = now + what.patience_s
            # Where nothing has come at all, there is nothing to go on with.
            if not sink.done or now > give_up:
                raise
            resumed += sink.done > before
            yield Pause(_PAUSE_S)
            if isinstance(error, NoSuchTarget):
                yield from register_again(what.target_id)
                options = what.options  # it counts programs from 1 again
    return resumed


def _take(parser: PieceParser, sink: _Sink, what: _Dumping) -> Call[None]:
    while (found := (yield from _next_pieces(parser))) is not None:
        for piece in found:
            sink.add(piece)
        if sink.is_full:
            yield from work(sink.write)
            what.tell(sink.done)
    yield from work(sink.write)
    what.tell(sink.done)


def register_again(target_id: str) -> Call[None]:
    """Be known to a service that was restarted."""
    with suppress(Interrupted, Unreachable, ShuttingDown):
        # The very process: its number's next owner is no answer to its id.
        yield from calls.register({"id": target_id}, None)


def bulk(target_id: str, start: int, end: int, options: Mapping[str, object]) -> Flow[bytes]:
    """``GET /v1/targets/{id}/memory``: the bytes of a range, asked for again behind a cut."""
    check_ranges([(start, end)])
    at = start
    path = calls.target_path(target_id, "/memory")
    query = calls.parameters(options)
    while at < end:
        before = at
        headers = {"Range": f"bytes={at}-{end - 1}"}
        reply = yield from calls.ask(Open(Request("GET", path, query, headers)))
        if not reply.headers.get("content-range", "").startswith(f"bytes {at}-"):
            raise BadAnswer("the answer is not of the range that was asked for")
        try:
            while part := (yield from more()):
                at += len(part)
                if at > end:
                    raise BadAnswer("the answer has more bytes than the range")
                yield Item(part)
        except Interrupted:
            if at == before:
                raise
