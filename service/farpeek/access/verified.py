"""Doing something about a process until what it gave is known to be that process's own."""

from __future__ import annotations

import errno
import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from farpeek.access.process_ref import ByThread, NoMemory, live_thread
from farpeek.access.witness import ProcessGone
from farpeek.errors import AccessDenied, DeadlineExceeded, Unsupported
from farpeek.kernel import gates, uapi
from farpeek.kernel.pidfd import has_exited
from farpeek.model import Mode, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from farpeek.access.process_ref import ProcessRef
    from farpeek.errors import FarpeekError
    from farpeek.identity import Process

T = TypeVar("T")

_EXIT_PATIENCE_S: Final = {Mode.WAIT: math.inf, Mode.NOWAIT: 0.01}
"""How long an exit is waited for, from the loss of the memory to the pidfd. Up to 3.7 ms were seen;
what takes longer is a large address space that is being given up (0.2 s a GiB), and who does not
wait has no time for that."""

_LOOK_AGAIN_S: Final = 0.05
"""For a thread that has come to live on meanwhile."""


def verified(
    ref: ProcessRef,
    attempt: Callable[[ProcessRef], T],
    deadline: float,
    mode: Mode = Mode.WAIT,
) -> T:
    """Do ``attempt`` until the process is verified after what it gave.

    Tries again by a live thread where the first one has ended. Raises ProcessGone, and what
    ``attempt`` does.
    """
    while True:
        try:
            with refusals(ref.process):
                result = attempt(ref)
            ref.verify()
        except NoMemory:
            ref = resolve_again(ref, deadline, mode)
        else:
            return result


def resolve_again(ref: ProcessRef, deadline: float, mode: Mode = Mode.WAIT) -> ProcessRef:
    """Find out what became of a process without memory: how to name it from now on.

    That is by its first thread if it has only executed another program (files of /proc that were
    open then fail with ESRCH, and other threads are gone), else by a live one. Raises ProcessGone
    if it has exited, DeadlineExceeded if it takes too long over it.
    """
    first = ref.first if isinstance(ref, ByThread) else ref
    give_up = min(deadline, time.monotonic() + _EXIT_PATIENCE_S[mode])
    patience_s = 0.0  # a process that lives on by another thread is found at once
    while (left := give_up - time.monotonic()) > 0:
        if has_exited(first.process.pidfd, math.ceil(1000 * min(patience_s, left))):
            raise ProcessGone
        if _has_memory(first):
            return first
        thread = live_thread(first)
        if thread is not None:
            return thread
        patience_s = _LOOK_AGAIN_S
    raise DeadlineExceeded(
        "the process has no memory at the moment, because it is about to exit, or executes another "
        "program: ask again, or wait for its exit",
        Stage.EXIT,
    )


def _has_memory(ref: ProcessRef) -> bool:
    try:
        ref.verify()
    except NoMemory:
        return False
    return True


@contextmanager
def refusals(process: Process) -> Generator[None]:
    """Believe a refusal only of a process that has not exited behind it; raise ProcessGone else.

    The number may have been somebody else's by then, and so are page tables, credentials, gates.
    """
    try:
        yield
    except AccessDenied:
        if has_exited(process.pidfd):
            raise ProcessGone from None
        raise


@contextmanager
def no_memory() -> Generator[None]:
    """Raise NoMemory where files of /proc have no more to say."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.ENOENT):
            raise NoMemory from error
        raise


def denial(process: Process) -> FarpeekError:
    """Why page table or map may not be seen: mostly as the memory itself may not be read."""
    if uapi.probe_memory(process.pid) == -errno.EPERM:
        return gates.find(process.pid)
    return Unsupported(
        "nowait needs to see the target's page table (/proc/PID/pagemap), which belongs "
        "to another user: run the service with the target's uid and gid, or give it "
        "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
    )
