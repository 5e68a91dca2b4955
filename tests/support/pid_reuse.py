"""Races for one process number, run in a pid namespace of their own (see `namespaces`).

`respawn` (tests/targets) gives one number to ever new processes. Each holds its generation as the
marker, so that whatever comes back tells whose it is; and odd ones have a second readable page
where even ones have none, so that a gap tells it, too.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

import uvloop

from farpeek.access import ProcessGone, choose
from farpeek.access.probe import probe
from farpeek.errors import NoSuchProcess, TargetExited
from farpeek.identity import Process
from farpeek.memory import MemoryService
from farpeek.model import Gap, GapReason, Limits, Mode, ReadResult, ReadSpec, Regions
from support.asking import ask
from support.reading import NaiveReader
from support.targets import build
from support.waiting import PATIENCE_S, aio_until
from support.witnesses import program_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from farpeek.access import Access
    from farpeek.access.witness import Witness

MARKER = 0x5EC000000000
PAGE = mmap.PAGESIZE
NUMBER = 20_000
READERS = 3


class Respawner:
    """The process that kills, reaps and gives the number to the next one."""

    def __init__(self, ours: socket.socket, pid: int) -> None:
        self._socket = ours
        self.pid = pid

    def swap(self) -> tuple[int, int]:
        """Put the next generation in the place of the last; its generation and its pidfd."""
        self._socket.send(b"swap")
        data, descriptors, _, _ = socket.recv_fds(self._socket, 8, 1)
        return struct.unpack("=Q", data)[0], descriptors[0]

    def swap_alone(self) -> int:
        """Do the same, for whoever has no use for the pidfd; the generation."""
        generation, pidfd = self.swap()
        os.close(pidfd)
        return generation

    def begin_churn(self, count: int) -> None:
        self._socket.send(f"churn {count}".encode())

    def churn_has_ended(self) -> bool:
        self._socket.settimeout(0)
        try:
            return bool(self._socket.recv(8))
        except BlockingIOError:
            return False


@contextmanager
def respawner(number: int = NUMBER) -> Iterator[Respawner]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.settimeout(PATIENCE_S)
        process = subprocess.Popen(
            [build("respawn"), str(number), str(theirs.fileno())], pass_fds=[theirs.fileno()]
        )
        theirs.close()
        try:
            yield Respawner(ours, process.pid)
        finally:
            process.kill()
            process.wait(PATIENCE_S)


def _expected(generation: int) -> tuple[bytes, tuple[Gap, ...]]:
    """What an honest read of both pages of this generation gives."""
    own = struct.pack("=Q", generation)
    if generation % 2:
        return own + own, ()
    gap = Gap(1, 0, MARKER + PAGE, 8, GapReason.NO_ACCESS)
    return own + bytes(8), (gap,)


@dataclass(slots=True)
class Racer:
    """What one thread of a race has seen."""

    own: int = 0
    gone: int = 0
    impostors: int = 0
    round: int = -1  # whose handle it took last
    reads_in_round: int = 0
    failure: str = ""

    def begin(self, number: int) -> None:
        if number != self.round:
            self.reads_in_round = 0
            self.round = number

    def reads_in(self, number: int) -> int:
        return self.reads_in_round if number == self.round else 0


class Race:
    """One round after the other: all readers hold a process, while its number changes hands."""

    def __init__(self, generation: int, pidfd: int) -> None:
        # One tuple, so that a reader never sees half of a change.
        self.current = (0, generation, Process(NUMBER, pidfd))
        self.running = True
        self.readers = [Racer() for _ in range(READERS)]
        self.quick = Racer()
        self.there = Racer()
        self.joint = Racer()
        self.control = Racer()

    @property
    def fast(self) -> list[Racer]:
        """Those that not every race has."""
        return [self.quick, self.there, self.joint]

    def read_with_care(self, reader: Racer, access: Access) -> None:
        """Read through the service's own access code, with each round's handle."""
        spec = ReadSpec(Regions([MARKER, MARKER + PAGE], [8, 8]))
        try:
            while self.running:
                number, generation, process = self.current
                reader.begin(number)
                try:
                    result = access.read(process, spec, time.monotonic() + PATIENCE_S)
                except ProcessGone:
                    reader.gone += 1
                else:
                    got = (bytes(result.data), tuple(result.gaps))
                    if got == _expected(generation):
                        reader.own += 1
                    else:
                        reader.impostors += 1
                        reader.failure = f"as generation {generation}: {got}"
                reader.reads_in_round += 1
        except Exception as error:  # noqa: BLE001 - any of them fails the test, by name
            reader.failure = repr(error)

    def read_quickly(self, reader: Racer, access: Access, program: Witness, spec: ReadSpec) -> None:
        """The same by a quick way; all processes have one witness, so the pidfd has to tell."""
        while self.running:
            number, generation, process = self.current
            reader.begin(number)
            self._note(reader, generation, access.read_quickly(process, spec, program))

    def read_jointly(self, access: Access, program: Witness) -> None:
        """The same with others, so that the pidfd is looked at long behind the read."""
        spec = ReadSpec(Regions([MARKER], [8]))
        reader = self.joint
        while self.running:
            number, generation, process = self.current
            reader.begin(number)
            prepared = [access.prepare(process, spec, program) for _ in range(4)]
            results = access.jointly(prepared, Mode.WAIT).run()
            for result in results or ():
                self._note(reader, generation, result)

    @staticmethod
    def _note(reader: Racer, generation: int, result: ReadResult | None) -> None:
        if result is None:
            reader.gone += 1
        elif bytes(result.data) == struct.pack("=Q", generation) * (len(result.data) // 8):
            reader.own += 1
        else:
            reader.impostors += 1
            reader.failure = f"as generation {generation}: {result.data!r}"
        reader.reads_in_round += 1

    def read_naively(self, reader: Racer) -> None:
        """Read by number alone."""
        naive = NaiveReader(NUMBER, MARKER, 8)
        while self.running:
            number, generation, _process = self.current
            reader.begin(number)
            data = naive()
            if data is None:
                reader.gone += 1
            elif data == struct.pack("=Q", generation):
                reader.own += 1
            else:
                reader.impostors += 1
            reader.reads_in_round += 1

    def failed(self) -> bool:
        return any(reader.failure for reader in [*self.readers, *self.fast])

    def wait_for_reads(self, more: int) -> None:
        """Wait until every reader has read ``more`` times with this round's handle."""
        fast = [reader for reader in self.fast if reader.own]
        everybody = [*self.readers, self.control, *fast]
        number = self.current[0]
        wanted = [more + reader.reads_in(number) for reader in everybody]
        give_up = time.monotonic() + PATIENCE_S
        while not self.failed() and any(
            reader.reads_in(number) < reads for reader, reads in zip(everybody, wanted, strict=True)
        ):
            if time.monotonic() > give_up:
                raise TimeoutError("the readers do not read")
            time.sleep(0)

    def run_under(
        self, racing: Sequence[Callable[[], None]], respawner: Respawner, rounds: int
    ) -> None:
        """Run with a thread for each of ``racing``."""
        # Five busy threads and one lock between them: with the usual 5 ms a turn it takes minutes.
        sys.setswitchinterval(0.0005)
        threads = [threading.Thread(target=act) for act in racing]
        for thread in threads:
            thread.start()
        try:
            self.run(respawner, rounds)
        finally:
            self.running = False
            for thread in threads:
                thread.join(PATIENCE_S)

    def inspect(self) -> None:
        """Look at the process before it ends."""

    def run(self, respawner: Respawner, rounds: int) -> None:
        self.wait_for_reads(1)
        for number in range(1, rounds + 1):
            self.inspect()
            generation, pidfd = respawner.swap()
            self.wait_for_reads(2)
            old = self.current[2]
            self.current = (number, generation, Process(NUMBER, pidfd))
            # Nobody reads by the old descriptor any more when its number is free for another.
            self.wait_for_reads(1)
            os.close(old.pidfd)
            if self.failed():
                break


def race_of_reads(rounds: int) -> dict[str, object]:
    """Swap the process behind the number ``rounds`` times under threads that read it."""
    access = choose(probe()).wait
    # All are forks of one process, so that its page table and random bytes stand for theirs.
    with respawner() as swapping:
        race = Race(*swapping.swap())
        # Only now: what has answered has been executed.
        with program_of(swapping.pid) as program:
            racing = [partial(race.read_with_care, reader, access) for reader in race.readers]
            few = ReadSpec(Regions([MARKER], [8]))
            many = ReadSpec(Regions([MARKER] * 20, [8] * 20), Mode.NOWAIT)
            racing.append(partial(race.read_quickly, race.quick, access, program, few))
            racing.append(partial(race.read_quickly, race.there, access, program, many))
            racing.append(partial(race.read_jointly, access, program))
            racing.append(partial(race.read_naively, race.control))
            race.run_under(racing, swapping, rounds)
    return {
        "rounds": race.current[0],
        "own": sum(reader.own for reader in race.readers),
        "gone": sum(reader.gone for reader in race.readers),
        "impostors": sum(reader.impostors for reader in race.readers),
        "quick": asdict(race.quick),
        "there": asdict(race.there),
        "joint": asdict(race.joint),
        "failures": [each.failure for each in [*race.readers, *race.fast] if each.failure],
        "control_impostors": race.control.impostors,
    }


@dataclass(slots=True)
class _Registrations:
    """What registering a number that changes hands all the time has given."""

    registered: int = 0
    targets: int = 0
    missed: int = 0
    gone_before_read: int = 0
    own: int = 0
    strangers: int = 0
    failure: str = ""


async def _register_until(
    ended: asyncio.Event, service: MemoryService, ids: set[str], seen: _Registrations
) -> None:
    spec = ReadSpec(Regions([MARKER], [8]))
    while not ended.is_set():
        try:
            snapshot, _created = await service.register(NUMBER, None)
        except (NoSuchProcess, TargetExited):
            seen.missed += 1
            continue
        seen.registered += 1
        ids.add(snapshot.id)
        try:
            result = await ask(service, snapshot.id, spec)
        except TargetExited:
            seen.gone_before_read += 1
            continue
        (marker,) = struct.unpack("=Q", result.data)
        if snapshot.identity.comm == f"g{marker}":
            seen.own += 1
        else:
            seen.strangers += 1
            seen.failure = f"registered as {snapshot.identity.comm}, read g{marker}"


async def _register_all_along(generations: int) -> _Registrations:
    seen = _Registrations()
    ids: set[str] = set()
    ended = asyncio.Event()
    service = await MemoryService.open(Limits())
    with respawner() as swapping:
        swapping.begin_churn(generations)
        tasks = [
            asyncio.ensure_future(_register_until(ended, service, ids, seen))
            for _ in range(READERS)
        ]
        await aio_until(
            lambda: swapping.churn_has_ended() or any(task.done() for task in tasks),
            "the number has changed hands often enough",
            patience_s=90,
        )
        ended.set()
        await asyncio.gather(*tasks)
    seen.targets = len(ids)
    await service.close(1.0)
    return seen


def race_of_registrations(generations: int) -> dict[str, object]:
    """Register a number again and again while it is given to ``generations`` processes."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return asdict(runner.run(_register_all_along(generations)))
