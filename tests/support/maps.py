"""A look into /proc/PID/maps without the service."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from farpeek.mappings.mounts import TABLES

if TYPE_CHECKING:
    from farpeek.model import MappingView


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


def line(view: MappingView) -> str:
    """Write a mapping as /proc/PID/maps does."""
    device = f"{view.device[0]:02x}:{view.device[1]:02x}"
    head = f"{view.start:08x}-{view.end:08x} {view.perms} {view.offset:08x} {device} {view.inode} "
    return f"{head} {view.path}".rstrip()


def lines(pid: int) -> list[str]:
    """Give the lines of /proc/PID/maps, each with one space before its path."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return [re.sub(r"^((?:\S+ ){5})\s*", r"\1 ", line + " ").rstrip() for line in lines]


def build_id_by_readelf(program: Path) -> str | None:
    """Ask another tool for the build id of a file."""
    text = subprocess.run(
        ["readelf", "-n", str(program)], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"Build ID: ([0-9a-f]+)", text)
    return found[1] if found else None
