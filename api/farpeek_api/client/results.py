"""What comes back, as values. Addresses are integers, lengths are bytes, times are UTC."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from farpeek_api.client.members import Odd

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from farpeek_api.client.members import Members

_OF_A_PROCESS: Final = ("pid", "ns_pids", "comm", "uid", "gid", "start_time")
_WHOLE: Final = 64
"""Bits of an address of which none is a tag."""

_OF_A_TARGET: Final = (
    "pointer_size",
    "byte_order",
    "page_size",
    "state",
    "registered_at",
    "labels",
)


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes that were not read: ``length`` of them, ``offset`` behind the region's begin.

    ``reason`` is one of ``unmapped``, ``no_access``, ``beyond_file``, ``not_resident``,
    ``unreadable``, and of a write ``read_only`` and ``shared`` too.
    """

    region: int
    offset: int
    address: int
    length: int
    reason: str
    retryable: bool

    @classmethod
    def parse(cls, shown: Members) -> Gap:
        """Take it from an answer."""
        return cls(
            shown.number("region"),
            shown.number("offset"),
            shown.address("address"),
            shown.number("length"),
            shown.text("reason"),
            shown.flag("retryable"),
        )


@dataclass(frozen=True)
class ReadResult:
    """What a read gave.

    ``data`` has the regions one behind the other. Where ``on_gap`` is ``continue`` it has
    ``requested`` bytes, and gaps are zeros; with ``stop`` it ends at the gap. ``backend`` says how
    it was read (``pidfd``, ``nowait``, ``rung``); ``began_ns`` is CLOCK_MONOTONIC of the service's
    host. ``members`` is all that the service said.
    """

    target: str
    regions: Sequence[tuple[int, int]]
    data: bytes = field(repr=False)
    requested: int
    read: int
    gaps: Sequence[Gap]
    backend: Mapping[str, str]
    generation: int | None
    began_ns: int
    elapsed_us: int
    members: Mapping[str, object] = field(repr=False)

    @property
    def complete(self) -> bool:
        """Whether every byte was read."""
        return not self.gaps

    @property
    def stable(self) -> bool | None:
        """Whether two readings were equal; None if that was not asked for."""
        value = self.members.get("stable")
        return value if isinstance(value, bool) else None

    def region(self, number: int) -> bytes:
        """Give the bytes of one region, by its place in the request; IndexError for no such place.

        Its gaps are zeros; after a ``stop`` it has only what was read of it.
        """
        length = self.regions[number][1]
        start = self._starts[number]
        return self.data[start : start + length]

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *accumulate(length for _, length in self.regions)][: len(self.regions)]


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: by ``code``, or by ``signal`` (its name)."""

    code: int | None
    signal: str | None
    core_dumped: bool

    @classmethod
    def parse(cls, shown: Members) -> Exit:
        """Take it from an answer."""
        return cls(
            shown.number_or_none("code"), shown.text_or_none("signal"), shown.flag("core_dumped")
        )


@dataclass(frozen=True, slots=True)
class Process:
    """A process that the service can see.

    ``pid`` counts in the service's pid namespace; ``ns_pids`` are its numbers from there inwards.
    ``target`` is its id where it is registered. ``resident_bytes`` is how much of it is in memory:
    in a list of processes, and None where it has given its memory up.
    """

    pid: int
    ns_pids: Sequence[int]
    comm: str
    exe: str | None
    uid: int
    gid: int
    cgroup: str | None
    container: str | None
    start_time: datetime
    target: str | None
    resident_bytes: int | None
    members: Mapping[str, object] = field(repr=False)

    @classmethod
    def parse(cls, shown: Members) -> Process:
        """Take it from an answer."""
        shown.need(*_OF_A_PROCESS)
        return cls(
            shown.number("pid"),
            shown.numbers("ns_pids"),
            shown.text("comm"),
            shown.text_or_none("exe"),
            shown.number("uid"),
            shown.number("gid"),
            shown.text_or_none("cgroup"),
            shown.text_or_none("container"),
            shown.time("start_time"),
            shown.text_or_none("target"),
            shown.number_or_none("resident_bytes"),
            shown.all,
        )


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """A target, as it was when the service was asked.

    ``state`` is ``running``, ``exited`` or ``reaped``; ``exit`` is None while the kernel does not
    tell. ``pointer_size`` and ``page_size`` are bytes, ``byte_order`` is ``little`` or ``big``;
    None where the service may not look at the program, as it may not at its memory.
    ``generation`` counts the programs that it was seen to execute; None where that cannot be seen.
    ``address_bits`` are those of an address that say where it is: 56 on arm64, where programs keep
    tags above.
    """

    id: str
    process: Process
    generation: int | None
    pointer_size: int | None
    byte_order: str | None
    page_size: int
    address_bits: int
    state: str
    registered_at: datetime
    exited_at: datetime | None
    exit: Exit | None
    labels: Mapping[str, str]
    members: Mapping[str, object] = field(repr=False)

    @property
    def pid(self) -> int:
        """Its number in the service's pid namespace."""
        return self.process.pid

    def untagged(self, address: int) -> int:
        """Give an address without its tag: as mappings have it. The kernel's half has none."""
        half = 1 << self.address_bits - 1
        return address if address & half else address & half - 1

    @classmethod
    def parse(cls, shown: Members) -> TargetInfo:
        """Take it from an answer."""
        shown.need("id", *_OF_A_PROCESS, *_OF_A_TARGET)
        return cls(
            shown.text("id"),
            Process.parse(shown),
            shown.number_or_none("generation"),
            shown.number_or_none("pointer_size"),
            shown.text_or_none("byte_order"),
            shown.number("page_size"),
            _address_bits(shown),
            shown.text("state"),
            shown.time("registered_at"),
            shown.time_or_none("exited_at"),
            Exit.parse(shown.inner("exit")) if shown.has("exit") else None,
            shown.texts("labels"),
            shown.all,
        )


def _address_bits(shown: Members) -> int:
    """Give them; all, where the service is of a version that knows no tags."""
    found = shown.number_or_none("address_bits")
    if found is None:
        return _WHOLE
    if not 0 < found <= _WHOLE:
        raise Odd("the answer has an odd `address_bits`")
    return found


@dataclass(frozen=True, slots=True)
class MappedRegion:
    """A mapping of a target: ``start`` up to ``end``, which is behind it.

    ``perms`` as /proc/PID/maps has them; ``offset`` is where it begins in its file. Pages are
    counted only if that was asked for.
    """

    start: int
    end: int
    perms: str
    offset: int
    path: str | None
    build_id: str | None
    resident_pages: int | None
    swapped_pages: int | None
    members: Mapping[str, object] = field(repr=False)

    @property
    def length(self) -> int:
        """Bytes of it."""
        return self.end - self.start

    @classmethod
    def parse(cls, shown: Members) -> MappedRegion:
        """Take it from an answer."""
        shown.need("start", "end", "perms", "offset")
        return cls(
            shown.address("start"),
            shown.address("end"),
            shown.text("perms"),
            shown.number("offset"),
            shown.text_or_none("path"),
            shown.text_or_none("build_id"),
            shown.number_or_none("resident_pages"),
            shown.number_or_none("swapped_pages"),
            shown.all,
        )


@dataclass(frozen=True, slots=True)
class FileInfo:
    """The file behind a mapping: ``size`` in bytes, ``build_id`` of an ELF file that has one.

    ``version`` is another text once the file is another one, or was changed.
    """

    size: int
    device: str
    inode: int
    build_id: str | None
    version: str

    @classmethod
    def parse(cls, headers: Mapping[str, str]) -> FileInfo:
        """Take it from the head of an answer."""
        size, inode = headers.get("content-length", ""), headers.get("farpeek-file-inode", "")
        if not (size.isdecimal() and inode.isdecimal()):
            raise Odd("the answer lacks `Content-Length` or `Farpeek-File-Inode`")
        return cls(
            int(size),
            headers.get("farpeek-file-device", ""),
            int(inode),
            headers.get("farpeek-build-id"),
            headers.get("etag", "").strip('"'),
        )


@dataclass(frozen=True, slots=True)
class Registers:
    """What is known of a thread that does not run: program counter and stack pointer.

    ``syscall`` is the number of the system call that it is in, and ``arguments`` are its six; both
    are None in a page fault and in a stop.
    """

    pc: int
    sp: int
    syscall: int | None
    arguments: tuple[int, ...] | None

    @classmethod
    def parse(cls, shown: Members) -> Registers:
        """Take them from an answer."""
        return cls(
            shown.address("pc"),
            shown.address("sp"),
            shown.number_or_none("syscall"),
            shown.addresses("arguments") if shown.has("arguments") else None,
        )


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread of a target, at one moment; nothing was stopped for it.

    ``state`` is the letter of proc_pid_stat(5). Of one that is ``running`` the ``registers`` are
    not known. ``wchan`` is the kernel's function that it sleeps in, ``cpu_ns`` how long it has run.
    """

    tid: int
    comm: str
    state: str
    running: bool
    registers: Registers | None
    wchan: str | None
    cpu_ns: int

    @classmethod
    def parse(cls, shown: Members) -> Thread:
        """Take it from an answer."""
        known = shown.has("registers")
        return cls(
            shown.number("tid"),
            shown.text("comm"),
            shown.text("state"),
            shown.flag("running"),
            Registers.parse(shown.inner("registers")) if known else None,
            shown.text_or_none("wchan"),
            shown.number("cpu_ns"),
        )


@dataclass(frozen=True, slots=True)
class StandingMatch:
    """Something that holds all processes that fit, now and later.

    ``held`` of them run, ``refused`` found no room. ``targets`` are the ids of those that run;
    None where they were not asked for.
    """

    id: str
    match: Mapping[str, object]
    limit: int
    held: int
    refused: int
    targets: Sequence[str] | None
    members: Mapping[str, object] = field(repr=False)

    @classmethod
    def parse(cls, shown: Members) -> StandingMatch:
        """Take it from an answer."""
        shown.need("id", "match", "limit", "held", "refused")
        return cls(
            shown.text("id"),
            shown.inner("match").all,
            shown.number("limit"),
            shown.number("held"),
            shown.number("refused"),
            shown.text_list("targets") if shown.has("targets") else None,
            shown.all,
        )
