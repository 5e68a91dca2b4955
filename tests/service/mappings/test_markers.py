"""Entries of page tables that are no pages, told apart as the kernel shows them."""

from __future__ import annotations

import mmap
import struct
from typing import TYPE_CHECKING

import pytest

from farpeek.kernel import uapi
from farpeek.mappings.markers import Entry, entries

if TYPE_CHECKING:
    from pathlib import Path

PAGE = mmap.PAGESIZE
PRESENT, SWAPPED, PROTECTED = 1 << 63, 1 << 62, 1 << 57


def swapped(kind: int, offset: int = 0) -> int:
    """Give an entry as CAP_SYS_ADMIN sees it."""
    return SWAPPED | kind | offset << 5


def found(
    folder: Path, monkeypatch: pytest.MonkeyPatch, swap: int, *shown: int
) -> list[tuple[int, Entry]]:
    """Read entries on a host with so many bytes of swap; runs of them, with their pages."""
    (folder / "pagemap").write_bytes(struct.pack(f"={len(shown)}Q", *shown))
    monkeypatch.setattr(uapi, "swap_bytes", lambda: swap)
    runs = entries(str(folder), 0, len(shown) * PAGE)
    return [((end - start) // PAGE, entry) for start, end, entry in runs]


@pytest.mark.parametrize("kind", [24, 25, 26, 28, 29, 30])
def test_a_page_that_is_being_moved_is_not_swapped_out_where_there_is_no_swap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: int
) -> None:
    shown = [PRESENT | 7, swapped(kind, 9), swapped(kind, 10), PRESENT | 8]
    moving = [(1, Entry.PRESENT), (2, Entry.MOVING), (1, Entry.PRESENT)]
    assert found(tmp_path, monkeypatch, 0, *shown) == moving


@pytest.mark.parametrize(
    ("kind", "entry"), [(0, Entry.SWAPPED), (22, Entry.SWAPPED), (25, Entry.MOVING)]
)
def test_where_there_is_swap_a_page_of_it_is_told_from_one_that_is_being_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: int, entry: Entry
) -> None:
    assert found(tmp_path, monkeypatch, 1 << 30, swapped(kind, 9)) == [(1, entry)]


def test_without_privileges_what_may_be_moving_is_so_only_where_there_is_no_swap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found(tmp_path, monkeypatch, 0, SWAPPED) == [(1, Entry.MOVING)]
    assert found(tmp_path, monkeypatch, 1 << 30, SWAPPED) == [(1, Entry.SWAPPED)]


def test_guards_and_poison_are_refused_whatever_swap_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [swapped(31, 4), swapped(31, 2), swapped(23, 9), swapped(31, 1) | PROTECTED, 0]
    refused = [(3, Entry.REFUSED), (2, Entry.UNTOUCHED)]
    for swap in (0, 1 << 30):
        assert found(tmp_path, monkeypatch, swap, *shown) == refused
