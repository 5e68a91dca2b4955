"""Regions are read in the order of the request, each as often as it is named."""

from __future__ import annotations

import mmap
import os
import struct
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from farpeek.access import choose
from farpeek.access.probe import probe
from farpeek.identity import Process
from farpeek.model import Mode, ReadSpec, Regions
from support.targets import Target, start

if TYPE_CHECKING:
    from collections.abc import Iterator

WAYS = choose(probe())


@contextmanager
def seqlock() -> Iterator[tuple[Target, Process]]:
    with start("seqlock") as target:
        pidfd = os.pidfd_open(target.pid)
        try:
            yield target, Process(target.pid, pidfd)
        finally:
            os.close(pidfd)


def read(process: Process, spec: ReadSpec) -> bytes:
    access = WAYS.wait if spec.mode is Mode.WAIT else WAYS.nowait
    if access is None:
        pytest.skip("no nowait here")
    result = access.read(process, spec, time.monotonic() + 20)
    assert result.complete
    return bytes(result.data)


@pytest.mark.parametrize("rounds", [2000, pytest.param(25_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", Mode)
def test_a_sequence_lock_shows_every_torn_copy(mode: Mode, rounds: int) -> None:
    accepted = mixed = 0
    with seqlock() as (target, process):
        words = target["words"]
        places = [target["sequence"], target["record"], target["sequence"]]
        spec = ReadSpec(Regions(places, [8, 8 * words, 8]), mode)
        for _ in range(rounds):
            before, *record, after = struct.unpack(f"<{words + 2}Q", read(process, spec))
            if before == after and not before % 2:
                accepted += 1
                mixed += len(set(record)) > 1
    assert accepted > 0
    assert mixed == 0


def test_a_region_that_is_named_twice_is_read_twice() -> None:
    with seqlock() as (target, process):
        spec = ReadSpec(Regions([target["sequence"]] * 512, [8] * 512))
        values = struct.unpack("<512Q", read(process, spec))
        for _ in range(1000):
            if len(set(values)) > 1:
                break
            values = struct.unpack("<512Q", read(process, spec))
    assert list(values) == sorted(values)
    assert len(set(values)) > 1


def test_stable_says_whether_two_readings_were_equal() -> None:
    with seqlock() as (target, process):
        places = Regions([target["record"]], [8 * target["words"]])
        spec = ReadSpec(places, stable=2)
        readings = [WAYS.wait.read(process, spec, time.monotonic() + 20) for _ in range(300)]
        assert {reading.readings for reading in readings} == {2}
        assert {reading.stable for reading in readings} >= {False}
        spec = replace(spec, regions=Regions([target["record"] + mmap.PAGESIZE - 8], [8]), stable=8)
        rest = WAYS.wait.read(process, spec, time.monotonic() + 20)
        assert (rest.stable, rest.readings) == (True, 2)
