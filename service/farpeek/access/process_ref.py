"""How a system call is told which process it is about, and how far its answer can be trusted.

After every read the reference is asked to `verify` it: while the pidfd is not readable, the process
lives, or its number is still its own (a number is free again only after the reap). Checking
*before* the read let 364 reads of an impostor through in 10,000 rounds of forced reuse; checking
after it, none.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from farpeek.access.witness import ProcessGone
from farpeek.kernel import gates, uapi
from farpeek.kernel.pidfd import has_exited

if TYPE_CHECKING:
    from farpeek.identity import Process


class NoMemory(Exception):
    """ESRCH: the address space is gone.

    Either the process has exited, or is about to, or only its first thread has ended and others
    live on. Not for outside: the caller looks further.
    """


class ProcessRef(Protocol):
    """Names one process to process_vm_readv(2)."""

    @property
    def process(self) -> Process:
        """The process that is named."""
        ...

    @property
    def flags(self) -> int:
        """PROCESS_VM_NOWAIT, or 0: how a page that is not in memory is treated."""
        ...

    @property
    def number(self) -> int:
        """The number of the process, or of a thread of it that has memory."""
        ...

    @property
    def call(self) -> tuple[int, int]:
        """First and last argument of the call: who, and all flags."""
        ...

    def readv(self, local: int, remote: int, remote_count: int) -> int:
        """Read into the one iovec at ``local``; bytes read or a negative errno."""
        ...

    def verify(self) -> None:
        """Return if what was read until now is the process's own; else raise.

        ProcessGone: it has exited. NoMemory: it may have.
        """
        ...

    @property
    def proc(self) -> str:
        """The folder of /proc where this process's mappings can be seen."""
        ...


@dataclass(slots=True)  # not frozen: that would take a fifth of a small read
class ByPidfd:
    """PROCESS_VM_PIDFD: the kernel itself takes care that it is the right process."""

    process: Process
    flags: int = 0

    @property
    def number(self) -> int:
        return self.process.pid

    @property
    def call(self) -> tuple[int, int]:
        return self.process.pidfd, self.flags | uapi.PROCESS_VM_PIDFD

    def readv(self, local: int, remote: int, remote_count: int) -> int:
        flags = self.flags | uapi.PROCESS_VM_PIDFD
        return uapi.process_vm_readv(self.process.pidfd, local, 1, remote, remote_count, flags)

    def writev(self, local: int, remote: int, remote_count: int) -> int:
        """Write from the one iovec at ``local``; the other references cannot do that safely."""
        flags = self.flags | uapi.PROCESS_VM_PIDFD
        return uapi.process_vm_writev(self.process.pidfd, local, 1, remote, remote_count, flags)

    def verify(self) -> None:
        probed = uapi.probe_memory(self.process.pidfd, uapi.PROCESS_VM_PIDFD)
        _conclude(self.process.pidfd, probed)

    @property
    def proc(self) -> str:
        return f"/proc/{self.process.pid}"


@dataclass(slots=True)
class ByNumber:
    """The process's number; the pidfd says afterwards whether it was still its own."""

    process: Process
    flags: int = 0

    @property
    def number(self) -> int:
        return self.process.pid

    @property
    def call(self) -> tuple[int, int]:
        return self.process.pid, self.flags

    def readv(self, local: int, remote: int, remote_count: int) -> int:
        return uapi.process_vm_readv(self.process.pid, local, 1, remote, remote_count, self.flags)

    def verify(self) -> None:
        _conclude(self.process.pidfd, uapi.probe_memory(self.process.pid))

    @property
    def proc(self) -> str:
        return f"/proc/{self.process.pid}"


@dataclass(frozen=True, slots=True)
class ByThread:
    """The number of a live thread, for a process whose first thread has ended.

    Such a process has no memory under its own number nor under its pidfd, and lives all the same.
    ``start_ticks`` tells the thread from a later one of the same number. ``first`` is how the
    process is named otherwise, as it has to be again once a thread has executed a program: that one
    is the first then, and the only one.
    """

    first: ProcessRef
    tid: int
    start_ticks: int

    @property
    def process(self) -> Process:
        return self.first.process

    @property
    def flags(self) -> int:
        return self.first.flags

    @property
    def number(self) -> int:
        return self.tid

    @property
    def call(self) -> tuple[int, int]:
        return self.tid, self.flags

    def readv(self, local: int, remote: int, remote_count: int) -> int:
        return uapi.process_vm_readv(self.tid, local, 1, remote, remote_count, self.flags)

    def verify(self) -> None:
        probed = uapi.probe_memory(self.tid)
        if thread_start(self.process.pid, self.tid) != self.start_ticks:
            raise NoMemory
        _conclude(self.process.pidfd, probed)

    @property
    def proc(self) -> str:
        return f"/proc/{self.process.pid}/task/{self.tid}"


def _conclude(pidfd: int, probed: int) -> None:
    """Weigh what a one-byte read gave, and the pidfd, in that order.

    A read that hangs when the target dies *succeeds*, with zeros, and may do so before the pidfd is
    readable: the address space is given up first. Only the probe's ESRCH tells then.
    """
    if has_exited(pidfd):
        raise ProcessGone
    if probed == -errno.ESRCH:
        raise NoMemory


def live_thread(first: ProcessRef) -> ByThread | None:
    """Find a thread that has memory, other than the first one; None if none has."""
    process = first.process
    try:
        with os.scandir(f"/proc/{process.pid}/task") as entries:
            for entry in entries:
                tid = int(entry.name)
                start = thread_start(process.pid, tid) if tid != process.pid else None
                if start is not None and uapi.probe_memory(tid) != -errno.ESRCH:
                    return ByThread(first, tid, start)
    except (FileNotFoundError, ProcessLookupError):
        pass
    return None


def thread_start(pid: int, tid: int) -> int | None:
    """When thread ``tid`` of process ``pid`` began, in clock ticks; None if there is none."""
    try:
        with open(f"/proc/{pid}/task/{tid}/stat", "rb") as file:  # noqa: PTH123 - pathlib is slow
            return int(file.read().rpartition(b")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        return None


def fail(code: int, process: Process) -> None:
    """Turn the negative errno of a read that gave nothing into what it means.

    Errors of a process that has exited are discarded: an impostor can produce EPERM.
    """
    if code == -errno.ESRCH:
        raise NoMemory
    denied = gates.find(process.pid) if code == -errno.EPERM else None
    if has_exited(process.pidfd):
        raise ProcessGone
    if denied:
        raise denied
