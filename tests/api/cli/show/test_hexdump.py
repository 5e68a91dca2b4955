"""Hex dumps: layout, groups, rows that repeat, gaps."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpeek_api.cli.show.escape import width
from farpeek_api.cli.show.hexdump import CLASSES, Grouping, Hexdump
from farpeek_api.cli.show.terminal import Terminal
from farpeek_api.client import Gap

if TYPE_CHECKING:
    from collections.abc import Sequence

_BASE = 0x7F00DEADB000


def _lines(
    *parts: tuple[bytes, Sequence[Gap]], grouping: Grouping | None = None, base: int = _BASE
) -> list[str]:
    dump = Hexdump(grouping or Grouping())
    length = sum(len(data) for data, _ in parts)
    texts = [*dump.begin(Terminal(io.StringIO()), base, length)]
    for data, gaps in parts:
        texts += dump.part(data, gaps)
    return "".join([*texts, *dump.end()]).splitlines()


def _gap(offset: int, length: int, reason: str = "no_access") -> Gap:
    return Gap(0, offset, _BASE + offset, length, reason, retryable=False)


def test_a_row_is_address_codes_and_text() -> None:
    (row,) = _lines((b"\x7fELF\x02 \t\x00abcdefg\xff", ()))
    assert row == "7f00deadb000  7f 45 4c 46 02 20 09 00  61 62 63 64 65 66 67 ff  .ELF. ..abcdefg."


@pytest.mark.parametrize(
    ("group", "codes"),
    [
        (1, "00 01 02 03 04 05 06 07  08 09 0a 0b 0c 0d 0e 0f"),
        (2, "0001 0203 0405 0607  0809 0a0b 0c0d 0e0f"),
        (3, "000102 030405 060708 090a0b 0c0d0e 0f"),
        (4, "00010203 04050607  08090a0b 0c0d0e0f"),
        (8, "0001020304050607  08090a0b0c0d0e0f"),
    ],
)
def test_bytes_are_grouped(group: int, codes: str) -> None:
    (row,) = _lines((bytes(range(16)), ()), grouping=Grouping(group))
    assert row.split("  ", 1)[1].startswith(f"{codes}  ")


def test_groups_of_a_little_endian_target_read_as_numbers() -> None:
    (row,) = _lines((bytes(range(16)), ()), grouping=Grouping(4, reversed=True))
    assert "03020100 07060504  0b0a0908 0f0e0d0c" in row


def test_rows_that_are_as_the_one_before_are_a_star() -> None:
    lines = _lines((bytes(64) + b"x" * 16 + bytes(32), ()))
    assert [line.split("  ")[0] for line in lines] == [
        *("7f00deadb000", "*", "7f00deadb040", "7f00deadb050", "*", "7f00deadb070"),
    ]
    assert len(_lines((bytes(64), ()), grouping=Grouping(squeezed=False))) == 4


def test_a_gap_is_drawn_with_its_reason_where_it_begins() -> None:
    data = b"a" * 20 + bytes(44)
    lines = _lines((data, [_gap(20, 44)]))
    assert lines == [
        "7f00deadb000  61 61 61 61 61 61 61 61  61 61 61 61 61 61 61 61  aaaaaaaaaaaaaaaa",
        "7f00deadb010  61 61 61 61 -- -- -- --  -- -- -- -- -- -- -- --  aaaa            ",
        "7f00deadb014  -- 44 bytes: no_access (mapped, but closed to reads)",
    ]


def test_a_gap_of_two_parts_is_told_once() -> None:
    lines = _lines((bytes(32), [_gap(0, 32)]), (bytes(32), [_gap(32, 16)]))
    assert [line for line in lines if "bytes" in line] == lines[:1]
    assert lines[1].startswith("7f00deadb030  00")


@given(st.binary(min_size=1, max_size=100), st.data())
def test_every_byte_is_drawn_and_no_missing_one(data: bytes, draw: st.DataObject) -> None:
    begin = draw.draw(st.integers(0, len(data) - 1))
    length = draw.draw(st.integers(1, len(data) - begin))
    shown = data[:begin] + bytes(length) + data[begin + length :]
    lines = _lines((shown, [_gap(begin, length)]), grouping=Grouping(squeezed=False))
    found: dict[int, int] = {}
    for line in lines:
        address, codes = re.match(r"(\w+)  ((?:[0-9a-f-]{2}  ?)*)", line).groups()  # type: ignore[union-attr]
        if not re.match(r"\w+  -- \d+ bytes: ", line):  # which tells of a gap
            for place, code in enumerate(codes.split()):
                if code != "--":
                    found[int(address, 16) + place - _BASE] = int(code, 16)
    missing = range(begin, begin + length)
    assert found == {at: byte for at, byte in enumerate(data) if at not in missing}


@given(st.binary(min_size=1, max_size=80), st.integers(1, 8))
def test_colours_change_nothing_else(data: bytes, group: int) -> None:
    plain, coloured = Terminal(io.StringIO()), Terminal(io.StringIO())
    coloured.colours = True
    shown: list[str] = []
    for terminal in (plain, coloured):
        dump = Hexdump(Grouping(group))
        texts = [*dump.begin(terminal, _BASE, len(data)), *dump.part(data, ()), *dump.end()]
        shown.append("".join(texts))
    assert re.sub(r"\x1b\[[0-9;]*m", "", shown[1]) == shown[0]
    assert "\x1b[0m" in shown[1]


@pytest.mark.parametrize(("columns", "row"), [("80", 16), ("79", 8), ("40", 4), ("20", 4)])
@pytest.mark.parametrize("group", [1, 2, 4])
def test_rows_are_as_long_as_the_terminal_is_wide(
    columns: str, row: int, group: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    lines = _lines((bytes(range(64)), ()), grouping=Grouping(group))
    assert len(lines) <= 64 // row
    assert columns == "20" or max(map(width, lines)) <= int(columns)


def test_bytes_of_five_classes_have_five_colours() -> None:
    samples = (b"\0", b" \t\n\v\f\r", b"aZ~!", b"\x01\x1b\x7f", b"\x80\xff")
    colours = [{CLASSES[byte] for byte in sample} for sample in samples]
    assert all(len(each) == 1 for each in colours)
    assert len(set.union(*colours)) == 5
