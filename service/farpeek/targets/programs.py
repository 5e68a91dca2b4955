"""Which program a process executes: execve(2) leaves number and pidfd as they are.

The kernel gives each program 16 random bytes on its stack (AT_RANDOM of getauxval(3)). Who finds
them again *behind* a read has read that program, because execve replaces the memory for good.

A descriptor on /proc/PID/pagemap belongs to the address space that it was opened on, and gives
nothing once that is gone. It says before those bytes are looked at whether their page is there, so
that who does not wait for pages does not wait for this one. Alone it would not do: whoever reads
/proc/PID/stat in that moment, or hangs in a page fault, keeps the old address space in use.

Where the page is not there, the places of code and stack are compared, which differ with each
execve where addresses are random (proc_pid_stat(5), startcode and startstack).

All but `Program.seems_to_run` takes the lock of the memory, and hangs with whoever holds that: only
in a thread of the target's own, with a deadline.
"""

from __future__ import annotations

import errno
import os
import struct
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from farpeek.errors import DeadlineExceeded, TargetChanged
from farpeek.kernel import uapi
from farpeek.kernel.pidfd import has_exited
from farpeek.mappings import auxv
from farpeek.model import PAGE_SIZE, Stage
from farpeek.targets import processes

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek.model import Identity, Process

T = TypeVar("T")

_REFUSALS: Final = (errno.EACCES, errno.EPERM)
_RANDOM_BYTES: Final = 16
_ENTRY: Final = struct.Struct("=Q")  # of pagemap, for each page
_PRESENT: Final = 1 << 63
_LONGEST_S: Final = 10.0
_MOMENT_S: Final = 0.0005
"""Between two looks at a process in the middle of an execve, which takes some 200 us."""


class Program:
    """One program, with a number of its own; closes its descriptor when nobody has it any more."""

    __slots__ = (
        "_mark",
        "_places",
        "_proc",
        "_random",
        "identity",
        "is_known",
        "number",
        "was_asked",
    )

    def __init__(self, number: int, identity: Identity, proc: str, mark: int | None) -> None:
        """``mark`` is the descriptor, None where the kernel refuses it; ``proc`` its folder."""
        self.number = number
        self.identity = identity
        self.is_known = mark is not None
        self.was_asked = False  # for its arguments
        self._mark = mark
        self._proc = proc
        self._random: tuple[int, bytes] | None = None
        self._places: tuple[int, int] | None = None

    def __del__(self) -> None:
        if self._mark is not None:
            os.close(self._mark)

    def runs(self) -> bool:
        """Whether the process still executes it; True where that cannot be told."""
        if self._mark is None:
            return True
        random = self._random or self._find_random()
        address = 0 if random is None else random[0]
        entry = os.pread(self._mark, _ENTRY.size, address // PAGE_SIZE * _ENTRY.size)
        if not entry:
            return False
        random = random if _ENTRY.unpack(entry)[0] & _PRESENT else None
        found = None if random is None else uapi.read_memory(self.thread, *_span(address))
        if random is not None and found is not None:
            return found == random[1]
        return self._is_elsewhere_the_same(random)

    def seems_to_run(self) -> bool:
        """The same without waiting for anybody; True too where the next program is alike in places.

        That is where addresses are not random, and somebody keeps the old memory in use.
        """
        if self._mark is None:
            return True
        try:
            # Half an entry is refused behind the look at whether the memory is in use still, and
            # before its lock is taken (pagemap_read in fs/proc/task_mmu.c).
            os.pread(self._mark, _ENTRY.size // 2, 0)
        except OSError as error:
            if error.errno != errno.EINVAL:
                return False
        else:
            return False
        try:
            return self._is_where_it_was(processes.live_folder(self.identity.pid))
        except OSError:
            return False

    def _is_elsewhere_the_same(self, random: tuple[int, bytes] | None) -> bool:
        """Look by another thread, for this one has ended; or at what is no memory."""
        try:
            proc = processes.live_folder(self.identity.pid)
        except OSError:
            return False
        if random is not None:
            found = uapi.read_memory(_number(proc), *_span(random[0]))
            if found is not None:
                return found == random[1]
        return self._is_where_it_was(proc)

    def note_places(self) -> None:
        """Remember where it is, before it is found to run."""
        self._places = processes.places(self._proc)

    def without_mark(self) -> Program:
        """Give the same one for a process that has exited, and can execute no other."""
        ended = Program(self.number, self.identity, self._proc, None)
        ended.is_known = self.is_known
        return ended

    @property
    def thread(self) -> int:
        """The number of a thread that has this memory."""
        return _number(self._proc)

    def _find_random(self) -> tuple[int, bytes] | None:
        """Where the random bytes are, and what they are; None as long as they are not there."""
        address = auxv.read(self._proc)[1].get(auxv.AT_RANDOM)
        found = None if address is None else uapi.read_memory(self.thread, *_span(address))
        if address is not None and found is not None:
            self._random = address, found
        return self._random

    def _is_where_it_was(self, proc: str) -> bool:
        found = processes.places(proc)
        if self._places is None or not all(self._places):  # it had only begun, or is not shown
            self._places = found
        return found is not None and found == self._places


def _wait_a_moment(give_up: float) -> None:
    if time.monotonic() > give_up:
        raise DeadlineExceeded("the process executes no program that can be told", Stage.EXIT)
    time.sleep(_MOMENT_S)


def _number(proc: str) -> int:
    return int(proc.rpartition("/")[2])


def _span(address: int) -> tuple[int, int]:
    return address, _RANDOM_BYTES


def open_program(process: Process, known: Identity, number: int) -> Program | None:
    """Find out what ``process`` executes now; None if it has no memory any more."""
    while True:
        program = _open_program(process, known, number)
        if program is None or has_exited(process.pidfd):
            return None
        program.identity = processes.refresh(process, replace(known, cmdline=None))
        program.note_places()
        if program.runs():
            return program
        if uapi.probe_memory(program.thread) == -errno.ESRCH:
            return None
        # It has executed the next one meanwhile.


def _open_program(process: Process, known: Identity, number: int) -> Program | None:
    try:
        proc = processes.live_folder(process.pid)
    except OSError:
        return None
    try:
        mark = os.open(f"{proc}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return Program(number, known, proc, None) if error.errno in _REFUSALS else None
    return Program(number, known, proc, mark)


class Programs:
    """The programs of one process, one after the other. Threads and the loop may use it at once."""

    def __init__(self, process: Process, identity: Identity) -> None:
        """``identity`` is what is known of the process; its program is not before a look."""
        self._process = process
        self._lock = threading.Lock()
        self._has_begun = self._has_ended = False
        self.current = Program(1, identity, f"/proc/{process.pid}", None)

    def _begin(self) -> None:
        """In a thread: know the first one; at once, or when it can be looked at again."""
        if self._has_begun:
            return
        with self._lock:
            if not self._has_begun:
                first = open_program(self._process, self.current.identity, 1)
                if first is not None:  # else it is in the middle of an execve, or about to exit
                    self._change(first)
                    self._has_begun = True

    def _change(self, program: Program) -> None:
        """`end` takes no lock, and may come in between."""
        self.current = program
        if self._has_ended:
            self.current = program.without_mark()

    @property
    def generation(self) -> int | None:
        """The number of the current one; None where it cannot be told from the next."""
        return self.current.number if self.current.is_known else None

    def check(self, wanted: int | None) -> None:
        """Raise TargetChanged if ``wanted`` is a number, and not the current one."""
        program = self.current
        if wanted is not None and wanted != program.number:
            raise TargetChanged(wanted, program.number)

    def is_still(self, program: Program) -> bool:
        """In a thread: whether ``program`` is the one that the process executes.

        False too where there is none: who is in the middle of an execve may have executed several
        since the last look.
        """
        if program is self.current and program.runs():
            return True
        return self._is_the_last(program)

    def _is_the_last(self, program: Program) -> bool:
        with self._lock:
            if program is not self.current:
                return False
            new = open_program(self._process, program.identity, program.number + 1)
            if new is not None:
                self._change(new)
            return False

    def within_one(self, act: Callable[[], T], wanted: int | None) -> tuple[T, int | None]:
        """In a thread: do ``act`` until it has lain within one program; and the number of that.

        Raises TargetChanged if that is not the one that is ``wanted``, and what ``act`` does.
        """
        self._begin()
        had_exited = False
        give_up = time.monotonic() + _LONGEST_S
        while True:
            program = self.current
            if wanted is not None:
                self.check(wanted)
            done = act()
            if had_exited or self.is_still(program):
                return done, program.number if program.is_known else None
            had_exited = has_exited(self._process.pidfd)  # then it executes nothing any more
            if program is self.current:
                _wait_a_moment(give_up)

    def if_it_is(self, wanted: int | None, act: Callable[[], T]) -> T:
        """In a thread: do ``act`` unless another program is executed than the one ``wanted``.

        Raises TargetChanged, and what ``act`` does.
        """
        self.look()
        self.check(wanted)
        if wanted is not None:
            self._await_it()
            self.check(wanted)
        return act()

    def _await_it(self) -> None:
        """Wait for the end of an execve that is under way: who follows is not known before."""
        give_up = time.monotonic() + _LONGEST_S
        while not self.is_still(self.current) and not has_exited(self._process.pidfd):
            _wait_a_moment(give_up)

    def look(self) -> None:
        """In a thread: find out whether the process executes another program by now."""
        self._begin()
        self.is_still(self.current)

    def end(self) -> None:
        """The process has exited. Waits for no thread, which may hang with the lock."""
        self._has_ended = True
        self.current = self.current.without_mark()
