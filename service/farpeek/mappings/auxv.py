"""The auxiliary vector that the kernel gave to a program, proc_pid_auxv(5) and getauxval(3).

It tells the size of pointers whatever the executable is: deleted, on FUSE, out of the reach of the
mount table. Reading it takes no lock of the process's mappings.
"""

from __future__ import annotations

import os
import struct
import time
from typing import Final

from farpeek.model import PAGE_SIZE

_MOST_BYTES: Final = 4096
_MOST_LOOKS: Final = 20
_BETWEEN_LOOKS_S: Final = 0.001
_AT_NULL: Final = 0
AT_RANDOM: Final = 25
_AT_PAGESZ: Final = 6
_NAMES: Final = {  # include/uapi/linux/auxvec.h
    1: "AT_IGNORE",
    2: "AT_EXECFD",
    3: "AT_PHDR",
    4: "AT_PHENT",
    5: "AT_PHNUM",
    6: "AT_PAGESZ",
    7: "AT_BASE",
    8: "AT_FLAGS",
    9: "AT_ENTRY",
    10: "AT_NOTELF",
    11: "AT_UID",
    12: "AT_EUID",
    13: "AT_GID",
    14: "AT_EGID",
    15: "AT_PLATFORM",
    16: "AT_HWCAP",
    17: "AT_CLKTCK",
    23: "AT_SECURE",
    24: "AT_BASE_PLATFORM",
    25: "AT_RANDOM",
    26: "AT_HWCAP2",
    27: "AT_RSEQ_FEATURE_SIZE",
    28: "AT_RSEQ_ALIGN",
    29: "AT_HWCAP3",
    30: "AT_HWCAP4",
    31: "AT_EXECFN",
    32: "AT_SYSINFO",
    33: "AT_SYSINFO_EHDR",
    51: "AT_MINSIGSTKSZ",
}
_WORDS: Final = ((8, "Q"), (4, "I"))


def read(proc: str) -> tuple[int | None, dict[int, int]]:
    """The size of a pointer, and the vector by type; None and nothing where there is none.

    That is for kernel threads, for processes that may not be looked at, and in the middle of
    execve(2).
    """
    return parse(_content(proc))


def named(vector: dict[int, int]) -> dict[str, int]:
    """The same by the names of getauxval(3); AT_ and the number for those that are not known."""
    return {_NAMES.get(kind, f"AT_{kind}"): value for kind, value in vector.items()}


def await_pointer_size(proc: str) -> int | None:
    """In a thread: as ``read``, but the end of an execve(2) is waited for, 20 ms at most.

    In its middle the vector is all zeros: for some 100 us, or while the program's file is read.
    """
    for _ in range(_MOST_LOOKS):
        content = _content(proc)
        size, _ = parse(content)
        if size or not content:
            return size
        time.sleep(_BETWEEN_LOOKS_S)
    return None


def _content(proc: str) -> bytes:
    try:
        descriptor = os.open(f"{proc}/auxv", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, _MOST_BYTES)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


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
