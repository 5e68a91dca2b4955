"""A sample process with megabytes of known bytes, for whoever needs no more than that."""

from __future__ import annotations

import subprocess
import sys

from support.ending import Ending, end_process
from support.waiting import PATIENCE_S

_PROGRAM = """
import ctypes, mmap, sys
size, page = int(sys.argv[1]), mmap.PAGESIZE
area = mmap.mmap(-1, size + 2 * page)
start = ctypes.addressof(ctypes.c_char.from_buffer(area))
ctypes.CDLL(None).mprotect(ctypes.c_void_p(start + size), ctypes.c_size_t(page), 0)
row = bytes(range(251))
area[:size] = (row * (size // len(row) + 1))[:size]
print(start, flush=True)
status = sys.stdin.readline()
sys.exit(int(status or 0))
"""


class Sample(Ending):
    """``size`` readable bytes from ``address`` on, then one page that is closed (PROT_NONE)."""

    def __init__(self, size: int = 1 << 16) -> None:
        self.size = size
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self.address = int(self._process.stdout.readline())

    def end(self) -> None:
        end_process(self._process)

    @property
    def pid(self) -> int:
        return self._process.pid

    def bytes(self, offset: int, length: int) -> bytes:
        """Return what is there, ``offset`` behind ``address``."""
        row = bytes(range(251))
        begin = offset % len(row)
        return (row * ((begin + length) // len(row) + 1))[begin : begin + length]

    def exit(self, status: int) -> None:
        """End it, and reap it."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"%d\n" % status)
        self._process.stdin.close()
        self._process.wait(PATIENCE_S)
