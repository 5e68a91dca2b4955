"""A target, as both clients have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from farpeek_api.client import calls
from farpeek_api.client.long_reads import LongReads
from farpeek_api.client.operations import Awaiting, Waiting, operation
from farpeek_api.client.values import Values

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from farpeek_api.client.calls import Mode, OnGap
    from farpeek_api.client.drivers import AsyncDriver, Driver
    from farpeek_api.client.files import AsyncMemoryFile, MemoryFile
    from farpeek_api.client.plans import Plan, PlanResult
    from farpeek_api.client.results import FileInfo, MappedRegion, ReadResult, TargetInfo, Thread
    from farpeek_api.client.steps import Call
    from farpeek_api.client.writing import WriteResult


class Operations(LongReads, Values):
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

        TimeoutError after ``timeout_s`` seconds; None waits for as long as it takes. It goes on
        with a service that was started again; TargetExited if the process ended before that.

        >>> try:
        ...     target.wait(timeout_s=0.01)
        ... except TimeoutError:
        ...     print("it runs")
        it runs
        """
        from farpeek_api.client import waiting

        return waiting.wait(self.id, timeout_s)

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
    def plan(
        self,
        plan: Plan | Mapping[str, object],
        *,
        mode: Mode | None = None,
        generation: int | None = None,
    ) -> Call[PlanResult]:
        """Follow what memory says: structures, lists, arrays, chains of pointers, texts.

        ``plan`` is built by `Plan`, or a mapping with ``types``, ``steps`` and ``limits`` as the
        wire has them. All of it is one request. What is missing is in ``gaps``, and ``stopped`` of
        each step's rows says why there are no more.

        >>> from farpeek_api.client import Plan
        >>> plan = Plan()
        >>> words = plan.array("words", "u16", address, count=3, most=100)
        >>> [hex(word) for word in target.plan(plan)["words"]["value"]]
        ['0x100', '0x302', '0x504']
        """
        wanted = plan.body() if not isinstance(plan, Mapping) else plan
        return calls.plan(self.id, wanted, {"mode": mode, "generation": generation})

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

    @operation
    def threads(self) -> Call[list[Thread]]:
        """List the threads by their ids, with what is known of their registers.

        Nothing is stopped: of a thread that runs they are not known.

        >>> [first, *_] = target.threads()
        >>> first.tid == target.pid, first.registers is None
        (True, False)
        """
        return calls.threads(self.id)

    @operation
    def file_info(self, address: int) -> Call[FileInfo]:
        """Tell of the file behind the mapping that holds ``address``: its size, its build id.

        NoFile where there is none; FileRemote where it is one that the service does not open.

        >>> target.file_info(target.auxv()["AT_ENTRY"]).size > 4096
        True
        """
        return calls.file_info(self.id, address)

    @operation
    def read_file(
        self, address: int, offset: int, length: int, *, version: str | None = None
    ) -> Call[bytes]:
        r"""Read from the file behind the mapping that holds ``address``; shorter at its end.

        ``version`` is the `FileInfo`'s: BadAnswer if the file is another one by now.
        RangeBeyond where the file ends before ``offset``.

        >>> target.read_file(target.auxv()["AT_ENTRY"], 0, 4)
        b'\x7fELF'
        """
        return calls.read_file(self.id, address, offset, length, version)

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
        from farpeek_api.client import writing

        return writing.writev(self.id, regions, expect, options)


def _how(mode: Mode | None, timeout_s: float | None, generation: int | None) -> dict[str, object]:
    return {"mode": mode, "timeout_s": timeout_s, "generation": generation}


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
        from farpeek_api.client.files import MemoryFile

        return MemoryFile(self._driver, self.id, start, end)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class AsyncTarget(Operations, Awaiting):
    """A registered process. As an asynchronous context manager it is released at the end."""

    def __init__(self, driver: AsyncDriver, info: TargetInfo) -> None:
        super().__init__(info)
        self._driver = driver

    def open(self, start: int, end: int) -> AsyncMemoryFile:
        """Open a range as a file whose reads are awaited; its offset 0 is ``start``."""
        from farpeek_api.client.files import AsyncMemoryFile

        return AsyncMemoryFile(self._driver, self.id, start, end)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.release()
