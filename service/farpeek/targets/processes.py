"""Finding processes, and telling who they are, from the files of /proc that cannot hang.

`cmdline`, `maps` and `environ` take the process's mmap lock, and hang behind a stuck page fault;
nothing here opens them. These functions run in access threads all the same: a host has thousands
of processes.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import translate
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from farpeek.errors import DeadlineExceeded, InvalidRequest, NoSuchProcess
from farpeek.identity import Identity, Match, Process
from farpeek.kernel import names, status, uapi
from farpeek.kernel.pidfd import has_exited, is_reaped
from farpeek.mappings import auxv
from farpeek.targets import cgroups, executables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TICKS = os.sysconf("SC_CLK_TCK")
_ENDED = "ZX"  # states of a thread
_STATES = {
    "R": "running",
    "S": "sleeping",
    "D": "disk_sleep",
    "T": "stopped",
    "t": "traced",
    "Z": "zombie",
    "X": "zombie",
}  # proc_pid_stat(5)
_PF_KTHREAD = 0x00200000  # include/linux/sched.h
_MOST_STATUS_BYTES = 1 << 16
_TRIES = 4  # at one who it is, while it executes one program after the other


@dataclass(frozen=True, slots=True)
class _Stat:
    """Of proc_pid_stat(5): what the listing decides by."""

    comm: str
    state: str
    parent: int
    flags: int
    threads: int
    start_ticks: int

    @property
    def is_kernel_thread(self) -> bool:
        return bool(self.flags & _PF_KTHREAD)

    @property
    def is_zombie(self) -> bool:
        """State Z alone is no exit: other threads may live on after the first one."""
        return self.state in _ENDED and self.threads <= 1


def find(match: Match, deadline: float) -> list[Identity]:
    """All processes that fit ``match``, but for kernel threads and zombies.

    Raises DeadlineExceeded at ``deadline`` (time.monotonic).
    """
    found: list[Identity] = []
    for looked_at, pid in enumerate(pids()):
        if time.monotonic() >= deadline:
            raise DeadlineExceeded(
                f"the time was over when {looked_at} processes had been looked at: say more in the "
                "match (`comm` is the quickest), or raise --deadline"
            )
        identity = _look(pid, match)
        if identity is not None:
            found.append(identity)
    return found


def fits(identity: Identity, match: Match) -> bool:
    """Whether every selector of ``match`` that is set fits the whole value."""
    return (
        _glob(identity.comm, match.comm)
        and _glob(identity.exe, match.exe)
        and _glob(identity.cgroup, match.cgroup)
        and _glob(identity.container, match.container)
        and match.uid in (None, identity.uid)
        and match.ns_pid in (None, identity.ns_pids[-1])
    )


def hold(pid: int) -> tuple[Process, Identity]:
    """Open a pidfd of process ``pid``, and tell whom it holds; the caller owns the pidfd.

    Everything that is told was read when the pidfd was there and before the process was reaped, so
    it is all of one process: a number is not free before the reap. A zombie is held too.
    Raises NoSuchProcess, and InvalidRequest for a kernel thread or the number of a thread.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError as error:
        raise NoSuchProcess(f"there is no process {pid}") from error
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINVAL):
            raise _is_a_thread(pid) from error
        raise
    try:
        stat = _stat(pid)
        identity = _identify(pid, stat) if stat else None
        size, order = _binary(_alive(pid, stat)) if stat else (None, None)
        if stat is None or identity is None or is_reaped(pidfd):
            raise NoSuchProcess(f"process {pid} ended while it was being registered")
        if stat.is_kernel_thread:
            raise InvalidRequest(f"{pid} is a kernel thread, it has no memory", ("pid",))
    except BaseException:
        os.close(pidfd)
        raise
    state = _state(identity)
    return Process(pid, pidfd), replace(
        identity, pointer_size=size, byte_order=order, process_state=state
    )


def refresh(process: Process, known: Identity) -> Identity:
    """Who ``process`` is now (execve changes it); as ``known`` if it has exited meanwhile."""
    stat = _stat(process.pid)
    identity = _identify(process.pid, stat) if stat else None
    size, order = _binary(_alive(process.pid, stat)) if stat else (None, None)
    if identity is None or has_exited(process.pidfd):
        return known
    # No two looks at two clocks agree to the millisecond: the time first told stays.
    began = known.start_time
    return replace(
        identity,
        start_time=began,
        pointer_size=size,
        byte_order=order,
        process_state=_state(identity),
        cmdline=known.cmdline,
    )


def _state(identity: Identity) -> str:
    """The state as it is, for a target: a list of thousands does without these looks.

    A frozen process sleeps, and only its cgroup tells why. A first thread that has ended is no end
    of the process: a live one tells.
    """
    state, pid = identity.process_state, identity.pid
    if state == "zombie":
        first = _stat(pid)
        stat = _stat_of(_alive(pid, first)) if first else None
        state = state if stat is None else _STATES.get(stat.state, "sleeping")
    may_be_frozen = state in ("sleeping", "disk_sleep", "stopped")
    if may_be_frozen and cgroups.is_frozen(_read(f"/proc/{pid}/cgroup")):
        return "frozen"
    return state


def uid_now(process: Process) -> int | None:
    """Its effective uid at this moment, by few and short steps; None if it is gone."""
    uid = uapi.pidfd_euid(process.pidfd)
    if uid is not None or has_exited(process.pidfd):
        return uid
    fields = _status(process.pid)
    return int(fields[b"Uid"].split()[1]) if fields else None


def look_again(process: Process, known: Identity) -> Identity:
    """Who ``process`` is, looked at on the spot: what `refresh` may wait for stays as known."""
    found = identify(process.pid)
    if found is None or has_exited(process.pidfd) or found.start_ticks != known.start_ticks:
        return known
    return replace(
        found,
        start_time=known.start_time,
        pointer_size=known.pointer_size,
        byte_order=known.byte_order,
        cmdline=known.cmdline,
    )


def is_as_known(process: Process, known: Identity) -> bool:
    """Whether its name and its user are, by few and short steps."""
    name = _read(f"/proc/{process.pid}/comm").removesuffix(b"\n")
    uid = uid_now(process)
    return uid is None or (uid == known.uid and names.shown(name) == known.comm)


def environment(proc: str) -> tuple[int, int] | None:
    """Where the environment of a program begins and ends; None where it has none yet."""
    fields = _read(f"{proc}/stat").rpartition(b")")[2].split()
    if not fields or not int(fields[48]):
        return None
    return int(fields[47]), int(fields[48])


def places(proc: str) -> tuple[int, int] | None:
    """Where code and stack of a program begin; zeros where they may not be seen."""
    fields = _read(f"{proc}/stat").rpartition(b")")[2].split()
    return (int(fields[23]), int(fields[25])) if fields else None


def live_folder(pid: int) -> str:
    """The folder of /proc that tells of a process's program; OSError if there is no process."""
    stat = _stat(pid)
    if stat is None:
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    return _alive(pid, stat)


def pids() -> Iterator[int]:
    """The numbers of all processes that can be seen."""
    with os.scandir("/proc") as entries:
        for entry in entries:
            if entry.name.isdigit():
                yield int(entry.name)


def identify(pid: int) -> Identity | None:
    """Who process ``pid`` is; None for what never matches, or is gone."""
    stat = _stat(pid)
    skipped = stat is None or stat.is_kernel_thread or stat.is_zombie
    return None if stat is None or skipped else _identify(pid, stat)


def ns_pids(pid: int) -> tuple[int, ...] | None:
    """``NSpid`` of proc_pid_status(5): its numbers, from the service's pid namespace inwards."""
    fields = _status(pid)
    return tuple(map(int, fields[b"NSpid"].split())) if fields and b"NSpid" in fields else None


def traits(pid: int, *, with_cgroup: bool) -> tuple[bytes | int, ...] | None:
    """Whatever of a process can make it fit a match that it did not fit before; None if it is gone.

    A program is told from the next by where its stack begins (proc_pid_stat(5), startstack).
    """
    line = _read(f"/proc/{pid}/stat")
    if not line:
        return None
    head, _, tail = line.rpartition(b")")
    fields = tail.split()
    try:
        uid = os.stat(f"/proc/{pid}").st_uid  # noqa: PTH116 - pathlib is slow
    except OSError:
        return None
    cgroup = _read(f"/proc/{pid}/cgroup") if with_cgroup else b""
    return head, fields[19], fields[25], uid, cgroup


def _look(pid: int, match: Match) -> Identity | None:
    """Identify ``pid`` if it fits; ``comm`` is looked at first, since it is there already."""
    stat = _stat(pid)
    if stat is None or stat.is_kernel_thread or stat.is_zombie or not _glob(stat.comm, match.comm):
        return None
    identity = _identify(pid, stat)
    return identity if identity and fits(identity, match) else None


def _glob(value: str | None, pattern: str | None) -> bool:
    return pattern is None or (value is not None and _compiled(pattern).match(value) is not None)


# fnmatch's own cache keeps 32,768 patterns, which clients choose.
@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))


def _is_a_thread(pid: int) -> InvalidRequest:
    fields = _status(pid)
    of = f" of process {int(fields[b'Tgid'])}; register that" if fields else ""
    return InvalidRequest(f"{pid} is the number of a thread{of}", ("pid",))


def _stat(pid: int) -> _Stat | None:
    return _stat_of(f"/proc/{pid}")


def _stat_of(proc: str) -> _Stat | None:
    line = _read(f"{proc}/stat")
    if not line:
        return None
    head, _, tail = line.rpartition(b")")  # a comm may hold parentheses and spaces itself
    fields = tail.split()
    return _Stat(
        comm=names.shown(head.partition(b"(")[2]),
        state=fields[0].decode(),
        parent=int(fields[1]),
        flags=int(fields[6]),
        threads=int(fields[17]),
        start_ticks=int(fields[19]),
    )


def _status(pid: int) -> dict[bytes, bytes] | None:
    try:
        return status.fields(f"/proc/{pid}")
    except OSError:
        return None


def _identify(pid: int, stat: _Stat) -> Identity | None:
    """Find out who it is, by looks between which it executed nothing.

    Else the name would be that of the program before, which is no business of whoever may know of
    this one.
    """
    identity = None
    for _ in range(_TRIES):
        identity = _look_at(pid, stat)
        again = _stat(pid)
        if identity is None or again is None or again.comm == stat.comm:
            break
        stat = again
    return identity


def _look_at(pid: int, stat: _Stat) -> Identity | None:
    fields = _status(pid)
    if fields is None or b"NSpid" not in fields:
        return None
    proc = _alive(pid, stat)
    cgroup, container = cgroups.parse(_read(f"{proc}/cgroup"))
    exe, deleted = executables.of(proc)
    return Identity(
        pid=pid,
        ns_pids=tuple(map(int, fields[b"NSpid"].split())),
        start_ticks=stat.start_ticks,
        start_time=_boot_time() + stat.start_ticks / _TICKS,
        comm=stat.comm,
        exe=exe,
        exe_deleted=deleted,
        ppid=stat.parent,
        process_state=_STATES.get(stat.state, "sleeping"),
        uid=int(fields[b"Uid"].split()[1]),
        gid=int(fields[b"Gid"].split()[1]),
        cgroup=cgroup,
        container=container,
        pointer_size=None,
        byte_order=None,
        resident_bytes=_resident(fields),
    )


def _resident(fields: Mapping[bytes, bytes]) -> int | None:
    """How much it has in memory; None where it has given its memory up."""
    size = fields.get(b"VmRSS")
    return None if size is None else int(size.split()[0]) << 10


def _boot_time() -> float:
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def _alive(pid: int, stat: _Stat) -> str:
    """The folder of /proc that tells of the program: a live thread's if the first one has ended.

    Such a first thread has neither executable nor mount table, and may have left its cgroup.
    """
    folder = f"/proc/{pid}"
    if stat.state in _ENDED:
        with suppress(OSError), os.scandir(f"{folder}/task") as threads:
            for thread in threads:
                if executables.of(thread.path)[0] is not None:
                    return thread.path
    return folder


def _binary(proc: str) -> tuple[int | None, Literal["little", "big"] | None]:
    """Pointer size and byte order of the program; Linux runs none of another order than its own."""
    size = auxv.await_pointer_size(proc)
    return size, sys.byteorder if size else None


def _read(path: str) -> bytes:
    """A small file of /proc; empty if the process is gone, or hidden."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib is slow
            return file.read(_MOST_STATUS_BYTES)
    except OSError:
        return b""
