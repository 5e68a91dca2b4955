"""The VmFlags of mappings, which only smaps tells (proc_pid_smaps(5)).

That file takes a walk through the page table of each mapping, so it is for rare questions.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from farpeek.regions import Runs

_MOST_LINES: Final = 2_000_000  # some 25 for each mapping; a map has 65,530 by default


def vm_flags(proc: str, address: int) -> frozenset[bytes]:
    """The flags of the mapping at ``address``, two letters each; empty where nothing is mapped.

    Raises OSError as opening the file does.
    """
    for start, end, flags in each_vm_flags(proc):
        if start <= address < end:
            return frozenset(flags)
    return frozenset()


def handled_mappings(proc: str, runs: Runs) -> list[tuple[int, int]]:
    """The mappings up to the end of ``runs`` in which a userfaultfd handler may protect pages.

    For kernels whose pagemap does not tell which pages (before 5.14).
    """
    behind = max((end for _, end in runs.places()), default=0)
    found: list[tuple[int, int]] = []
    for start, end, flags in each_vm_flags(proc):
        if start >= behind:
            break
        if b"uw" in flags:
            found.append((start, end))
    return found


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
