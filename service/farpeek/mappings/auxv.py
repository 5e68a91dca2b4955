"""The auxiliary vector that the kernel gave to a program, proc_pid_auxv(5) and getauxval(3).

It tells the size of pointers whatever the executable is: deleted, on FUSE, out of the reach of the
mount table. Reading it takes no lock of the process's mappings.
"""

from __future__ import annotations

import os
import struct
from typing import Final

from farpeek.model import PAGE_SIZE

_MOST_BYTES: Final = 4096
_AT_NULL: Final = 0
_AT_PAGESZ: Final = 6
_WORDS: Final = ((8, "Q"), (4, "I"))


def read(proc: str) -> tuple[int | None, dict[int, int]]:
    """The size of a pointer, and the vector by type; None and nothing where there is none.

    That is for kernel threads and processes that may not be looked at.
    """
    try:
        descriptor = os.open(f"{proc}/auxv", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None, {}
    try:
        content = os.read(descriptor, _MOST_BYTES)
    except OSError:
        return None, {}
    finally:
        os.close(descriptor)
    return parse(content)


def parse(content: bytes) -> tuple[int | None, dict[int, int]]:
    """Read a vector; its words are of the size by which it has the right size of a page."""
    for size, letter in _WORDS:
        usable = len(content) - len(content) % (2 * size)
        vector: dict[int, int] = {}
        for kind, value in struct.iter_unpack(f"={letter}{letter}", content[:usable]):
            if kind == _AT_NULL:
                break
            vector[kind] = value
        if vector.get(_AT_PAGESZ) == PAGE_SIZE:
            return size, vector
    return None, {}
