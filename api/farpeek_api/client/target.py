"""A target, as both clients have it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from farpeek_api.client import calls
from farpeek_api.client.operations import Awaiting, Waiting, operation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from farpeek_api.client.calls import Mode, OnGap
    from farpeek_api.client.drivers import AsyncDriver, Driver
    from farpeek_api.client.results import MappedRegion, ReadResult, TargetInfo
    from farpeek_api.client.steps import Call

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

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.release()
