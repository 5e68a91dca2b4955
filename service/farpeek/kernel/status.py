"""The one reader of proc_pid_status(5). It takes no lock that a stuck page fault holds.

The kernel escapes newlines in a name, so no process can forge a line; it escapes no other
control character, so lines end with newlines and with nothing else.
"""

from __future__ import annotations

import os
from typing import Final

_PIECE: Final = 8192
_MOST_BYTES: Final = 1 << 20  # 65,536 supplementary groups take half of it


def read(proc: str) -> bytes:
    """Read the status of the process at ``proc``. Raises OSError: it is gone, or hidden."""
    descriptor = os.open(f"{proc}/status", os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = piece = os.read(descriptor, _PIECE)
        while len(piece) == _PIECE and len(content) < _MOST_BYTES:
            piece = os.read(descriptor, _PIECE)
            content += piece
    finally:
        os.close(descriptor)
    return content


def field(proc: str, name: bytes) -> bytes | None:
    """Give one field; None if there is none of that name. Raises as `read` does."""
    _, found, rest = read(proc).partition(b"\n%b:\t" % name)
    return rest.partition(b"\n")[0] if found else None


def fields(proc: str) -> dict[bytes, bytes]:
    """Give all fields by name. Raises as `read` does."""
    lines = (line.partition(b":\t") for line in read(proc).split(b"\n"))
    return {name: value for name, found, value in lines if found}


def size(proc: str, name: bytes) -> int | None:
    """Give a size in bytes, which the kernel tells in kB; None if there is none of that name."""
    value = field(proc, name)
    return None if value is None else int(value.split(maxsplit=1)[0]) << 10
