"""A look into /proc/PID/maps without the service."""

from __future__ import annotations

from pathlib import Path

from farpeek.mappings.mounts import TABLES


def mapping_named(pid: int, name: str) -> int:
    """Return where the mapping of that name begins."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        if line.endswith(name):
            return int(line.partition("-")[0], 16)
    raise LookupError(f"process {pid} has no {name}")


def spans(pid: int) -> list[tuple[int, int]]:
    """Return where all mappings begin and end."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    pairs = (line.split()[0].split("-") for line in lines)
    return [(int(start, 16), int(end, 16)) for start, end in pairs]


def on_hostfs() -> bool:
    """Whether the root is a folder of the host of User Mode Linux.

    No name there is looked up without waiting: its permissions are those of the host.
    """
    return any(mount.filesystem == "hostfs" for mount in TABLES.of("/proc/self").at(b"/"))
