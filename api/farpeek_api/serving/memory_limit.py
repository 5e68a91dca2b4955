"""The memory that the service's cgroup allows, and what it may hold of it; cgroups(7).

Without that, the defaults let a handful of clients get a service with 256 MiB killed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    found = [limit for file in _files(root, own) if (limit := _limit(file)) is not None]
    return min(found, default=None)


def _files(root: Path, own: Path) -> Iterator[Path]:
    try:
        lines = own.read_text("utf-8", "surrogateescape").split("\n")
    except OSError:
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            for top in (root, root / "unified"):
                yield from _upwards(top, path, "memory.max")
        elif "memory" in controllers.split(","):
            yield from _upwards(root / "memory", path, "memory.limit_in_bytes")


def _upwards(top: Path, path: str, name: str) -> Iterator[Path]:
    """Give the file of the cgroup and of all above it.

    In a container the path may be the host's while the tree begins with its own cgroup; then what
    is not there is passed over, and the top is its own.
    """
    folder = top / path.lstrip("/")
    while folder != top and top in folder.parents:
        yield folder / name
        folder = folder.parent
    yield top / name


def _limit(file: Path) -> int | None:
    try:
        text = file.read_text("ascii").strip()
    except (OSError, ValueError):
        return None
    # The first version says "none" by the largest number of whole pages.
    return int(text) if text.isdigit() and int(text) < 1 << 62 else None


def inflight_for(limit: int, default: int) -> int:
    """Answer the bytes that may be in flight under a limit of memory."""
    return max(_LEAST, min(default, (limit - _OWN) // _PER_BYTE))


def request_for(inflight: int, default: int) -> int:
    """Answer the bytes of the largest request where so many may be in flight."""
    return min(default, inflight // _REQUESTS)
