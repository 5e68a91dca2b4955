"""Callers in other pid namespaces, and the numbers that they know processes by.

These functions run in threads.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from farpeek.errors import DeadlineExceeded, Unsupported
from farpeek.kernel import namespaces
from farpeek.kernel.pidfd import has_exited
from farpeek.targets import processes

if TYPE_CHECKING:
    from farpeek.identity import Caller, Identity


def numbers_of(caller: Caller) -> tuple[int, ...] | None:
    """The caller's own numbers, from our pid namespace inwards; none if it is outside of that.

    One number means that its namespace is ours. None where that cannot be told.
    """
    if caller.has_ended:
        return None
    if not caller.pid:
        return ()
    numbers = processes.ns_pids(caller.pid)
    # As long as it lives, its number was not another one's when that was looked at.
    return None if caller.pidfd is not None and has_exited(caller.pidfd) else numbers


def find(caller: Caller, number: int, deadline: float) -> Identity | None:
    """The process that has this number in the caller's pid namespace; None if there is none.

    Raises Unsupported where that cannot be told, DeadlineExceeded.
    """
    own = numbers_of(caller)
    if not own:
        raise Unsupported(
            "what numbers mean to you cannot be told from here: your pid namespace is not below "
            "the service's, or you have ended; give a number of the service's (`/v1/processes`)"
        )
    level = len(own) - 1
    try:
        inode = os.stat(f"/proc/{caller.pid}/ns/pid").st_ino  # noqa: PTH116 - as below
        for pid in processes.pids():
            if time.monotonic() >= deadline:
                raise DeadlineExceeded("the time was over before the process was found")
            if _has_number(pid, number, level, inode):
                return processes.identify(pid)
    except PermissionError as error:
        raise Unsupported(
            "the service may not look into your pid namespace (CAP_SYS_PTRACE): give a number of "
            "the service's (`/v1/processes`)"
        ) from error
    return None


def _has_number(pid: int, number: int, level: int, inode: int) -> bool:
    numbers = processes.ns_pids(pid)
    if numbers is None or len(numbers) <= level or numbers[level] != number:
        return False
    try:
        return namespaces.is_in(pid, level, len(numbers) - 1, inode)
    except (FileNotFoundError, ProcessLookupError):
        return False
