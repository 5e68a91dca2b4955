"""The VmFlags of mappings, which only smaps tells (proc_pid_smaps(5)).

That file takes a walk through the page table of each mapping, so it is for rare questions.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

_MOST_LINES: Final = 2_000_000  # some 25 for each mapping; a map has 65,530 by default


def vm_flags(proc: str, address: int) -> frozenset[bytes]:
    """The flags of the mapping at ``address``, two letters each; empty where nothing is mapped.

    Raises OSError as opening the file does.
    """
    inside = False
    with open(f"{proc}/smaps", "rb") as file:  # noqa: PTH123 - pathlib is slow
        for line in islice(file, _MOST_LINES):
            if inside and line.startswith(b"VmFlags:"):
                return frozenset(line.split()[1:])
            start, dash, end = line.partition(b" ")[0].partition(b"-")
            if dash:  # the head of a mapping, as in the maps file
                inside = int(start, 16) <= address < int(end, 16)
    return frozenset()
