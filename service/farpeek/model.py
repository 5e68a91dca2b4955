"""Values: memory that is read and written, and how the service is. Nothing here acts."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

ADDRESS_LIMIT = 1 << 64
"""One more than the highest address that a request can name."""

PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
"""Bytes of a page; all processes of a kernel have the same."""


class Mode(StrEnum):
    """How a read treats a page that is not in memory."""

    WAIT = "wait"  # the fault is resolved, however long it takes
    NOWAIT = "nowait"  # the page is a gap


class NowaitCheck(StrEnum):
    """What is looked at before a `nowait` read on a kernel with PROCESS_VM_NOWAIT."""

    AUTO = "auto"  # file mappings that are not on a local filesystem, where the flag can wait
    ALWAYS = "always"  # everything, as where the kernel has no such flag
    NEVER = "never"  # nothing


class OnGap(StrEnum):
    """What a read does at a place that cannot be read."""

    CONTINUE = "continue"  # goes on behind it
    STOP = "stop"  # ends there, as the system call does


class GapReason(StrEnum):
    """Why bytes were not read, or not written."""

    UNMAPPED = "unmapped"
    NO_ACCESS = "no_access"
    BEYOND_FILE = "beyond_file"
    NOT_RESIDENT = "not_resident"
    UNREADABLE = "unreadable"
    SHARED = "shared"  # of writes: others see the memory, and the request does not allow that

    @property
    def retryable(self) -> bool:
        """Whether the same read may succeed a moment later."""
        return self in (GapReason.NOT_RESIDENT, GapReason.UNREADABLE)


class Stage(StrEnum):
    """What was under way when the time was over."""

    QUEUE = "queue"  # in line: for a thread, or for bytes of the budget
    PAGE_FAULT = "page-fault"  # in the transfer itself, which resolves faults as it goes
    MAPPINGS = "mappings"  # looking at the target's map, which a stuck fault can lock
    RESIDENCY = "residency"  # looking at its page table
    FILES = "files"  # looking at the files behind mappings
    PIN = "pin"  # holding it still for a write
    EXIT = "exit"  # its memory is gone, and its exit is waited for


class Gate(StrEnum):
    """The check in the kernel that refused access."""

    UID = "uid"
    GID = "gid"
    CAPABILITY = "capability"
    DUMPABLE = "dumpable"
    YAMA = "yama"
    SECCOMP = "seccomp"
    USER_NAMESPACE = "user-namespace"
    SECURITY_MODULE = "security-module"


@dataclass(slots=True)
class Regions:
    """The remote iovec of a read as two columns of equal length, in the order of the request.

    Not frozen, nor is `ReadSpec`: a request may have 65,536 reads, and that takes 1 us of each.
    """

    addresses: Sequence[int]
    lengths: Sequence[int]


@dataclass(slots=True)
class ReadSpec:
    """One vectored read, of its regions in their order, each as often as it is named."""

    regions: Regions
    mode: Mode = Mode.WAIT
    on_gap: OnGap = OnGap.CONTINUE
    prefetch: bool = False  # of `nowait`: ask for what was missing to be read in
    stable: int = 0  # read again, so many times at most, until two readings are equal
    generation: int | None = None  # the program that is meant; None: whichever it is


@dataclass(frozen=True, slots=True)
class RangeSpec:
    """One long read of ``start .. end``.

    With ``OnGap.CONTINUE`` places without bytes are zeros; bytes that were not read end it always.
    """

    start: int
    end: int
    mode: Mode = Mode.WAIT
    on_gap: OnGap = OnGap.STOP
    generation: int | None = None  # the program that is meant; None: that of its first byte


class PieceKind(StrEnum):
    """What a piece of a long range is."""

    DATA = "data"
    ZEROS = "zeros"  # nobody has touched it
    GAP = "gap"


class Piece(NamedTuple):
    """A part of a long range. ``data`` is that of data alone, ``reason`` that of a gap."""

    address: int
    length: int
    kind: PieceKind
    reason: GapReason | None
    data: memoryview | None


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes ``address .. address + length`` of region number ``region`` that were not read.

    ``offset`` counts from the beginning of that region.
    """

    region: int
    offset: int
    address: int
    length: int
    reason: GapReason


@dataclass(frozen=True, slots=True)
class Backend:
    """How it was done: ``native`` or ``emulated`` for each flag in use.

    ``pinned`` is the emulation of PROCESS_VM_PIDFD for writes: see ``access.pin``.
    """

    pidfd: Literal["native", "emulated", "pinned"]
    rung: str  # the technique, as `/v1/info` names it
    nowait: Literal["native", "emulated"] | None = None  # None in `wait` mode


@dataclass(frozen=True, slots=True)
class Prefetch:
    """What came of the wish to have missing bytes read in; it goes on after the answer."""

    started: bool
    length: int  # bytes asked for
    detail: str


@dataclass(slots=True)
class ReadResult:
    """What a read gave; a short one is a result like any other.

    Not frozen, because that takes 2 us of each read, and `generation` is known last.

    ``data`` holds the regions one behind the other in the order of the request. With
    ``OnGap.CONTINUE`` it has ``requested`` bytes and the gaps are zeros; with ``OnGap.STOP`` it
    has the first ``read`` bytes.
    """

    data: bytes | bytearray
    requested: int
    read: int
    gaps: Sequence[Gap]
    backend: Backend
    began_ns: int = 0  # by CLOCK_MONOTONIC
    stable: bool | None = None  # whether two readings were equal; None unless asked for
    readings: int = 1
    prefetch: Prefetch | None = None  # None unless asked for
    generation: int | None = None  # the program that was read; None where it cannot be told

    @property
    def complete(self) -> bool:
        """Whether every byte was read."""
        return self.read == self.requested


@dataclass(frozen=True, slots=True)
class WriteSpec:
    """One vectored write: as many pieces of ``data`` as addresses; regions do not overlap.

    ``expect``: what has to be there for anything to be written, as long as ``data`` each.
    ``allow_shared``: mappings that others see are written, too.
    """

    addresses: Sequence[int]
    data: Sequence[bytes]
    expect: Sequence[bytes] | None = None
    mode: Mode = Mode.WAIT
    allow_shared: bool = False
    generation: int | None = None  # the program that is meant; None: whichever it is

    @property
    def regions(self) -> Regions:
        """Where it goes."""
        return Regions(self.addresses, [len(piece) for piece in self.data])


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What a write did, or would do; a short one is a result like any other.

    ``before`` holds what was there, the regions one behind the other, with zeros where it could
    not be read. ``verified``: all that was written was there afterwards, too.
    """

    requested: int
    written: int
    verified: bool
    before: bytes | bytearray
    gaps: Sequence[Gap]
    backend: Backend

    @property
    def complete(self) -> bool:
        """Whether every byte was written."""
        return self.written == self.requested


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a write would do: the bytes that it would write, and the mappings that they are in."""

    result: WriteResult
    would_write: int
    mappings: Sequence[MappingView]


@dataclass(frozen=True, slots=True)
class Difference:
    """The first byte that is not as a write expected it; ``found`` is None where none is read."""

    region: int
    offset: int
    address: int
    expected: int
    found: int | None


@dataclass(frozen=True, slots=True)
class MappingView:
    """One mapping of a target, as proc_pid_maps(5) has it.

    ``resident`` and ``swapped`` count bytes, ``flags`` are the VmFlags of proc_pid_smaps(5); all
    are ``None`` unless asked for. ``build_id`` is that of the ELF file, None where there is none,
    or for ``build_id_reason``. ``deleted``: the file is called ``path`` no more, but for the
    " (deleted)" at its end; None where that cannot be told.
    """

    start: int
    end: int
    perms: str
    offset: int
    device: tuple[int, int]
    inode: int
    path: str
    deleted: bool | None
    build_id: str | None
    build_id_reason: str | None
    resident: int | None
    swapped: int | None
    flags: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class MapsSpec:
    """Which mappings to list, and what to tell of them.

    In `nowait` nothing is brought into memory for it; in `wait` build ids are read from the files.
    """

    start: int = 0  # the first address that is looked at
    mode: Mode = Mode.NOWAIT
    residency: bool = False
    flags: bool = False


@dataclass(frozen=True, slots=True)
class MapsPage:
    """Some mappings in order, and the address to go on from; None where there are no more."""

    views: Sequence[MappingView]
    next: int | None


@dataclass(frozen=True, slots=True)
class Capability:
    """One thing the service can do here, how, and why not if it cannot."""

    provided: Literal["native", "emulated", "unavailable"]
    technique: str
    detail: str


@dataclass(frozen=True, slots=True)
class Limits:
    """Every bound of the service; each has a command line flag of the same name."""

    access_threads: int = 32
    nowait_threads: int = 8
    bulk_threads: int = 4
    plan_threads: int = 4
    target_threads: int = 4
    target_waiting: int = 64
    max_stuck_threads: int = 256
    max_targets: int = 16_384
    max_client_targets: int | None = None  # three quarters of these
    deadline_s: float = 10.0
    max_request_bytes: int = 16 << 20
    max_inflight_bytes: int = 256 << 20
    max_client_inflight_bytes: int | None = None  # half of these
    max_plan_reads: int = 65_536
    max_plan_rounds: int = 16_384
    max_plan_rows: int = 65_536
    max_regions: int = 65_536
    exited_ttl_s: float = 300.0


@dataclass(frozen=True, slots=True)
class StuckThreads:
    """Threads that hang in the kernel for one target; ``since`` is seconds since the epoch."""

    target: str
    mode: str  # a Mode, or "bulk", "bulk-nowait", "maps" or "prefetch"
    threads: int
    since: float


@dataclass(frozen=True, slots=True)
class ThreadCounts:
    """What the access threads are doing at this moment."""

    busy: int = 0
    idle: int = 0
    stuck: int = 0

    def __add__(self, other: ThreadCounts) -> ThreadCounts:
        return ThreadCounts(
            self.busy + other.busy, self.idle + other.idle, self.stuck + other.stuck
        )


@dataclass(frozen=True, slots=True)
class ServiceState:
    """A look at the service from outside."""

    threads: ThreadCounts
    running: int
    exited: int
    held_bytes: int  # of the budget of bytes in flight
    stuck: Sequence[StuckThreads] = field(default_factory=tuple)
