"""Targets of a service that dies: nothing of that may be seen in them."""

from __future__ import annotations

import mmap
import signal
import struct
import threading
from typing import TYPE_CHECKING

from support.ending import Ending
from support.reading import proc_mem
from support.targets import Target, state_of
from support.waiting import until
from support.writing import tracers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLACES = 64
"""Words behind the counters, for others to write to."""
_FIRST_PLACE = 8 * 256
_PAGE = mmap.PAGESIZE
_LARGE_PAGES = (32 << 20) // _PAGE


class Victim(Ending):
    """A process that counts, and is sent a signal all the time.

    Whoever is traced stops at each signal, until the tracer lets it go on.
    """

    def __init__(self) -> None:
        self._process = Target("counters")
        assert self._process.command("run") == "runs"
        self.counters = self._process["counters"]
        self.written = [{bytes(8)} for _ in range(PLACES)]
        self._over = threading.Event()
        self._signals = threading.Thread(target=self._send_signals, daemon=True)
        self._signals.start()

    def end(self) -> None:
        self._over.set()
        self._signals.join()
        self._process.end()

    def _send_signals(self) -> None:
        while not self._over.wait(0.002):
            self._process.kill(signal.SIGWINCH)  # which it ignores

    @property
    def pid(self) -> int:
        return self._process.pid

    def place(self, number: int) -> int:
        """Return where one of the words is."""
        return self.counters + _FIRST_PLACE + 8 * number

    def _count(self) -> int:
        content = proc_mem(self.pid, self.counters, 8)
        assert content is not None
        return int(struct.unpack("<Q", content)[0])

    def faults(self) -> Iterator[str]:
        """Tell what the end of the service has done to it; nothing is as it should be."""
        if traced_by := tracers(self.pid):
            yield f"process {self.pid} is left traced, by {traced_by}"
        if (state := state_of(self.pid)) in ("T", "t"):
            yield f"process {self.pid} is left in state {state}"
        counted = self._count()
        try:
            until(lambda: self._count() > counted, "it counts on")
        except AssertionError:
            yield f"process {self.pid} counts no more, in state {state_of(self.pid)}"
        content = proc_mem(self.pid, self.place(0), 8 * PLACES)
        assert content is not None
        for number, written in enumerate(self.written):
            word = content[8 * number : 8 * number + 8]
            if word not in written:
                yield f"word {number} of process {self.pid} is {word.hex()}, which nobody wrote"


class Large(Ending):
    """A process with 32 MiB that stay as they are, to be dumped."""

    def __init__(self) -> None:
        self._process = Target("bulk", _LARGE_PAGES)
        self.start = self._process["block"]
        self.end_address = self.start + _LARGE_PAGES * _PAGE
        content = proc_mem(self.pid, self.start, self.end_address - self.start)
        assert content is not None
        self.content = content

    def end(self) -> None:
        self._process.end()

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_whole(self, dump: Path) -> bool:
        """Whether a dump has all of it."""
        return dump.read_bytes() == self.content

    def is_begun(self, dump: Path) -> bool:
        """Whether each page of a dump that is not done is right, or not there yet."""
        found = dump.read_bytes() if dump.exists() else b""
        found = found[: len(found) // _PAGE * _PAGE]
        return all(
            found[at : at + _PAGE] in (self.content[at : at + _PAGE], bytes(_PAGE))
            for at in range(0, len(found), _PAGE)
        )
