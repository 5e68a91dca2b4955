"""The arguments of a process, proc_pid_cmdline(5), which are in its memory.

Reading them takes its mmap lock, and hangs behind a stuck page fault: only in a thread of the
target's own, with a deadline.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from farpeek.kernel import names
from farpeek.kernel.pidfd import has_exited
from farpeek.targets import processes

if TYPE_CHECKING:
    from farpeek.identity import Process

MOST_BYTES: Final = 4096
"""Of all arguments: the kernel lets a program have megabytes, and there may be 16,384 targets."""


MOST_WORDS: Final = 512
"""Of them: a list of targets shows hundreds of processes in one turn of the loop."""


def read(process: Process) -> bytes | None:
    """The arguments as the kernel has them, cut behind `MOST_BYTES`; `split` shows them.

    None if they may not be seen, or the process has exited. They are kept as bytes, because two
    thousand arguments in 4 KiB take thirty times as much as texts.
    """
    try:
        proc = processes.live_folder(process.pid)
        descriptor = os.open(f"{proc}/cmdline", os.O_RDONLY | os.O_CLOEXEC)
        try:
            content = os.read(descriptor, MOST_BYTES)
        finally:
            os.close(descriptor)
    except OSError:
        return None
    if has_exited(process.pidfd):  # else they may be somebody else's
        return None
    return content


def split(content: bytes) -> tuple[str, ...]:
    """Split what the kernel gives: each argument ends with a NUL, the last one may be cut."""
    words = content.removesuffix(b"\0").split(b"\0", MOST_WORDS)[:MOST_WORDS]
    return tuple(map(names.shown, words)) if content else ()
