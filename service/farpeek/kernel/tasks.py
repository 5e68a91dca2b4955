"""The threads of a process, and what can be known of their registers without stopping them.

/proc/PID/task/TID/syscall (proc_pid_syscall(5)) tells where a thread is that does not run: in a
system call its number, its arguments, stack pointer and program counter; in a page fault or a stop
the latter two. The kernel looks at the thread twice, and says "running" unless it has slept through
(task_current_syscall in lib/syscall.c). Of a thread that runs nobody can tell without stopping it.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import Final

_MOST_BYTES: Final = 512
"""Of each of these files: a name has 15 bytes, a line of numbers some 300."""
_GONE: Final = (errno.ENOENT, errno.ESRCH)
_RUNNING: Final = b"running"
_NO_CALL: Final = -1
_ARGUMENTS: Final = 6

# Fields of proc_pid_stat(5) behind the name, which may have spaces and brackets in it.
_STATE, _USER_TICKS, _SYSTEM_TICKS = 0, 11, 12
_TICK_NS: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Registers:
    """What is known of a thread that does not run.

    ``syscall`` is the number of the system call that it is in, and ``arguments`` are its six; both
    are None in a page fault and in a stop.
    """

    pc: int
    sp: int
    syscall: int | None = None
    arguments: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class TaskView:
    """A thread at one moment. ``state`` is the letter of proc_pid_stat(5)."""

    tid: int
    comm: bytes
    state: str
    running: bool
    registers: Registers | None
    wchan: str | None  # the kernel's function that it sleeps in; None where that is not told
    cpu_ns: int  # it has run for so long


def numbers(proc: str) -> list[int]:
    """Give the thread ids of the process at ``proc``, sorted. Raises OSError: it is gone."""
    return sorted(int(name) for name in os.listdir(f"{proc}/task"))  # noqa: PTH208 - names alone


def look_at(proc: str, tid: int) -> TaskView | None:
    """Look at one thread; None if it has ended. Raises PermissionError if its registers are secret.

    Each file is read at once, and one behind the other: a thread that wakes up in between may have
    the state of before and no registers.
    """
    folder = f"{proc}/task/{tid}"
    try:
        comm, state, ticks = _stat(_read(f"{folder}/stat"))
        return TaskView(
            tid,
            comm,
            state,
            *_where(_read_or_none(f"{folder}/syscall")),
            _wchan(_read_or_none(f"{folder}/wchan")),
            _cpu_ns(_read_or_none(f"{folder}/schedstat"), ticks),
        )
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise


def registers_of(line: bytes) -> Registers | None:
    """Take a line of proc_pid_syscall(5) apart; None where it tells of no registers.

    A thread that has ended, and was not waited for, is told of as one at 0.
    """
    words = line.split()
    if len(words) not in (3, 3 + _ARGUMENTS):
        return None
    number = int(words[0])
    *arguments, sp, pc = (int(word, 16) for word in words[1:])
    if not pc and not sp:
        return None
    if number == _NO_CALL or not arguments:
        return Registers(pc, sp)
    return Registers(pc, sp, number, tuple(arguments))


def _where(line: bytes | None) -> tuple[bool, Registers | None]:
    if line is None:  # a kernel without CONFIG_HAVE_ARCH_TRACEHOOK
        return False, None
    return line.strip() == _RUNNING, registers_of(line)


def _stat(line: bytes) -> tuple[bytes, str, int]:
    """Give name, state and the ticks that a thread has run for."""
    head, _, rest = line.rpartition(b")")
    words = rest.split()
    ticks = int(words[_USER_TICKS]) + int(words[_SYSTEM_TICKS])
    return head.partition(b"(")[2], words[_STATE].decode("ascii"), ticks


def _wchan(found: bytes | None) -> str | None:
    """Give the name of a function; "0" is what there is for those who may not know, or run."""
    name = (found or b"").decode("ascii", "replace").strip()
    return None if name in ("", "0") else name


def _cpu_ns(schedstat: bytes | None, ticks: int) -> int:
    """By the scheduler's own count, else by ticks of 10 ms (without CONFIG_SCHED_INFO)."""
    words = (schedstat or b"").split()
    return int(words[0]) if words else ticks * _TICK_NS


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _MOST_BYTES)
    finally:
        os.close(descriptor)


def _read_or_none(path: str) -> bytes | None:
    """Read what some kernels do not have; a thread that has ended shows with its stat."""
    try:
        return _read(path)
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise
