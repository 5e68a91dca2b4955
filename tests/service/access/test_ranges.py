"""What is found out before a range is read, where it changes meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farpeek.access.absent import FaultHandlers, Findings
from farpeek.access.nowait import Checked, as_runs
from farpeek.access.process_ref import ByNumber
from farpeek.access.ranges import CheckTwice, WaitForMissing
from farpeek.kernel.uapi import PAGE_IS_PRESENT, PageRun
from farpeek.mappings.mapping import Mapping
from farpeek.model import PAGE_SIZE, GapReason, Process
from farpeek.regions import Hole, Runs

if TYPE_CHECKING:
    from collections.abc import Sequence

BASE = 0x7F00_0000_0000
NAMING = ByNumber(Process(1, -1))
WHOLE = Runs([BASE], [8 * PAGE_SIZE], in_order=True)


def place(first: int, last: int) -> tuple[int, int]:
    return BASE + first * PAGE_SIZE, BASE + last * PAGE_SIZE


class Found:
    """A checker that finds pages 0 and 1 present, 6 and 7 unmapped, and the rest zeros."""

    def __init__(self) -> None:
        self.looks = 0

    def check(self, ref: object, runs: Runs) -> Checked:
        del ref, runs
        self.looks += 1
        findings = Findings([Hole(*place(6, 8), GapReason.UNMAPPED)])
        return Checked(as_runs([place(0, 2)]), findings)


class Arriving:
    """Residency in which a page has come at the first ``times`` looks."""

    technique = "none"

    def __init__(self, times: int) -> None:
        self.times = times
        self.asked: list[Sequence[tuple[int, int]]] = []

    def look(self, proc: str, spans: Sequence[tuple[int, int]]) -> list[PageRun]:
        del proc
        self.asked.append(spans)
        self.times -= 1
        return [PageRun(*place(3, 4), PAGE_IS_PRESENT)] if self.times >= 0 else []


def test_only_what_was_neither_read_nor_missing_is_looked_at_again() -> None:
    inner, residency = Found(), Arriving(0)
    checked = CheckTwice(inner, residency).check(NAMING, WHOLE)
    assert residency.asked == [[place(2, 6)]]
    assert inner.looks == 1
    assert list(checked.readable.places()) == [place(0, 2)]


def test_pages_that_come_between_two_looks_are_looked_at_anew() -> None:
    inner = Found()
    checked = CheckTwice(inner, Arriving(1)).check(NAMING, WHOLE)
    assert inner.looks == 2
    assert [hole.reason for hole in checked.findings.holes] == [GapReason.UNMAPPED]


def test_what_never_settles_is_not_resident_and_waited_for_never_zeros() -> None:
    checked = CheckTwice(Found(), Arriving(100)).check(NAMING, WHOLE)
    missing, unmapped = checked.findings.holes
    assert (missing.start, missing.end) == place(2, 6)
    assert (missing.reason, unmapped.reason) == (GapReason.NOT_RESIDENT, GapReason.UNMAPPED)
    patient = WaitForMissing(CheckTwice(Found(), Arriving(100))).check(NAMING, WHOLE)
    assert list(patient.readable.places()) == [place(0, 2), place(2, 6)]
    assert patient.findings.holes == [unmapped]


@pytest.mark.parametrize("every", [1 << 30, 2 * PAGE_SIZE])
def test_handlers_are_asked_about_once_a_mapping_and_again_further_on(every: int) -> None:
    asked: list[int] = []

    def ask(address: int) -> bool:
        asked.append(address)
        return address >= place(4, 4)[0]

    handlers = FaultHandlers(every)
    mappings = [_mapping(0, 6), _mapping(6, 8)]
    answers = [
        handlers.have(mappings[page >= 6], place(page, page)[0], ask) for page in range(1, 8)
    ]
    pages = [(address - BASE) // PAGE_SIZE for address in asked]
    if every > PAGE_SIZE * 8:
        assert pages == [1, 6]
        assert answers == [False] * 5 + [True] * 2
    else:
        assert pages == [1, 3, 5, 6]
        assert answers == [False] * 4 + [True] * 3


def _mapping(first: int, last: int) -> Mapping:
    start, end = place(first, last)
    return Mapping(start, end, "rw-p", 0, (0, 0), 0, b"")
