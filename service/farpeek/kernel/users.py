"""Users as a user namespace shows them; user_namespaces(7)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

ALL_IDS: Final = 2**32 - 1
"""As many ids as there are: the last number is none."""

_OVERFLOW_UID: Final = Path("/proc/sys/kernel/overflowuid")
_OWN: Final = Path("/proc/self/ns/user")
_FIRST: Final = 0xEFFF_FFFD  # linux/proc_ns.h, the same on every host
_DEFAULT_OVERFLOW_UID: Final = 65_534  # include/linux/highuid.h


def overflow_uid() -> int:
    """The user that all those are shown as who do not exist in the namespace."""
    try:
        return int(_OVERFLOW_UID.read_bytes())
    except (OSError, ValueError):  # sandboxes hide /proc/sys
        return _DEFAULT_OVERFLOW_UID


def id_map(process: int | str, kind: str) -> list[tuple[int, int, int]] | None:
    """The map (``kind``: uid or gid) of a process's user namespace, as the reader sees it.

    Each entry is the first id inside, the first one outside, and how many there are. None if it
    cannot be read.
    """
    try:
        lines = Path(f"/proc/{process}/{kind}_map").read_bytes().split(b"\n")
    except OSError:
        return None
    entries = (tuple(map(int, line.split())) for line in lines if line)
    return [(inside, outside, count) for inside, outside, count in entries]


def all_are_mapped() -> bool:
    """Whether every user exists in the service's user namespace."""
    return sum(count for _, _, count in id_map("self", "uid") or ()) == ALL_IDS


def are_the_first() -> bool | None:
    """Whether the service is in the first user namespace; None if that cannot be seen."""
    try:
        return _OWN.stat().st_ino == _FIRST
    except OSError:
        return None
