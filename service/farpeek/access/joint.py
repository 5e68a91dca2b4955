"""Small reads of several programs, done together: each system call for all of them in a row.

They are ``quick`` reads, with the same calls in the same order for each. Between the calls for one
and for the next there is no step of Python's, which would take longer than the calls do: the
arguments are made beforehand, and kept where a read is done again and again.

If one of them hangs, the loop sees which, and takes the others back.
"""

from __future__ import annotations

import os
import select
import time
from array import array
from collections import deque
from contextlib import suppress
from itertools import chain, islice, starmap
from typing import TYPE_CHECKING, Final, TypeVar

from farpeek import addressing
from farpeek.access import quick
from farpeek.kernel import uapi
from farpeek.model import ReadResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from farpeek.access.process_ref import ProcessRef
    from farpeek.access.witness import Witness
    from farpeek.model import Backend, ReadSpec

    Arguments = tuple[object, ...]
    Preads = Sequence[tuple[int, int, int]]

T = TypeVar("T")

_WORD: Final = 8


class _Stopped(Exception):
    """The loop has taken the others back."""


class Prepared:
    """The calls that one small read takes, with their arguments, and the memory for what they give.

    Its iovecs and what is read lie in one array: one for the bytes here, one for the witness here
    and one there, those for the bytes there; then the bytes, and the witness. ``content`` and
    ``shown`` are those two parts: to cut them out anew takes twice as long.
    """

    __slots__ = (
        "content",
        "data",
        "expected",
        "pages",
        "pidfd",
        "program",
        "shown",
        "size",
        "witness",
        "witness_pages",
    )

    def __init__(self, ref: ProcessRef, spec: ReadSpec, witness: Witness) -> None:
        """``spec`` and ``witness`` are such as `prepare` lets through."""
        addresses = addressing.HERE.all_untagged(spec.regions.addresses)
        lengths = spec.regions.lengths
        pagemap, random = witness.pagemap, witness.random
        assert pagemap is not None  # noqa: S101 - see `prepare`
        assert random is not None  # noqa: S101 - the same
        address, self.expected = random
        self.size = sum(lengths)
        places = zip(addresses, lengths, strict=True)
        words = [0, self.size, 0, len(self.expected), address, len(self.expected)]
        words.extend(chain.from_iterable(places))
        start = len(words) * _WORD
        end = start + self.size
        words.extend([0] * -(-(self.size + len(self.expected)) // _WORD))
        memory = array("Q", words)
        local = memory.buffer_info()[0]
        memory[0], memory[2] = local + start, local + end
        content = memoryview(memory).cast("B")
        self.content, self.shown = content[start:end], content[end : end + len(self.expected)]
        who, flags = ref.call
        few = uapi.SMALL
        bytes_here, witness_here, witness_there, bytes_there = (
            uapi.Argument(local + number * quick.PAIR) for number in range(4)
        )
        self.data = ((who, bytes_here, few[1], bytes_there, few[len(addresses)], few[flags]),)
        self.witness = ((who, witness_here, few[1], witness_there, few[1], few[flags]),)
        self.witness_pages = (quick.entries(pagemap, address, len(self.expected)),)
        self.pages = tuple(
            quick.entries(pagemap, address, length)
            for address, length in zip(addresses, lengths, strict=True)
            if length
        )
        self.pidfd = ref.process.pidfd
        self.program = witness  # whose descriptor is open as long as somebody has it

    def result(self, backend: Backend, began_ns: int) -> ReadResult | None:
        """What was read, if the witness says that it is the program's; None if not."""
        if self.shown.tobytes() != self.expected:
            return None
        size = self.size
        return ReadResult(self.content.tobytes(), size, size, (), backend, began_ns)


def prepare(ref: ProcessRef, spec: ReadSpec, witness: Witness) -> Prepared | None:
    """Make a read ready; None if it is not small, or the program is not known well enough."""
    size = sum(spec.regions.lengths)
    if witness.pagemap is None or witness.random is None or not 0 < size <= quick.MOST_BYTES:
        return None
    return Prepared(ref, spec, witness)


class JointRead:
    """Some prepared reads that a thread does once. `stop` is for the loop."""

    def __init__(
        self, asked: Sequence[Prepared | None], backend: Backend, *, must_be_there: bool
    ) -> None:
        """In place of what cannot be done so, ``asked`` has None.

        ``must_be_there``: pages that are not in the page table are left alone.
        """
        self._asked = asked
        self._reads = [each for each in asked if each is not None]
        self._backend = backend
        self._must_be_there = must_be_there
        self._under_way: Sequence[Prepared] = ()  # that something is done for
        self._calls: Sequence[Sequence[Arguments]] = ()  # of each of those, to do it
        self._left: deque[Arguments | None] = deque()  # those not begun, and an end
        self._is_stopped = False

    def run(self) -> list[ReadResult | None] | None:
        """In a thread: do them all.

        None in place of each that was not had whole, for whatever reason, as
        ``Access.read_quickly``; None for them all if they were stopped.
        """
        try:
            return self._run()
        except _Stopped:
            return None
        except OSError:  # of somebody's page table
            return None if self._is_stopped else [None for _ in self._asked]

    def stop(self) -> int:
        """Have nothing more done; answer the number of the one that the thread is at, or was."""
        self._is_stopped = True
        number = sum(map(len, self._calls))
        # One by one, from the end: so it is certain which was taken by the thread last.
        with suppress(IndexError):
            while True:
                self._left.pop()
                number -= 1
        for prepared, calls in zip(self._under_way, self._calls, strict=True):
            number -= len(calls)
            if number < 0:
                return self._asked.index(prepared)
        return len(self._asked) - 1

    def _run(self) -> list[ReadResult | None]:
        reads: Sequence[Prepared] = self._reads
        if not reads:
            return [None for _ in self._asked]
        if self._must_be_there:
            reads = self._present(reads, [each.pages for each in reads])
        began_ns = time.monotonic_ns()
        sizes = [each.size for each in reads]
        reads = self._whole(reads, [each.data for each in reads], sizes)
        # Whoever does not wait for pages does not wait for the witness's.
        reads = self._present(reads, [each.witness_pages for each in reads])
        sizes = [len(each.expected) for each in reads]
        reads = self._whole(reads, [each.witness for each in reads], sizes)
        reads = alive(reads)
        results = [each.result(self._backend, began_ns) for each in reads]
        if len(results) == len(self._asked):
            return results
        found = dict[Prepared | None, ReadResult | None](zip(reads, results, strict=True))
        return [found.get(each) for each in self._asked]

    def _do(
        self,
        call: Callable[..., T],
        reads: Sequence[Prepared],
        calls: Sequence[Sequence[Arguments]],
    ) -> list[T]:
        """Do ``calls`` of ``reads``; what they give, one behind the other."""
        left: deque[Arguments | None] = deque(chain.from_iterable(calls))
        left.append(None)
        self._under_way, self._calls, self._left = reads, calls, left
        # Asked behind the line before: either this sees that it is stopped, or `stop` sees those.
        if self._is_stopped:
            raise _Stopped
        try:
            return list(starmap(call, iter(left.popleft, None)))
        except IndexError:  # of `popleft`
            raise _Stopped from None

    def _present(self, reads: Sequence[Prepared], calls: Sequence[Preads]) -> Sequence[Prepared]:
        """Those whose pages are all in the page table, as ``calls`` of pread(2) show."""
        entries = self._do(os.pread, reads, calls)
        wanted = [size for each in calls for _, size, _ in each]
        if quick.are_all_present(b"".join(entries), sum(wanted)):
            return reads
        shown = map(quick.are_all_present, entries, wanted)
        return [
            read
            for read, own in zip(reads, calls, strict=True)
            if all(tuple(islice(shown, len(own))))
        ]

    def _whole(
        self, reads: Sequence[Prepared], calls: Sequence[Sequence[Arguments]], sizes: list[int]
    ) -> Sequence[Prepared]:
        """Those of which ``calls`` of process_vm_readv(2), one for each, give all."""
        given = self._do(uapi.try_process_vm_readv, reads, calls)
        if given == sizes:
            return reads
        pairs = zip(given, sizes, strict=True)
        return [read for read, (got, size) in zip(reads, pairs, strict=True) if got == size]


def alive(reads: Sequence[Prepared]) -> Sequence[Prepared]:
    """Those whose processes have not exited: by one poll(2), where each would take as long."""
    poll = select.poll()
    for each in reads:
        poll.register(each.pidfd, select.POLLIN)
    exited = {pidfd for pidfd, _ in poll.poll(0)}
    return [each for each in reads if each.pidfd not in exited] if exited else reads
