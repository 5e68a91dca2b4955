"""The memory that the service's cgroup allows, and what it may hold of it; cgroups(7).

Without that, the defaults let a handful of clients get a service with 256 MiB killed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from farpeek.kernel import cgroup_limits

MIB: Final = 1 << 20

_OWN: Final = 96 * MIB
"""What the service takes itself: 55 MiB at rest, its threads, and what the kernel keeps for it."""

_PER_BYTE: Final = 2
"""Bytes that one in flight may cost: it is on its way through the socket too."""

_LEAST: Final = 4 * MIB
_REQUESTS: Final = 4
"""Of the largest ones, so many may be under way at once."""

_ROOT: Final = Path("/sys/fs/cgroup")


def cgroup_limit(root: Path = _ROOT, own: Path = Path("/proc/self/cgroup")) -> int | None:
    """Give the bytes that this process's cgroup, or one above it, may have; None if it is free."""
    return cgroup_limits.lowest("memory", "memory.limit_in_bytes", "memory.max", root, own)


def inflight_for(limit: int, default: int) -> int:
    """Answer the bytes that may be in flight under a limit of memory."""
    return max(_LEAST, min(default, (limit - _OWN) // _PER_BYTE))


def request_for(inflight: int, default: int) -> int:
    """Answer the bytes of the largest request where so many may be in flight."""
    return min(default, inflight // _REQUESTS)
