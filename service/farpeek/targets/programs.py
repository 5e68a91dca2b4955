"""Which program a process executes: execve(2) leaves number and pidfd as they are.

The kernel gives each program 16 random bytes on its stack (AT_RANDOM of getauxval(3)). Who finds
them again *behind* a read has read that program, because execve replaces the memory for good.

A descriptor on /proc/PID/pagemap belongs to the address space that it was opened on, and gives
nothing once that is gone. It says before those bytes are looked at whether their page is there, so
that who does not wait for pages does not wait for this one. Alone it would not do: whoever reads
/proc/PID/stat in that moment, or hangs in a page fault, keeps the old address space in use.

Where the page is not there, the places of code and stack are compared, which differ with each
execve where addresses are random (proc_pid_stat(5), startcode and startstack).

All but what `seems` takes the lock of the memory, and hangs with whoever holds that: only
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
from farpeek.targets import environments, processes

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek.identity import Identity, Process

T = TypeVar("T")

_REFUSALS: Final = (errno.EACCES, errno.EPERM)
_RANDOM_BYTES: Final = 16
_ENTRY: Final = struct.Struct("=Q")  # of pagemap, for each page
_PRESENT: Final = 1 << 63
_LONGEST_S: Final = 10.0
_WORDS_KEPT: Final = 8
_MOMENT_S: Final = 0.0005
"""Between two looks at a process in the middle of an execve, which takes some 200 us."""


class Program:
    """One program, with a number of its own; closes its descriptor when nobody has it any more."""

    __slots__ = (
        "_places",
        "_proc",
        "has_ended",
        "identity",
        "is_doubted",
        "is_known",
        "number",
        "opted_out",
        "pagemap",
        "random",
        "shown_ns",
        "was_asked",
    )

    def __init__(self, number: int, identity: Identity, proc: str, pagemap: int | None) -> None:
        """``pagemap`` is a descriptor, None where the kernel refuses it; ``proc`` its folder."""
        self.number = number
        self.identity = identity
        self.is_known = pagemap is not None
        self.is_doubted = False  # somebody saw another one; no thread has looked since
        self.shown_ns = 0  # when a read began that was of it, by CLOCK_MONOTONIC; of some reads
        self.has_ended = False  # with its process, whose number may be another's
        self.was_asked = False  # for its arguments
        self.opted_out: bool | None = None  # see `environments`; None: not looked at yet
        self.pagemap = pagemap
        self._proc = proc
        self.random: tuple[int, bytes] | None = None  # where those are, once they are known
        self._places: tuple[int, int] | None = None

    def __del__(self) -> None:
        if self.pagemap is not None:
            os.close(self.pagemap)

    def runs(self) -> bool:
        """Whether the process still executes it; True where that cannot be told."""
        if self.pagemap is None:
            return self.has_ended or self._is_elsewhere_the_same(None)
        if self.random is None:
            self._find_random()
        random = self.random
        address = 0 if random is None else random[0]
        entry = os.pread(self.pagemap, _ENTRY.size, address // PAGE_SIZE * _ENTRY.size)
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
        if not self.seems_to_have_memory():
            return False
        try:
            return self.pagemap is None or self._is_where_it_was(
                processes.live_folder(self.identity.pid)
            )
        except OSError:
            return False

    def seems_to_have_memory(self) -> bool:
        """The same in a tenth of the time; True as long as anybody keeps the memory in use."""
        if self.pagemap is None:
            return True
        try:
            # Half an entry is refused behind the look at whether the memory is in use still, and
            # before its lock is taken (pagemap_read in fs/proc/task_mmu.c).
            os.pread(self.pagemap, _ENTRY.size // 2, 0)
        except OSError as error:
            return error.errno == errno.EINVAL
        return False

    def note(self, found: Identity) -> None:
        """Take down who the process is by now; the same object stays if that is as it was.

        If it may be another program's name, the arguments of this one do not belong to it.
        """
        if not self.seems_to_run():
            self.is_doubted = True
        if self.is_doubted or found.exe != self.identity.exe:
            found = replace(found, cmdline=None)
        if found != self.identity:
            self.identity = found

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

    def note_marks(self) -> None:
        """Remember by what it is told from others, before anything else of it is looked at."""
        self._places = processes.places(self._proc)
        self._find_random()

    def trust(self) -> None:
        """It runs still, whoever it seemed to be; where it is can be changed (PR_SET_MM)."""
        self._places = processes.places(self._proc)
        self.is_doubted = False

    def open_pagemap(self) -> bool:
        """Open it; False where the process has no memory any more."""
        try:
            self.pagemap = os.open(f"{self._proc}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            return error.errno in _REFUSALS
        self.is_known = True
        return True

    def without_pagemap(self) -> Program:
        """Give the same one for a process that has exited, and can execute no other."""
        ended = Program(self.number, self.identity, self._proc, None)
        ended.is_known = self.is_known
        ended.has_ended = True
        ended.opted_out = self.opted_out
        return ended

    def note_word(self) -> None:
        """Find out whether it has opted out, unless pages would have to be waited for."""
        if self.opted_out is None and self._has_environment():
            self.opted_out = environments.opts_out(self._proc)

    def ask_for_word(self) -> None:
        """The same, however long it takes."""
        if self.opted_out is None:
            self.opted_out = environments.opts_out(self._proc)

    def _has_environment(self) -> bool:
        """Whether all of its pages are there."""
        if self.pagemap is None:
            return True  # nobody may see it, and that is told at once
        found = processes.environment(self._proc)
        if found is None or not 0 <= found[1] - found[0] <= environments.MOST_BYTES:
            return False
        first, last = found[0] // PAGE_SIZE, found[1] // PAGE_SIZE
        entries = os.pread(self.pagemap, (last - first + 1) * _ENTRY.size, first * _ENTRY.size)
        return all(entry & _PRESENT for (entry,) in _ENTRY.iter_unpack(entries))

    @property
    def thread(self) -> int:
        """The number of a thread that has this memory."""
        return _number(self._proc)

    def _find_random(self) -> None:
        """Find out where the random bytes are, and what, unless they are the next program's."""
        address = auxv.read(self._proc)[1].get(auxv.AT_RANDOM)
        found = None if address is None else uapi.read_memory(self.thread, *_span(address))
        if address is not None and found is not None and self._is_where_it_was(self._proc):
            self.random = address, found

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
    """Find out what ``process`` executes now; None if it has no memory any more.

    Its marks come first, and are compared last: whatever was found out in between is of the program
    that has them. The page table would not say so: an old one tells of a program that is over for
    as long as anybody keeps it in use.
    """
    while True:
        program = _marked_program(process, known, number)
        if program is None or not program.open_pagemap() or has_exited(process.pidfd):
            return None
        program.identity = processes.refresh(process, replace(known, cmdline=None))
        program.note_word()
        if program.runs():
            return program
        if uapi.probe_memory(program.thread) == -errno.ESRCH:
            return None
        # It has executed the next one meanwhile.


def _marked_program(process: Process, known: Identity, number: int) -> Program | None:
    try:
        program = Program(number, known, processes.live_folder(process.pid), None)
        program.note_marks()
    except OSError:
        return None
    return program


class Programs:
    """The programs of one process, one after the other. Threads and the loop may use it at once."""

    def __init__(self, process: Process, identity: Identity) -> None:
        """``identity`` is what is known of the process; its program is not before a look."""
        self._process = process
        self._lock = threading.Lock()
        self._has_begun = self._has_ended = False
        self._words: dict[int, bool | None] = {}  # of the last programs before the current one
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
        self._words = {
            **dict([*self._words.items()][1 - _WORDS_KEPT :]),
            self.current.number: self.current.opted_out,
        }
        self.current = program
        if self._has_ended:
            self.current = program.without_pagemap()

    @property
    def generation(self) -> int | None:
        """The number of the current one; None where it cannot be told from the next."""
        return self.current.number if self.current.is_known else None

    def word_of(self, number: int) -> bool | None:
        """Whether the program of that number has, or had, opted out; None if that is not known."""
        program = self.current
        return program.opted_out if program.number == number else self._words.get(number)

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
            if program.is_doubted:
                program.trust()
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
                program.note_word()  # if it had only begun when it was found
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

    def ask(self) -> None:
        """In a thread that may wait for pages: find out whether the program has opted out."""
        self._begin()
        self.current.ask_for_word()

    def end(self) -> None:
        """The process has exited. Waits for no thread, which may hang with the lock."""
        self._has_ended = True
        self.current = self.current.without_pagemap()
