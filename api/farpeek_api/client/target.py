"""A target, as both clients have it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from farpeek_api.client import calls, writing
from farpeek_api.client import ranges as long_ranges
from farpeek_api.client.files import AsyncMemoryFile, MemoryFile
from farpeek_api.client.operations import Awaiting, Waiting, flow, operation

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self

    from farpeek_api.client.calls import Mode, OnGap
    from farpeek_api.client.drivers import AsyncDriver, Driver
    from farpeek_api.client.pieces import Piece, Range
    from farpeek_api.client.ranges import Dump
    from farpeek_api.client.results import MappedRegion, ReadResult, TargetInfo
    from farpeek_api.client.steps import Call, Flow
    from farpeek_api.client.writing import WriteResult

_POINTERS: Final = {4: "I", 8: "Q"}


class Operations:
    """What can be done with a target. In `AsyncTarget` each of these is awaited.

    Addresses and lengths are integers, of bytes. All of them raise `Problem`: `TargetExited` when
    the process has exited, `AccessDenied` where the kernel refuses, `TooBusy`, `Deadline`, ...; and
    `Unreachable` or `Interrupted` without a service.
    """

    def __init__(self, info: TargetInfo) -> None:
        self.info = info
        """The target as it was registered; `refresh` gives it as it is now."""

    @property
    def id(self) -> str:
        """Its id, equal for the same process for as long as the host is up."""
        return self.info.id

    @property
    def pid(self) -> int:
        """Its number in the service's pid namespace."""
        return self.info.pid

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.info.process.comm!r}>"

    @operation
    def refresh(self) -> Call[TargetInfo]:
        """Ask what the target is at now.

        >>> target.refresh().state
        'running'
        """
        return calls.target(self.id)

    @operation
    def wait(self, timeout_s: float | None = None) -> Call[TargetInfo]:
        """Wait until the process has exited; how it ended is in ``exit``, once the kernel tells.

        TimeoutError after ``timeout_s`` seconds; None waits for as long as it takes.

        >>> try:
        ...     target.wait(timeout_s=0.01)
        ... except TimeoutError:
        ...     print("it runs")
        it runs
        """
        return calls.wait(self.id, timeout_s)

    @operation
    def release(self, *, everybody: bool = False) -> Call[None]:
        """Drop this client's claim on the target; ``everybody`` drops those of all.

        NoSuchTarget if there is no such claim.

        >>> other = peek.target(pid, labels={"for": "a while"})
        >>> other.release()
        >>> target = peek.target(pid)
        """
        return calls.release(self.id, everybody=everybody)

    @operation
    def readv(  # noqa: PLR0913 - what the call has
        self,
        regions: Sequence[tuple[int, int]],
        *,
        mode: Mode | None = None,
        on_gap: OnGap | None = None,
        timeout_s: float | None = None,
        stable: int | None = None,
        prefetch: bool | None = None,
        generation: int | None = None,
    ) -> Call[ReadResult]:
        r"""Read ``(address, length)`` pairs, in their order and each as often as it is named.

        Missing bytes are no error: the result's ``gaps`` name them. ``mode="nowait"`` never waits
        for I/O; ``on_gap="stop"`` ends at the first gap; ``stable=N`` reads again until two
        readings are equal; ``generation`` is the program that is meant, else TargetChanged.
        TooLarge for more than the service answers at once (16 MiB by default); ValueError for what
        is no address.

        >>> result = target.readv([(address, 4), (closed, 8)])
        >>> result.region(0), result.complete
        (b'\x00\x01\x02\x03', False)
        >>> [(gap.region, gap.length, gap.reason) for gap in result.gaps]
        [(1, 8, 'no_access')]
        """
        options = {
            "mode": mode,
            "on_gap": on_gap,
            "timeout_s": timeout_s,
            "stable": stable,
            "prefetch": prefetch,
            "generation": generation,
        }
        return calls.readv(self.id, regions, options)

    @operation
    def read(
        self,
        address: int,
        length: int,
        *,
        mode: Mode | None = None,
        timeout_s: float | None = None,
        generation: int | None = None,
    ) -> Call[bytes]:
        """Read ``length`` bytes. IncompleteRead, with a ``result``, where some are missing.

        >>> target.read(address, 4).hex(" ")
        '00 01 02 03'
        """
        return calls.read(self.id, address, length, _how(mode, timeout_s, generation))

    @operation
    def unpack(
        self,
        format: str,  # noqa: A002 - as in struct
        address: int,
        *,
        mode: Mode | None = None,
    ) -> Call[tuple[int | float | bytes | bool, ...]]:
        """Read what `struct.unpack` then takes apart. IncompleteRead; struct.error for the format.

        >>> target.unpack("<BH", address)
        (0, 513)
        """
        return _unpack(self.id, struct.Struct(format), address, mode)

    @operation
    def u8(self, address: int, *, mode: Mode | None = None) -> Call[int]:
        """Read an unsigned integer of 8 bits. IncompleteRead.

        >>> target.u8(address + 7)
        7
        """
        return self._integer(address, "B", mode)

    @operation
    def u16(self, address: int, *, mode: Mode | None = None) -> Call[int]:
        """Read an unsigned integer of 16 bits, in the target's byte order. IncompleteRead.

        >>> hex(target.u16(address))
        '0x100'
        """
        return self._integer(address, "H", mode)

    @operation
    def u32(self, address: int, *, mode: Mode | None = None) -> Call[int]:
        """Read an unsigned integer of 32 bits, in the target's byte order. IncompleteRead.

        >>> hex(target.u32(address))
        '0x3020100'
        """
        return self._integer(address, "I", mode)

    @operation
    def u64(self, address: int, *, mode: Mode | None = None) -> Call[int]:
        """Read an unsigned integer of 64 bits, in the target's byte order. IncompleteRead.

        >>> hex(target.u64(address))
        '0x706050403020100'
        """
        return self._integer(address, "Q", mode)

    @operation
    def i8(self, address: int, *, mode: Mode | None = None) -> Call[int]:
        """Read a signed integer of 8 bits. IncompleteRead.

        >>> target.i8(address + 250)
        -6
        """
        return self._integer(address, "b", mode)

    @operation
    def i16(self, address: int, *, mode: Mode | None = None) -> Call[int]:
        """Read a signed integer of 16 bits, in the target's byte order. IncompleteRead.

        >>> target.i16(address + 200)
        -13880
        """
        return self._integer(address, "h", mode)

    @operation
    def i32(self, address: int, *, mode: Mode | None = None) -> Call[int]:
        """Read a signed integer of 32 bits, in the target's byte order. IncompleteRead.

        >>> target.i32(address)
        50462976
        """
        return self._integer(address, "i", mode)

    @operation
    def i64(self, address: int, *, mode: Mode | None = None) -> Call[int]:
        """Read a signed integer of 64 bits, in the target's byte order. IncompleteRead.

        >>> target.i64(address + 240) < 0
        True
        """
        return self._integer(address, "q", mode)

    @operation
    def f32(self, address: int, *, mode: Mode | None = None) -> Call[float]:
        """Read a float of 32 bits, in the target's byte order. IncompleteRead.

        >>> target.f32(address) < 1
        True
        """
        return self._number(address, "f", mode)

    @operation
    def f64(self, address: int, *, mode: Mode | None = None) -> Call[float]:
        """Read a float of 64 bits, in the target's byte order. IncompleteRead.

        >>> target.f64(address) < 1
        True
        """
        return self._number(address, "d", mode)

    @operation
    def pointer(self, address: int, *, mode: Mode | None = None) -> Call[int]:
        """Read an address, of the size that the target's program has. IncompleteRead.

        >>> target.pointer(address) == target.u64(address)
        True
        """
        return self._integer(address, _POINTERS[self.info.pointer_size], mode)

    @operation
    def cstring(self, address: int, *, limit: int = 4096, mode: Mode | None = None) -> Call[bytes]:
        r"""Read the bytes before the next NUL, which is looked for in ``limit`` bytes.

        ValueError if there is none among them, IncompleteRead if a gap comes first.

        >>> target.cstring(address + 248)
        b'\xf8\xf9\xfa'
        """
        return calls.cstring(self.id, address, limit, {"mode": mode})

    @operation
    def maps(
        self, *, address: int | None = None, residency: bool = False
    ) -> Call[list[MappedRegion]]:
        """List the mappings by address, or just the one that holds ``address``.

        ``residency`` counts the pages that are in memory and swapped out. Nothing is brought in.

        >>> [each.perms for each in target.maps(address=address)]
        ['rw-s']
        """
        query = {
            "address": None if address is None else hex(address),
            "residency": residency or None,
        }
        return calls.maps(self.id, query)

    @operation
    def auxv(self) -> Call[dict[str, int]]:
        """Give the auxiliary vector, by the names of getauxval(3).

        >>> target.auxv()["AT_PAGESZ"]
        4096
        """
        return calls.auxv(self.id)

    @flow
    def pieces(
        self, ranges: Sequence[Range], *, mode: Mode | None = None, generation: int | None = None
    ) -> Flow[Piece]:
        """Go through ``(from, to)`` ranges of any length, piece by piece.

        Memory that nobody has touched is one piece of zeros, whatever its size, and what cannot be
        read is a gap; bytes come in parts, as they arrive. Interrupted where the answer is cut off:
        what came before it is right, and all has come where nothing is raised.

        >>> ranges = [(closed - 8192, closed + 4096)]
        >>> sum(piece.length for piece in target.pieces(ranges) if piece.kind == "data")
        8192
        """
        return long_ranges.pieces(self.id, ranges, {"mode": mode, "generation": generation})

    @flow
    def bulk(
        self, start: int, end: int, *, mode: Mode | None = None, zero_gaps: bool = False
    ) -> Flow[bytes]:
        """Read the bytes of a range of any length, part by part, as they arrive.

        RangeUnreadable at the first byte that cannot be read. With ``zero_gaps``, places that have
        no bytes are zeros.

        >>> sum(map(len, target.bulk(address, address + 100_000)))
        100000
        """
        query = {"mode": mode, "gaps": "zero" if zero_gaps else None}
        return long_ranges.bulk(self.id, start, end, query)

    @operation
    def dump(
        self,
        path: str | os.PathLike[str],
        ranges: Sequence[Range],
        *,
        mode: Mode | None = None,
        generation: int | None = None,
        progress: Callable[[int, int], object] | None = None,
        patience_s: float = long_ranges.PATIENCE_S,
    ) -> Call[Dump]:
        r"""Write ``(from, to)`` ranges to a file, whose offset 0 is the first one's start.

        The file is sparse, made anew and its owner's alone: untouched memory and gaps are holes of
        it. ``progress`` is called with the bytes that are done and those of all. Where the service
        goes away in the middle, or is started again, the dump goes on; after ``patience_s`` seconds
        without a byte it gives up and raises what stood against it last. It is whole only where
        nothing is raised: the service says at its end what it has sent, and that is compared.
        ValueError if the first range is not the lowest; OSError for the file.

        >>> import tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     out = pathlib.Path(folder, "memory")
        ...     dump = target.dump(out, [(address, closed + 4096)])
        ...     dump.complete, dump.sums.gaps, out.read_bytes()[:3]
        (False, 4096, b'\x00\x01\x02')
        """
        options = {"mode": mode, "generation": generation}
        return long_ranges.dump(self.id, path, ranges, options, progress, patience_s)

    @operation
    def writev(  # noqa: PLR0913 - what the call has
        self,
        regions: Sequence[tuple[int, bytes]],
        *,
        expect: Sequence[bytes] | None = None,
        mode: Mode | None = None,
        timeout_s: float | None = None,
        dry_run: bool | None = None,
        allow_shared: bool | None = None,
        generation: int | None = None,
    ) -> Call[WriteResult]:
        """Write ``(address, bytes)`` pairs; only where ``expect`` is there now, if it is given.

        Bytes that cannot be written are gaps of the result. ``dry_run`` only says what would be
        done; ``allow_shared`` writes to shared mappings too. Forbidden unless the service was
        started with --allow-writes, ExpectationFailed where other bytes are there, AlreadyTraced
        where a debugger holds the target.

        >>> try:
        ...     target.writev([(address, b"new")], expect=[b"old"])
        ... except Forbidden as problem:
        ...     print(problem)
        writing is off: start the service with --allow-writes
        """
        options = {
            "mode": mode,
            "timeout_s": timeout_s,
            "dry_run": dry_run,
            "allow_shared": allow_shared,
            "generation": generation,
        }
        return writing.writev(self.id, regions, expect, options)

    def _integer(self, address: int, kind: str, mode: Mode | None) -> Call[int]:
        return _one(self.id, self._layout(kind), address, mode)

    def _number(self, address: int, kind: str, mode: Mode | None) -> Call[float]:
        return _one(self.id, self._layout(kind), address, mode)

    def _layout(self, kind: str) -> struct.Struct:
        return struct.Struct((">" if self.info.byte_order == "big" else "<") + kind)


def _how(mode: Mode | None, timeout_s: float | None, generation: int | None) -> dict[str, object]:
    return {"mode": mode, "timeout_s": timeout_s, "generation": generation}


def _unpack(
    target_id: str, layout: struct.Struct, address: int, mode: Mode | None
) -> Call[tuple[int | float | bytes | bool, ...]]:
    return layout.unpack((yield from calls.read(target_id, address, layout.size, {"mode": mode})))


def _one(target_id: str, layout: struct.Struct, address: int, mode: Mode | None) -> Call[int]:
    (value,) = layout.unpack(
        (yield from calls.read(target_id, address, layout.size, {"mode": mode}))
    )
    return value  # type: ignore[no-any-return]


class Target(Operations, Waiting):
    """A registered process. As a context manager it is released at the end."""

    def __init__(self, driver: Driver, info: TargetInfo) -> None:
        super().__init__(info)
        self._driver = driver

    def open(self, start: int, end: int) -> MemoryFile:
        r"""Open a range as a file: an `io.RawIOBase`, whose offset 0 is ``start``.

        Reads are short before a gap, and raise OSError(EIO) with its reason at one.

        >>> with target.open(address, closed) as memory:
        ...     memory.seek(7), memory.read(2), memory.tell()
        (7, b'\x07\x08', 9)
        """
        return MemoryFile(self._driver, self.id, start, end)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class AsyncTarget(Operations, Awaiting):
    """A registered process. As an asynchronous context manager it is released at the end."""

    def __init__(self, driver: AsyncDriver, info: TargetInfo) -> None:
        super().__init__(info)
        self._driver = driver

    def open(self, start: int, end: int) -> AsyncMemoryFile:
        """Open a range as a file whose reads are awaited; its offset 0 is ``start``."""
        return AsyncMemoryFile(self._driver, self.id, start, end)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.release()
