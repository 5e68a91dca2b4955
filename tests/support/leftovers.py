"""What a test run must not leave behind: processes, mounts, descriptors, threads."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


def children() -> set[int]:
    """Return the numbers of this process's children, zombies included."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended
            found.update(int(number) for number in (task / "children").read_text().split())
    return found


def mounts() -> set[str]:
    """Return the mounts in the tests' own temporary folders, a line of mountinfo each.

    Tests mount nothing elsewhere, and others may.
    """
    folder = tempfile.gettempdir()
    below = tuple(f"{folder}/{name}" for name in ("pytest-", "farpeek-test-", "tmp"))
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return {line for line in lines if line.split()[4].startswith(below)}


def descriptors() -> dict[int, str]:
    """Return the open descriptors of this process, and what they lead to."""
    found: dict[int, str] = {}
    for link in Path("/proc/self/fd").iterdir():
        try:
            found[int(link.name)] = str(link.readlink())
        except FileNotFoundError:  # the one that lists them
            continue
    return found


def access_threads(but: Collection[threading.Thread] = ()) -> list[threading.Thread]:
    """Return the threads that services of this process have not let go, ``but`` for some."""
    started = (thread for thread in threading.enumerate() if thread.name.startswith("access-"))
    return [thread for thread in started if thread not in but]
