"""What the peers that are Python libraries share: they read, and time it, in their own process.

`PID ADDRESS STRIDE REGIONS LENGTH BULK` in decimal. A line `NAME TIMES` on stdin does that work so
many times, and is answered by the median time of one in ns; `NAME 0` by the SHA-256 of the bytes.
"""

from __future__ import annotations

import gc
import hashlib
import statistics
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Read = Callable[[], Iterable[bytes]]

ONE, SCATTERED, IN_SEQUENCE, BULK = "one", "scattered", "in-sequence", "bulk"
CHUNK = 1 << 20


class Work(NamedTuple):
    """What there is to read."""

    pid: int
    address: int
    stride: int
    regions: int
    length: int
    bulk: int

    def addresses(self) -> list[int]:
        return [self.address + number * self.stride for number in range(self.regions)]

    def chunks(self) -> list[int]:
        return list(range(self.address, self.address + self.bulk, CHUNK))


def work() -> Work:
    """Read the command line."""
    return Work(*map(int, sys.argv[1:]))


def serve(reads: Mapping[str, Read]) -> None:
    """Do what stdin says, until it closes."""
    gc.disable()
    print("ready", flush=True)
    for line in sys.stdin:
        name, times = line.split()
        print(_obey(reads[name], int(times)), flush=True)


def _obey(read: Read, times: int) -> object:
    if not times:
        return hashlib.sha256(b"".join(read())).hexdigest()
    taken: list[int] = []
    for _ in range(times):
        began = time.perf_counter_ns()
        for _ in read():
            pass
        taken.append(time.perf_counter_ns() - began)
    return int(statistics.median(taken))
