"""One vectored read or write, driven from hole to hole.

A call takes at most 1024 elements and ends at the first page that it cannot read, in the middle of
an element if need be; what comes behind is never tried. So the next call begins behind that page.
"""

from __future__ import annotations

import errno
import time
from array import array
from bisect import bisect_right
from typing import TYPE_CHECKING

from farpeek import columns
from farpeek.access.process_ref import fail
from farpeek.errors import DeadlineExceeded, KernelFailure, Unsupported
from farpeek.kernel import uapi
from farpeek.model import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek.access.process_ref import ProcessRef
    from farpeek.identity import Process
    from farpeek.regions import Runs

_AFTER_A_HOLE = 32
"""Elements of the call that follows a hole. Each call copies all its elements in before it looks at
the first, which counts where holes are dense; it doubles with each call that meets none."""


def read_all(
    ref: ProcessRef,
    runs: Runs,
    deadline: float,
    most_holes: int | None = None,
    allocate: Callable[[int], bytearray] = bytearray,
) -> tuple[bytearray, list[tuple[int, int, int]]]:
    """Read ``runs`` one behind the other, to the end or to hole number ``most_holes``.

    Answers the bytes, in holes as ``allocate`` gave them; and of each hole the offset in them, its
    start, its end.
    Raises as ``Vector.until_hole`` does.
    """
    if len(runs.starts) == 1:
        whole = read_whole(ref, runs.starts[0], runs.lengths[0], allocate)
        if whole is not None:
            return whole, []
    vector = Vector(
        ref.process,
        ref.readv,
        uapi.IOV_MAX,
        runs,
        allocate(columns.total(columns.column(runs.lengths))),
    )
    holes: list[tuple[int, int, int]] = []
    while len(holes) != most_holes and (place := vector.until_hole(deadline)) is not None:
        start, end = place
        holes.append((vector.done - (end - start), start, end))
    return vector.content, holes


def read_whole(
    ref: ProcessRef,
    address: int,
    length: int,
    allocate: Callable[[int], bytearray] = bytearray,
) -> bytearray | None:
    """Read one run by one call; None if that does not give all of it, for whatever reason."""
    content = allocate(length)
    iovecs = array("Q", (uapi.address_of(content), length, address, length))
    local = iovecs.buffer_info()[0]
    return content if ref.readv(local, local + 16, 1) == length else None


class Vector:
    """Moves ``content``, the bytes of ``runs`` one behind the other, by ``transfer``.

    That gets the address of the local iovec, that of the remote ones and their count, of which at
    most ``elements`` go with one call; it answers as the system call does.
    """

    def __init__(
        self,
        process: Process,
        transfer: Callable[[int, int, int], int],
        elements: int,
        runs: Runs,
        content: bytearray,
    ) -> None:
        self._process = process
        self._transfer = transfer
        lengths = columns.column(runs.lengths)
        self._offsets = columns.offsets(lengths)
        self._remote = array("Q", bytes(16 * len(lengths)))
        self._remote[0::2] = columns.column(runs.starts)
        self._remote[1::2] = lengths
        self._element = 0
        self._most = self._elements = elements
        self.done = 0  # bytes of `content` behind which nothing is decided
        self.content = content

    def go_by(self, transfer: Callable[[int, int, int], int], elements: int) -> None:
        """Go on by another way."""
        self._transfer = transfer
        self._most = self._elements = elements

    def until_hole(self, deadline: float) -> tuple[int, int] | None:
        """Go on to the next page that cannot be reached, and step over it.

        Answers the addresses stepped over: to the end of the page or of its run, whichever comes
        first. None once everything is done. Raises as ``Access.read`` does, and NoMemory.
        """
        while self._element < len(self._offsets) - 1:
            if time.monotonic() > deadline:
                raise DeadlineExceeded("the time was over before everything was done")
            count = min(self._elements, len(self._offsets) - 1 - self._element)
            wanted = self._offsets[self._element + count] - self.done
            got = self._call(count, wanted)
            if not got:
                self._elements = min(_AFTER_A_HOLE, self._most)
                return self._step_over()
            self._advance(self.done + got)
            if got == wanted:
                self._elements = min(2 * self._elements, self._most)
        return None

    def _call(self, count: int, wanted: int) -> int:
        """One system call; the bytes read, 0 where the first page cannot be."""
        local = array("Q", (uapi.address_of(self.content) + self.done, wanted))
        remote = self._remote.buffer_info()[0] + 16 * self._element
        got = self._transfer(local.buffer_info()[0], remote, count)
        if got >= 0:
            return got
        fail(got, self._process)
        if got == -errno.ENOSYS:
            raise Unsupported("this kernel has no process_vm_* calls (CROSS_MEMORY_ATTACH is off)")
        if got in (-errno.EFAULT, -uapi.EHWPOISON):
            return 0
        raise KernelFailure("process_vm_readv or process_vm_writev", -got)

    def _advance(self, done: int) -> None:
        """Take ``content`` up to ``done`` as decided, and begin the next call there."""
        self.done = done
        element = bisect_right(self._offsets, done) - 1
        self._element = element
        if element < len(self._offsets) - 1:
            end = self._remote[2 * element] + self._remote[2 * element + 1]
            left = self._offsets[element + 1] - done
            self._remote[2 * element] = end - left
            self._remote[2 * element + 1] = left

    def _step_over(self) -> tuple[int, int]:
        start = self._remote[2 * self._element]
        length = min(self._remote[2 * self._element + 1], PAGE_SIZE - start % PAGE_SIZE)
        self._advance(self.done + length)
        return start, start + length
