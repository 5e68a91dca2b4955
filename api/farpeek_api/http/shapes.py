"""The shapes of answers: what `render` makes, and what the OpenAPI document says of it.

Addresses are strings in them, for a JSON number loses bits above 2^53 in many clients. Clients
ignore members that they do not know. A text below a member is its description.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003 - pydantic looks at all of these
from typing import Annotated, Literal, NotRequired

from pydantic import Field, WithJsonSchema
from typing_extensions import TypedDict

from farpeek.model import GapReason, PieceKind, TargetState  # noqa: TC001
from farpeek.search.model import Stopped  # noqa: TC001

ShownAddress = Annotated[str, Field(pattern="^0x[0-9a-f]{1,16}$")]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
ShownBytes = Annotated[str, Field(json_schema_extra={"contentEncoding": "base64"})]
EncodedBytes = Annotated[
    str,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "contentEncoding": "base64"},
                {"type": "string", "contentEncoding": "base16", "pattern": "^([0-9a-f]{2})*$"},
            ]
        }
    ),
]
ProcessState = Annotated[
    str,
    Field(
        json_schema_extra={
            "enum": [
                *("running", "sleeping", "disk_sleep", "stopped", "traced", "zombie", "frozen"),
            ]
        }
    ),
]
HexByte = Annotated[str, Field(pattern="^[0-9a-f]{2}$")]


class Alive(TypedDict):
    """The event loop turns."""

    status: Literal["ok"]


class Ready(TypedDict):
    """Requests are taken."""

    status: Literal["ready"]


class Ticket(TypedDict):
    """A credential for one stream."""

    ticket: str
    """Offered as the protocol `farpeek.ticket.TICKET`, beside `farpeek.v1`."""
    expires_in_s: int
    """How long it is good, if it is not used."""


class Capability(TypedDict):
    """One thing that the service can do here, or cannot."""

    provided: Literal["native", "emulated", "unavailable"]
    technique: str
    """How."""
    detail: str
    """More about that; why not, where it is unavailable."""


class ThreadCounts(TypedDict):
    """Threads that read memory."""

    busy: int
    idle: int
    stuck: int
    """They hang in the kernel."""


class TargetCounts(TypedDict):
    """Targets that are held."""

    running: int
    exited: int


class StuckThreads(TypedDict):
    """Threads that hang in the kernel for one target."""

    target: str
    mode: str
    """What they were doing: `wait`, `nowait`, `bulk`, `bulk-nowait`, `maps`, `prefetch`."""
    threads: int
    since: Time


class Connections(TypedDict):
    """Connections that are open, and how many may be."""

    open: int
    unknown: int
    """Of those who have shown nothing."""
    most: int


class Info(TypedDict):
    """What the service can do here, its bounds, and how it is doing."""

    version: str
    api: Literal["v1"]
    kernel: str
    architecture: str
    capabilities: Mapping[str, Capability]
    """By name: `process_vm`, `pidfd`, `nowait`, `write`, `exit_status`, `reap`, `residency`,
    `guards`, ..."""
    limits: Mapping[str, float]
    """Every bound by its name; most have a setting of the same name."""
    listeners: Sequence[str]
    connections: Connections
    threads: ThreadCounts
    targets: TargetCounts
    held_bytes: int
    """Of `max_inflight_bytes`."""
    stuck: Sequence[StuckThreads]


class Cure(TypedDict):
    """What to change, by where the service runs; empty where there is nothing to say."""

    host: str
    docker: str
    kubernetes: str


class Finding(TypedDict):
    """One gate that decides about access."""

    gate: str
    verdict: Literal["blocks", "limits", "note", "fine"]
    here: str
    """What it says on this host."""
    effect: str
    """What follows from that."""
    cure: Cure


class Examination(TypedDict):
    """All findings, the worst first."""

    findings: Sequence[Finding]


class Identity(TypedDict):
    """Who a process is; null where the service may not look."""

    pid: int
    """In the service's pid namespace."""
    ns_pids: Sequence[int]
    """Its numbers, from the service's pid namespace inwards."""
    start_time: Time
    comm: str
    exe: str | None
    exe_deleted: bool
    """Its executable has that name no more."""
    uid: int
    """The effective one, as `gid` is."""
    gid: int
    cgroup: str | None
    container: str | None
    """The innermost one that the cgroup's path tells of."""


class Process(Identity):
    """A process that the service can see."""

    resident_bytes: int | None
    """How much of it is in memory, shared pages too; null where it has given its memory up."""
    target: str | None
    """The id of its target, where it is one."""


class ExitStatus(TypedDict):
    """How a process ended: by `code` or by `signal`, never both."""

    code: int | None
    signal: str | None
    """Its name, like `SIGSEGV`."""
    core_dumped: bool


class Target(Identity):
    """A process that is held by its pidfd."""

    id: str
    """Opaque; names this one process for as long as the host is up."""
    ppid: int
    cmdline: Sequence[str] | None
    process_state: ProcessState | None
    """As it was when it was looked at last; null once it is reaped."""
    pointer_size: int | None
    byte_order: Literal["little", "big"] | None
    generation: int | None
    """How many programs it has been seen to execute, from 1; null where that cannot be told."""
    page_size: int
    address_bits: int
    """Of an address, counted from the lowest, that say where it is; what is above is a tag."""
    state: TargetState
    registered_at: Time
    exited_at: Time | None
    exit: ExitStatus | None
    """Null until the kernel tells, and where it does not."""
    labels: Mapping[str, str]
    """Your own."""


class ProcessList(TypedDict):
    """Processes, by their numbers."""

    processes: Sequence[Process]
    truncated: NotRequired[Literal[True]]
    """The list was cut here."""
    next: NotRequired[int]
    """Give this as `from` to go on."""


class TargetList(TypedDict):
    """Targets, in the order of their registration."""

    targets: Sequence[Target]
    truncated: NotRequired[Literal[True]]
    """The list was cut here."""
    next: NotRequired[int]
    """Give this as `from` to go on."""


class Selector(TypedDict, total=False):
    """What a process is; all members must fit, and globs fit whole values."""

    comm: str
    exe: str
    uid: int
    cgroup: str
    container: str
    ns_pid: int
    """Its number in its own, innermost pid namespace."""


class StandingMatch(TypedDict):
    """Holds all processes that fit, now and later."""

    id: str
    match: Selector
    labels: Mapping[str, str]
    limit: int
    created_at: Time
    held: int
    """Targets of it that run."""
    refused: int
    """Processes that fit as well, and found no room."""


class StandingMatchList(TypedDict):
    """Your standing matches."""

    matches: Sequence[StandingMatch]


class StandingMatchTargets(StandingMatch):
    """A standing match, and what it holds."""

    targets: Sequence[str]
    """The ids of its targets that run."""


class AuxiliaryVector(TypedDict):
    """What the kernel told the program at its start, getauxval(3)."""

    auxv: Mapping[str, ShownAddress]
    """Each value by its name, like `AT_ENTRY`."""


class MappingPlace(TypedDict):
    """Where a mapping is, and of what."""

    start: ShownAddress
    end: ShownAddress
    """The address behind its last."""
    perms: str
    """As proc_pid_maps(5) writes them: `r-xp`."""
    offset: int
    """Of its beginning, in its file."""
    device: str
    """Major and minor number of its file's device, in hex."""
    inode: int
    path: str
    """Empty where it has no name."""
    resident_pages: NotRequired[int]
    """With `residency`."""
    swapped_pages: NotRequired[int]
    """With `residency`."""
    vm_flags: NotRequired[Sequence[str]]
    """With `flags`: the VmFlags of proc_pid_smaps(5)."""


class MemoryMapping(MappingPlace):
    """A mapping of a target."""

    build_id: str | None
    """Of the ELF file that is mapped; null where there is none, or it is not known."""
    build_id_reason: NotRequired[str]
    """Why it is not known: `not_resident`, or what failed."""
    deleted: NotRequired[bool | None]
    """Where `path` ends in " (deleted)": whether the kernel wrote that; null: it cannot be told."""


class MappingList(TypedDict):
    """Mappings, in the order of their addresses."""

    mappings: Sequence[MemoryMapping]
    truncated: NotRequired[Literal[True]]
    """The list was cut here."""
    next: NotRequired[ShownAddress]
    """Give this as `from` to go on."""


class Registers(TypedDict):
    """What is known of a thread that does not run."""

    pc: ShownAddress
    """Where it goes on: behind the instruction of its system call."""
    sp: ShownAddress
    syscall: int | None
    """The number of the system call that it is in; null in a page fault and in a stop."""
    arguments: Sequence[ShownAddress] | None
    """The six of that system call."""


class Thread(TypedDict):
    """A thread of a target."""

    tid: int
    comm: str
    state: str
    """The letter of proc_pid_stat(5): `S` sleeps, `R` runs or could, `D` waits for a device."""
    running: bool
    """It ran, or woke up, so that nobody knows its registers without stopping it."""
    registers: Registers | None
    """Null where it runs, and where it has ended."""
    wchan: str | None
    """The kernel's function that it sleeps in; null where that is not told."""
    cpu_ns: int
    """It has run for so many nanoseconds."""


class ThreadList(TypedDict):
    """Threads, in the order of their ids."""

    threads: Sequence[Thread]
    truncated: NotRequired[Literal[True]]
    """The list was cut here."""
    next: NotRequired[int]
    """Give this as `from` to go on."""


class WrittenMapping(MappingPlace):
    """A mapping that would be written to."""

    shared: bool
    """Others would see it."""


class Gap(TypedDict):
    """Bytes that were not read, or not written."""

    region: int
    """The number of its region in the request, from 0."""
    offset: int
    """In that region."""
    address: ShownAddress
    length: int
    reason: GapReason
    retryable: bool
    """The same may succeed a moment later."""


class Backend(TypedDict):
    """How it was done."""

    pidfd: Literal["native", "emulated", "pinned"]
    nowait: NotRequired[Literal["native", "emulated"]]
    rung: str
    """The technique."""


class Prefetch(TypedDict):
    """What came of the wish to have missing bytes read in; it goes on after the answer."""

    started: bool
    bytes: int
    detail: str


class ReadHead(TypedDict):
    """What a read gave, without its bytes: the object of a frame."""

    target: str
    requested: int
    """Bytes that were asked for."""
    read: int
    """Bytes that were read."""
    complete: bool
    gaps: Sequence[Gap]
    """In the order of the request; merged within a region, never over two."""
    backend: Backend
    generation: int | None
    """The number of the program that was read; null where it cannot be told."""
    began_ns: int
    """CLOCK_MONOTONIC when it began."""
    elapsed_us: int
    stable: NotRequired[bool]
    """With `stable`: whether the last two readings were equal."""
    readings: NotRequired[int]
    """With `stable`: how many there were."""
    prefetch: NotRequired[Prefetch]
    """With `prefetch`."""


class ReadResult(ReadHead):
    """What a read gave; a short one is a result like any other."""

    data: NotRequired[EncodedBytes]
    """The regions one behind the other, in the order of the request. With `on_gap: continue` gaps
    are zeros in it; with `stop` it ends at the gap. Base64, or hex with `encoding: hex`; left out
    with `none`."""


class WriteResult(TypedDict):
    """What a write did, or would do; a short one is a result like any other."""

    target: str
    requested: int
    written: int
    """Bytes that were written; 0 with `dry_run`."""
    complete: bool
    verified: bool
    """All that was written was there afterwards, too."""
    before: ShownBytes
    """What was there, the regions one behind the other; zeros where it could not be read."""
    gaps: Sequence[Gap]
    backend: Backend
    elapsed_us: int
    would_write: NotRequired[int]
    """With `dry_run`."""
    mappings: NotRequired[Sequence[WrittenMapping]]
    """With `dry_run`: what would be written to."""


class Difference(TypedDict):
    """The first byte that is not as expected."""

    region: int
    offset: int
    address: ShownAddress
    expected: HexByte
    found: HexByte | None
    """Null where it could not be read."""


class SearchMatch(TypedDict):
    """Where something was found."""

    address: ShownAddress
    length: int
    mapping: MappingPlace | None
    """The mapping that holds its first byte."""
    context: ShownBytes
    """The bytes in front of the match, the match, and the bytes behind it; fewer at a gap."""
    before: int
    """Bytes of `context` that are in front of the match."""


class SearchProgress(TypedDict):
    """How far a search has come."""

    bytes: int
    """Bytes that were searched."""
    of: int
    """Bytes of all that is to be."""
    skipped: int
    """Bytes that were left alone, as they were not resident, or could not be read."""


class SearchDone(TypedDict):
    """How a search has ended; an answer without it was cut off."""

    matches: int
    bytes: int
    """Bytes that were searched."""
    skipped: int
    """Bytes that were left alone, as they were not resident, or could not be read."""
    stopped: Stopped | None
    """Why it ended early; null: it is through."""
    generation: int | None
    """The program that was searched; null where the kernel does not tell them apart."""


class SearchLine(TypedDict):
    """A line of a search: one of these."""

    match: NotRequired[SearchMatch]
    progress: NotRequired[SearchProgress]
    """Each 0.2 seconds."""
    done: NotRequired[SearchDone]
    """The last line."""


class PieceHead(TypedDict):
    """What a piece of a range is; its bytes follow it where it is `data`."""

    address: ShownAddress
    length: int
    kind: PieceKind
    reason: NotRequired[GapReason]
    """Of a `gap`."""


class PiecesEnd(TypedDict):
    """The last object of an answer in pieces; without it the answer was cut off."""

    done: Literal[True]
    data: int
    """Bytes of all pieces of that kind, as below."""
    zeros: int
    gaps: int
    generation: int | None


class TargetEvent(TypedDict):
    """The `data` of an event `registered`, `exec`, `exited`, `reaped` or `released`."""

    at: Time
    target: Target
    match: NotRequired[str]
    """The id of your standing match that holds it."""


class LostEvents(TypedDict):
    """The `data` of an event `lost`: some that you have not seen are not kept any more."""

    after: int
    """The number behind which they were."""
    continues_at: int
    """The number of the next one."""
