"""The VmFlags of mappings, which only smaps tells (proc_pid_smaps(5)).

That file takes a walk through the page table of each mapping, so it is for rare questions.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MOST_LINES: Final = 2_000_000  # some 25 for each mapping; a map has 65,530 by default


def vm_flags(proc: str, address: int) -> frozenset[bytes]:
    """The flags of the mapping at ``address``, two letters each; empty where nothing is mapped.

    Raises OSError as opening the file does.
    """
    for start, end, flags in each_vm_flags(proc):
        if start <= address < end:
            return frozenset(flags)
    return frozenset()


def each_vm_flags(proc: str) -> Iterator[tuple[int, int, Sequence[bytes]]]:
    """Start, end and flags of each mapping, in order. Raises OSError as opening the file does."""
    start = end = 0
    with open(f"{proc}/smaps", "rb") as file:  # noqa: PTH123 - pathlib is slow
        for line in islice(file, _MOST_LINES):
            if line.startswith(b"VmFlags:"):
                yield start, end, line.split()[1:]
                continue
            first, dash, behind = line.partition(b" ")[0].partition(b"-")
            if dash:  # the head of a mapping, as in the maps file
                start, end = int(first, 16), int(behind, 16)
