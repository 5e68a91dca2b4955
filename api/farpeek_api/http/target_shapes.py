"""The shapes of answers about processes: who they are, what they have mapped, their threads.

Clients ignore members that they do not know. A text below a member is its description.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003 - pydantic looks at all of these
from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from farpeek.identity import TargetState  # noqa: TC001
from farpeek_api.http.values import ShownAddress, Time  # noqa: TC001

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
