"""A process's own word: variables of its environment by which it wants to be left alone.

Reading proc_pid_environ(5) takes the process's mmap lock, and hangs behind a stuck page fault: only
in a thread of the target's own, with a deadline. Nothing of it is kept, or told, but yes or no.
"""

from __future__ import annotations

import os
from typing import Final

from farpeek.targets import processes

DENY: Final = b"FARPEEK_DENY=1"
NO_DEBUG: Final = b"PYTHON_DISABLE_REMOTE_DEBUG="
"""CPython's own, with any value: https://docs.python.org/3/using/cmdline.html."""

MOST_BYTES: Final = 8 << 20
"""More than execve(2) takes with the usual limit of stacks: three quarters of 8 MiB."""

_PIECE: Final = 1 << 16


def opts_out(proc: str) -> bool | None:
    """Whether the program at ``proc`` wants not to be read; None if it has only begun.

    False where its environment may not be seen, for then its memory may not either.
    """
    try:
        descriptor = os.open(f"{proc}/environ", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # The kernel notes where the stack begins behind where the environment is.
        places = processes.places(proc)
        has_begun = places is not None and all(places)
        found, was_empty = _look_through(descriptor)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return None if was_empty and not has_begun else found


def _look_through(descriptor: int) -> tuple[bool, bool]:
    """Whether one of the variables is there, and whether there is none at all."""
    left, read = b"", 0
    while read < MOST_BYTES and (piece := os.read(descriptor, _PIECE)):
        read += len(piece)
        *whole, left = (left + piece).split(b"\0")
        if any(map(_is_word, whole)):
            return True, False
        left = left[: len(NO_DEBUG)]  # enough to know it by, if it goes on
    return _is_word(left), not read


def _is_word(variable: bytes) -> bool:
    return variable == DENY or variable.startswith(NO_DEBUG)
