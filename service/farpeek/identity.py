"""Values: who a process is, what is held of it, and what happens to it. Nothing here acts."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping


class TargetState(StrEnum):
    """Where a target is in its life; it only moves downwards."""

    RUNNING = "running"
    EXITED = "exited"  # the pidfd is readable: the memory is gone
    REAPED = "reaped"  # the pidfd has hung up: the number is free for others


@dataclass(frozen=True, slots=True)
class Process:
    """What a thread needs to reach one process: a number, and the pidfd that vouches for it."""

    pid: int
    pidfd: int


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a process is. ``None`` where the service may not look.

    ``start_ticks`` is field 22 of proc_pid_stat(5); ``ns_pids`` is ``NSpid`` of proc_pid_status(5),
    from the service's pid namespace inwards; ``uid`` and ``gid`` are the effective ones, which
    the kernel's access checks look at first. Names are shown as ``kernel.names`` has it;
    ``exe_deleted``: the file ``exe`` has that name no more. ``process_state`` is as it was then:
    running, sleeping, disk_sleep, stopped, traced, zombie, frozen.
    """

    pid: int
    ns_pids: tuple[int, ...]
    start_ticks: int
    start_time: float  # seconds since the epoch
    comm: str
    exe: str | None
    exe_deleted: bool
    ppid: int
    process_state: str
    uid: int
    gid: int
    cgroup: str | None
    container: str | None
    pointer_size: int | None
    byte_order: Literal["little", "big"] | None
    cmdline: bytes | None = None  # of a target, as `cmdlines.read` gives it
    resident_bytes: int | None = field(default=None, compare=False)  # VmRSS, as it was then


@dataclass(frozen=True, slots=True)
class ListedProcess:
    """A process that the service can see, and the id of its target where it is one."""

    identity: Identity
    target: str | None


@dataclass(frozen=True, slots=True)
class Match:
    """Names a process by what it is. Shell globs fit whole values, and case counts."""

    comm: str | None = None
    exe: str | None = None
    uid: int | None = None
    cgroup: str | None = None
    container: str | None = None
    ns_pid: int | None = None  # its number in its own pid namespace, the innermost


@dataclass(frozen=True, slots=True)
class Claim:
    """What one client has of a target: its labels, and the first standing match that holds it."""

    labels: Mapping[str, str]
    match: str | None = None


_NO_CLAIM = Claim({})


@dataclass(frozen=True, slots=True)
class Caller:
    """The process at the other end of a unix socket: the one that connected.

    ``pid`` counts in the service's pid namespace, 0 if it is not to be seen from there. ``pidfd``
    is None where the kernel gives none (SO_PEERPIDFD, Linux 6.5), or it has ended; ``has_ended``
    tells the two apart.
    """

    pid: int
    pidfd: int | None
    has_ended: bool


class PidNamespace(StrEnum):
    """Whose numbers of processes are meant."""

    CALLER = "caller"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a process ended: by ``code`` or by ``signal`` (its name), never both."""

    code: int | None
    signal: str | None
    core_dumped: bool


@dataclass(frozen=True, slots=True)
class TargetSnapshot:
    """A target as it was at one moment; times are seconds since the epoch."""

    id: str
    identity: Identity
    generation: int | None  # the number of its program; None where it cannot be told
    page_size: int
    address_bits: int
    state: TargetState
    registered_at: float
    exited_at: float | None
    exit: ExitStatus | None
    claims: Mapping[str, Claim]  # by client; subscriptions are not in it

    def claim_of(self, client: str) -> Claim:
        """What ``client`` has of it; an empty one if that is nothing."""
        return self.claims.get(client, _NO_CLAIM)


class EventKind(StrEnum):
    """What can happen to a target."""

    REGISTERED = "registered"
    EXEC = "exec"  # it executes another program
    EXITED = "exited"
    REAPED = "reaped"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a target. Numbers rise by one, across restarts too."""

    number: int
    kind: EventKind
    at: float
    target: TargetSnapshot
    client: str | None = None  # whom alone it concerns; None: everybody
