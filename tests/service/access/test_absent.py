"""What is asked about pages that are not in the page table."""

from __future__ import annotations

import pytest

from farpeek.access.fault_handlers import FaultHandlers
from farpeek.mappings.mapping import Mapping
from farpeek.model import PAGE_SIZE

BASE = 0x7F00_0000_0000


def place(first: int, last: int) -> tuple[int, int]:
    return BASE + first * PAGE_SIZE, BASE + last * PAGE_SIZE


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
