"""A look into /proc/PID/maps without the service."""

from __future__ import annotations

from pathlib import Path


def mapping_named(pid: int, name: str) -> int:
    """Return where the mapping of that name begins."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        if line.endswith(name):
            return int(line.partition("-")[0], 16)
    raise LookupError(f"process {pid} has no {name}")
