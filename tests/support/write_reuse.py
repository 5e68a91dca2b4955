"""Writes, while the number of their target changes hands all the time.

Who believes to hold generation N writes N into the slot of N. There are 64 slots a page, so a wrong
write leaves evidence in a slot that is not the process's own, and nobody writes over it: the next
process with that slot comes 64 generations later.
"""

from __future__ import annotations

import ctypes
import struct
import time
from functools import partial
from typing import TYPE_CHECKING

from farpeek.access import ProcessGone
from farpeek.model import Mode, WriteSpec
from support.pid_reuse import MARKER, NUMBER, Race, Racer, respawner
from support.reading import proc_mem
from support.waiting import PATIENCE_S
from support.writing import writers

if TYPE_CHECKING:
    from farpeek.access import WriteAccess

SLOTS = 64
CAREFUL, NAIVE = MARKER + 1024, MARKER + 2048

_writev = ctypes.CDLL(None, use_errno=True).process_vm_writev


def _slot(area: int, generation: int) -> int:
    return area + 8 * (generation % SLOTS)


def _write_by_number(address: int, data: bytes) -> bool:
    """Write with no check at all: the control."""
    buffer = ctypes.create_string_buffer(data, len(data))
    local = struct.pack("=QQ", ctypes.addressof(buffer), len(data))
    remote = struct.pack("=QQ", address, len(data))
    written = _writev(
        *(ctypes.c_int(NUMBER), local, ctypes.c_ulong(1)),
        *(remote, ctypes.c_ulong(1), ctypes.c_ulong(0)),
    )
    return bool(written == len(data))


class _WriteRace(Race):
    """The race, with writers in the place of readers."""

    def __init__(self, generation: int, pidfd: int) -> None:
        super().__init__(generation, pidfd)
        self.strays = self.control_strays = 0

    def write_with_care(self, racer: Racer, writer: WriteAccess) -> None:
        """Write through the service's own access code, with each round's handle."""
        try:
            while self.running:
                number, generation, process = self.current
                racer.begin(number)
                place, tag = _slot(CAREFUL, generation), struct.pack("=Q", generation)
                spec = WriteSpec([place], [tag])
                try:
                    result = writer.write(process, spec, time.monotonic() + PATIENCE_S)
                except ProcessGone:
                    racer.gone += 1
                else:
                    racer.own += result.complete
                racer.reads_in_round += 1
        except Exception as error:  # noqa: BLE001 - any of them fails the test, by name
            racer.failure = repr(error)

    def write_naively(self, racer: Racer) -> None:
        while self.running:
            number, generation, _process = self.current
            racer.begin(number)
            _write_by_number(_slot(NAIVE, generation), struct.pack("=Q", generation))
            racer.reads_in_round += 1

    def inspect(self) -> None:
        """Count what others have written into the process that has the number now."""
        _number, generation, _process = self.current
        self.strays += self._foreign(CAREFUL, generation)
        self.control_strays += self._foreign(NAIVE, generation)

    def _foreign(self, area: int, generation: int) -> int:
        content = proc_mem(NUMBER, area, 8 * SLOTS)
        assert content is not None
        return sum(word != generation for (word,) in struct.iter_unpack("=Q", content))


def race_of_writes(rounds: int, way: str) -> dict[str, object]:
    """Swap the process behind the number ``rounds`` times under threads that write to it."""
    found = writers(way)
    assert found is not None
    writer = found[Mode.WAIT]
    with respawner() as swapping:
        race = _WriteRace(*swapping.swap())
        careful = [partial(race.write_with_care, racer, writer) for racer in race.readers]
        race.run_under([*careful, partial(race.write_naively, race.control)], swapping, rounds)
    return {
        "rounds": race.current[0],
        "own": sum(racer.own for racer in race.readers),
        "gone": sum(racer.gone for racer in race.readers),
        "strays": race.strays,
        "control_strays": race.control_strays,
        "failures": [racer.failure for racer in race.readers if racer.failure],
    }
