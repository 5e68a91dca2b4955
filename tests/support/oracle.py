"""What a read of the `pages` target must give, worked out page by page."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

from farpeek.model import Gap, GapReason
from support.pattern import pattern

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.targets import Target

PAGE = mmap.PAGESIZE
TAIL = 1000  # bytes in the last page of a file, as in pages.c

KINDS = {
    "hole": GapReason.UNMAPPED,
    "prot_none": GapReason.NO_ACCESS,
    "exec_only": GapReason.NO_ACCESS,
    "write_only": GapReason.NO_ACCESS,
    "guard": GapReason.NO_ACCESS,
    "beyond_file": GapReason.BEYOND_FILE,
    "beyond_shared": GapReason.BEYOND_FILE,
    "beyond_offset": GapReason.BEYOND_FILE,
    "beyond_truncated": GapReason.BEYOND_FILE,
    "beyond_deleted": GapReason.BEYOND_FILE,
    "beyond_odd_name": GapReason.BEYOND_FILE,
    "beyond_replaced": GapReason.BEYOND_FILE,
    "beyond_memfd": GapReason.BEYOND_FILE,
    "beyond_tmpfs": GapReason.BEYOND_FILE,
    "closed_beyond": GapReason.NO_ACCESS,
}
"""The reason for each kind of bad page in the target's block."""


class Oracle:
    """Knows every page of the target's block, of its run, and of nothing else."""

    def __init__(self, target: Target, run_pages: int) -> None:
        self._target = target
        self._run = range(target["run"], target["run"] + run_pages * PAGE)
        self._spoiled: dict[int, bytes | GapReason] = {
            target["block"] - PAGE: GapReason.NO_ACCESS,
            target["block_end"]: GapReason.NO_ACCESS,
        }
        for name, reason in KINDS.items():
            if name not in target:
                continue  # the kernel has no guard pages
            page = target[name]
            self._spoiled[page] = reason
            if reason is GapReason.BEYOND_FILE:
                self._spoiled[page - PAGE] = pattern(page - PAGE, TAIL) + bytes(PAGE - TAIL)
        wide = target["wide"]
        self._spoiled[wide] = self._spoiled[wide + PAGE] = GapReason.UNMAPPED
        self._spoiled[wide + 2 * PAGE] = GapReason.NO_ACCESS
        self._spoiled[target["untouched"]] = bytes(PAGE)
        self._spoiled[target["untouched"] + PAGE] = GapReason.UNMAPPED

    def page(self, address: int) -> bytes | GapReason:
        """Return the content of the page at ``address``, or why it has none."""
        known = self._spoiled.get(address)
        if known is not None:
            return known
        if address in self._run and (address - self._run.start) // PAGE % 2:
            return GapReason.UNMAPPED
        return pattern(address, PAGE)

    def read(self, regions: Sequence[tuple[int, int]]) -> tuple[bytes, list[Gap]]:
        """Return the bytes and the gaps of a read that goes on behind gaps."""
        data = bytearray()
        gaps: list[Gap] = []
        for number, (start, length) in enumerate(regions):
            at, end = start, start + length
            while at < end:
                page = at - at % PAGE
                until = min(end, page + PAGE)
                content = self.page(page)
                if isinstance(content, bytes):
                    data += content[at - page : until - page]
                else:
                    data += bytes(until - at)
                    last = gaps[-1] if gaps else None
                    if (
                        last
                        and last.region == number
                        and last.address + last.length == at
                        and last.reason is content
                    ):
                        gaps[-1] = Gap(
                            number, last.offset, last.address, until - last.address, content
                        )
                    else:
                        gaps.append(Gap(number, at - start, at, until - at, content))
                at = until
        return bytes(data), gaps

    def read_to_gap(self, regions: Sequence[tuple[int, int]]) -> tuple[bytes, list[Gap]]:
        """Return the bytes and the one gap of a read that ends at the first."""
        data, gaps = self.read(regions)
        if not gaps:
            return data, []
        first = gaps[0]
        before = sum(length for _, length in regions[: first.region]) + first.offset
        rest = regions[first.region][1] - first.offset
        return data[:before], [Gap(first.region, first.offset, first.address, rest, first.reason)]
