"""The threads of a process as a list, each with what is known of its registers."""

from __future__ import annotations

import errno
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from farpeek.access.process_ref import ByNumber
from farpeek.access.verified import no_memory, refusals, verified
from farpeek.errors import DeadlineExceeded, Unsupported
from farpeek.kernel import gates, tasks, uapi
from farpeek.model import Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farpeek.access.process_ref import ProcessRef
    from farpeek.identity import Process
    from farpeek.kernel.tasks import TaskView

PAGE_COST: Final = 4 << 20
"""Bytes that a page of a list may take: its threads, and what is written of them."""

_MOST_VIEWS: Final = 4096
"""Threads of a page: 64 us each, so that it is there in a third of a second."""


@dataclass(frozen=True, slots=True)
class TasksPage:
    """Some threads, by their ids, and the id to go on with; None behind the last."""

    tasks: Sequence[TaskView]
    next: int | None


def page(process: Process, first: int, deadline: float) -> TasksPage:
    """List the threads from id ``first`` on: as many as fit into `PAGE_COST`, and the time.

    In a thread: registers are looked at under a lock that an execve holds, for as long as it waits
    for its file. Raises ProcessGone, AccessDenied, Unsupported, DeadlineExceeded if the time was
    over before the first one.
    """
    try:
        return verified(ByNumber(process), lambda ref: _page(ref, first, deadline), deadline)
    except PermissionError:
        with refusals(process):
            if uapi.probe_memory(process.pid) == -errno.EPERM:
                raise gates.find(process.pid) from None
        raise Unsupported(
            "registers cannot be seen: /proc/PID/task/TID/syscall belongs to another user; give "
            "the service CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
        ) from None


def _page(ref: ProcessRef, first: int, deadline: float) -> TasksPage:
    # Half of the time, for who has waited to the end gets nothing of it.
    half = time.monotonic() + (deadline - time.monotonic()) / 2
    found: list[TaskView] = []
    with no_memory():
        # By its number also where its first thread has ended: that has them all still.
        proc = f"/proc/{ref.process.pid}"
        left = [tid for tid in tasks.numbers(proc) if tid >= first]
        for tid in left:
            if len(found) == _MOST_VIEWS or (found and time.monotonic() > half):
                return TasksPage(found, tid)
            if time.monotonic() > deadline:
                raise DeadlineExceeded("the time was over before a thread was seen", Stage.MAPPINGS)
            view = tasks.look_at(proc, tid)
            if view is not None:
                found.append(view)
    return TasksPage(found, None)
