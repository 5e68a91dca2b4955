"""Huge pages that an administrator has set aside (hugetlbpage.rst of the kernel's docs).

To read memory of theirs that nobody has touched takes one from the pool, even for a read by another
process, and who finds the pool empty dies of SIGBUS.
"""

from __future__ import annotations

import os
import time
from functools import cache
from pathlib import Path
from typing import Final

_POOLS: Final = Path("/sys/kernel/mm/hugepages")
_KEPT_FOR_S: Final = 1.0
_SIZE_SHIFT: Final = 26  # MFD_HUGE_SHIFT, memfd_create(2)


class _Pools:
    """Whether there are any; asked once a second at most, since every read wants to know."""

    def __init__(self) -> None:
        self._asked_at = float("-inf")
        self._any = False

    def any(self) -> bool:
        """Whether a pool has pages, or may grow."""
        now = time.monotonic()
        if now - self._asked_at > _KEPT_FOR_S:
            self._any = any(map(_has_pages, _POOLS.glob("*")))
            self._asked_at = now
        return self._any


def _has_pages(pool: Path) -> bool:
    try:
        return any(
            int((pool / name).read_bytes()) for name in ("nr_hugepages", "nr_overcommit_hugepages")
        )
    except (OSError, ValueError):
        return True  # nobody knows


_pools: Final = _Pools()


are_kept: Final = _pools.any
"""Whether this host has huge pages of that kind, or may get some."""


@cache
def devices() -> frozenset[tuple[int, int]]:
    """The devices of anonymous memory and memfds in huge pages, which no mount table lists.

    Nothing is allocated by asking.
    """
    found: set[tuple[int, int]] = set()
    for pool in _POOLS.glob("hugepages-*kB"):
        size = int(pool.name.removeprefix("hugepages-").removesuffix("kB")) << 10
        flags = os.MFD_CLOEXEC | os.MFD_HUGETLB | (size.bit_length() - 1) << _SIZE_SHIFT
        try:
            descriptor = os.memfd_create("farpeek", flags)
        except OSError:
            continue
        device = os.fstat(descriptor).st_dev
        os.close(descriptor)
        found.add((os.major(device), os.minor(device)))
    return frozenset(found)
