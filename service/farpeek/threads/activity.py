"""What a thread is doing at this moment, seen from outside, so that nothing has to note it.

The innermost frame of Python's that belongs to this package tells what the thread is at
(sys._current_frames); the kernel tells whether it is blocked in a call: /proc/self/task/TID/syscall
shows the number of the call that a thread sleeps in, and `running` for one on a CPU. A thread that
sleeps in futex(2) waits for the GIL and is *slow*, unless it waits for another thread of ours.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from farpeek import machine
from farpeek.model import Stage

if TYPE_CHECKING:
    from threading import Thread
    from types import FrameType

_FUTEX: Final = {"x86_64": b"202", "aarch64": b"98"}.get(machine.NAME or "")

# By the module that is innermost of these; a longer name goes first.
_BY_MODULE: Final = (
    ("farpeek.access.writing.pin", Stage.PIN),
    ("farpeek.mappings.residency", Stage.RESIDENCY),
    ("farpeek.mappings.files", Stage.FILES),
    ("farpeek.mappings.cache", Stage.FILES),
    ("farpeek.mappings", Stage.MAPPINGS),
    ("farpeek.targets", Stage.FILES),
)
_BY_FUNCTION: Final = {
    "process_vm_readv": Stage.PAGE_FAULT,
    "process_vm_writev": Stage.PAGE_FAULT,
    "resolve_again": Stage.EXIT,
}
_WAITING_FOR_OURS: Final = ("threading", "farpeek.access.writing.pin")


def stage(thread: Thread) -> Stage:
    """What ``thread`` is at."""
    frame = _frame(thread)
    while frame is not None:
        found = _BY_FUNCTION.get(frame.f_code.co_name)
        if found is not None:
            return found
        module = str(frame.f_globals.get("__name__"))
        for name, at in _BY_MODULE:
            if module.startswith(name):
                return at
        frame = frame.f_back
    return Stage.PAGE_FAULT


def is_blocked(thread: Thread) -> bool:
    """Whether ``thread`` sleeps in the kernel, or waits for another thread; else it is slow."""
    task = f"/proc/self/task/{thread.native_id}"
    try:
        call = _beginning_of(f"{task}/syscall").split()[0]
    except (OSError, IndexError):  # not dumpable, or the kernel has no such file
        return not _is_on_a_cpu(task)
    if call == b"running":
        return False
    if call != _FUTEX:
        return True
    frame = _frame(thread)
    return frame is not None and frame.f_globals.get("__name__") in _WAITING_FOR_OURS


def _frame(thread: Thread) -> FrameType | None:
    """Its innermost frame.

    All frames have no name here: this one is among them, and would hold itself, and with it all
    that every thread has in hand at this moment, until the garbage is collected.
    """
    if thread.ident is None:
        return None
    return sys._current_frames().get(thread.ident)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - documented


def _is_on_a_cpu(task: str) -> bool:
    try:
        return _beginning_of(f"{task}/stat").rpartition(b")")[2].split()[0] == b"R"
    except (OSError, IndexError):
        return False


def _beginning_of(path: str) -> bytes:
    """Read a small file by three calls: in each the loop waits for the GIL, and open() has six."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 512)
    finally:
        os.close(descriptor)
