"""A target, as a debugger has it: looked at when it asks for another look, and never stopped."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Final

from farpeek_api.client import IncompleteRead, PeekError, SearchDone, SearchMatch
from farpeek_api.gateway import libraries
from farpeek_api.gateway.registers import OF_MACHINES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from farpeek_api.client import MappedRegion, Target
    from farpeek_api.client.calls import Mode
    from farpeek_api.client.results import Exit, TargetInfo, Thread
    from farpeek_api.gateway.libraries import Library
    from farpeek_api.gateway.registers import Architecture

_PARENTS_S: Final = 1.0
"""What a parent may take to ask how its child has ended: for others the kernel tells it then."""

_PAUSE_S: Final = 0.02
_MORE_LOOKS: Final = 5
_BETWEEN_LOOKS_S: Final = 0.002
_ELF_MACHINE: Final = slice(18, 20)
_ELF_64: Final = b"\x7fELF\x02\x01"


class Unsuitable(Exception):
    """The target is of a kind that the gateway has no registers for; the text says which."""


class Inferior:
    """``threads``, ``mappings`` and ``libraries`` are those of the latest look.

    Memory is read when a debugger asks for it. All methods raise PeekError, and ValueError for what
    is no address.
    """

    def __init__(self, target: Target, mode: Mode | None, *, writable: bool) -> None:
        self.target = target
        self.pid = target.pid
        self._mode: Mode | None = mode
        self._generation = target.info.generation
        self.writable = writable
        self.threads: Sequence[Thread] = ()

    @cached_property
    def auxv(self) -> Mapping[str, int]:
        """The auxiliary vector."""
        return self.target.auxv()

    @cached_property
    def architecture(self) -> Architecture:
        """What it is a program for: as its vDSO says, or its own header. Raises Unsuitable."""
        where = self.auxv.get("AT_SYSINFO_EHDR") or self.auxv.get("AT_PHDR", 64) - 64
        header = self.read(where, 64)
        if header.startswith(_ELF_64):
            machine = int.from_bytes(header[_ELF_MACHINE], "little")
            if machine in OF_MACHINES:
                return OF_MACHINES[machine]
        raise Unsuitable("it is no program of x86-64 or aarch64, whose registers alone are known")

    def look(self) -> TargetInfo:
        """Look anew, and say what the target is at. Of one that has exited nothing else is told."""
        info = self.target.refresh()
        if info.state == "running":
            self.threads = self._sample()
        for name in ("mappings", "libraries"):
            self.__dict__.pop(name, None)
        return info

    def _sample(self) -> Sequence[Thread]:
        """List the threads; those that run just now are looked at again, for most soon wait."""
        threads = self.target.threads()
        for _ in range(_MORE_LOOKS):
            if not any(each.running for each in threads):
                break
            time.sleep(_BETWEEN_LOOKS_S)
            known = {each.tid: each for each in threads if each.registers is not None}
            threads = [
                known.get(each.tid, each) if each.running else each
                for each in self.target.threads()
            ]
        return threads

    def is_another_program(self, info: TargetInfo) -> bool:
        """Whether it executes another program than the one that was there at first."""
        return info.generation != self._generation

    def ending(self, info: TargetInfo) -> Exit | None:
        """How it has ended, as soon as the kernel tells, if that is soon."""
        give_up = time.monotonic() + _PARENTS_S
        while info.exit is None and info.state != "reaped" and time.monotonic() < give_up:
            time.sleep(_PAUSE_S)
            info = self.target.refresh()
        return info.exit

    def leader(self) -> int:
        """The thread to begin with: the first whose registers are known, else the first."""
        known = [each.tid for each in self.threads if each.registers is not None]
        return (known or [each.tid for each in self.threads] or [self.pid])[0]

    def thread(self, tid: int) -> Thread | None:
        """Find a thread of the latest look."""
        return next((each for each in self.threads if each.tid == tid), None)

    @cached_property
    def mappings(self) -> Sequence[MappedRegion]:
        """The mappings, by address."""
        return self.target.maps()

    def mapping(self, address: int) -> MappedRegion | None:
        """Find the mapping that holds an address."""
        return next((each for each in self.mappings if each.start <= address < each.end), None)

    @cached_property
    def libraries(self) -> tuple[int, list[Library]]:
        """The program's link map, and its libraries."""
        return libraries.libraries(self.read_or_nothing, self.auxv)

    def read(self, address: int, length: int) -> bytes:
        """Read up to the first gap. Raises IncompleteRead where nothing can be read."""
        result = self.target.readv(
            [(address, length)], on_gap="stop", mode=self._mode, generation=self._generation
        )
        if length and not result.data:
            raise IncompleteRead(result)
        return result.data

    def read_many(self, regions: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read several; what has a gap is empty."""
        result = self.target.readv(regions, mode=self._mode, generation=self._generation)
        gaps = {each.region for each in result.gaps}
        return [b"" if i in gaps else result.region(i) for i in range(len(regions))]

    def read_or_nothing(self, address: int, length: int) -> bytes:
        """Read what is there, for those who follow what a target says."""
        try:
            return self.read(address, length)
        except (PeekError, ValueError):
            return b""

    def write(self, address: int, data: bytes) -> bool:
        """Write; whether all of it was written."""
        result = self.target.writev([(address, data)], generation=self._generation)
        return not result.gaps

    def find(self, address: int, length: int, pattern: bytes) -> tuple[int | None, bool]:
        """Where a pattern is first; and whether all of the range was looked through for it."""
        for each in self.target.search(
            pattern,
            ranges=[(address, address + length)],
            mode=self._mode or "wait",
            limit=1,
            context=0,
            generation=self._generation,
        ):
            if isinstance(each, SearchMatch):
                return each.address, True
            if isinstance(each, SearchDone):
                return None, each.bytes >= length  # holes count neither as searched nor as skipped
        return None, False

    def executable(self) -> str:
        """The program's name; empty where nobody may know it."""
        return self.target.info.process.exe or ""

    def place_of(self, name: str) -> int | None:
        """Find an address that a file is mapped at: the program, a library, or what is mapped."""
        if not name:
            return None
        if name == self.executable() and "AT_ENTRY" in self.auxv:
            return self.auxv["AT_ENTRY"]
        if name == self._interpreter:
            return self.auxv["AT_BASE"]
        found = next((each.dynamic for each in self.libraries[1] if each.name == name), None)
        if found is not None:
            return found
        return next((each.start for each in self.mappings if each.path == name), None)

    @cached_property
    def _interpreter(self) -> str | None:
        """The name by which the program asks for its dynamic linker: its mapping has another."""
        if not self.auxv.get("AT_BASE"):
            return None
        return libraries.interpreter(self.read_or_nothing, self.auxv)

    def is_of_the_linker(self, address: int) -> bool:
        """Whether an address lies in the dynamic linker."""
        linker, here = self.mapping(self.auxv.get("AT_BASE", 0)), self.mapping(address)
        return linker is not None and here is not None and linker.path == here.path
