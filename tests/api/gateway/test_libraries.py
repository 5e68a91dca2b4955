"""Lists of libraries that a target wrote: whatever it wrote, they end."""

from __future__ import annotations

import struct
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from farpeek_api.gateway import libraries

HEADERS, DYNAMIC, DEBUG, LINKS, NAMES = 0x1040, 0x2000, 0x3000, 0x10000, 0x900000
AUXV = {"AT_PHDR": HEADERS, "AT_PHNUM": 2}


class Memory:
    """Bytes at addresses, and how often they were read."""

    def __init__(self, parts: dict[int, bytes]) -> None:
        self.parts = parts
        self.reads = 0

    def read(self, address: int, length: int) -> bytes:
        self.reads += 1
        for start, data in self.parts.items():
            if start <= address < start + len(data):
                return data[address - start :][:length]
        return b""


def _program(
    links: list[tuple[int, int, int, int, int]], names: bytes, following: int = 0
) -> Memory:
    """Lay out a program that is moved by 0x1000, with link maps 64 bytes apart."""
    headers = _header(6, HEADERS - 0x1000) + _header(2, DYNAMIC - 0x1000)
    return Memory(
        {
            HEADERS: headers,
            DYNAMIC: struct.pack("<QQQQQQ", 1, 7, 21, DEBUG, 0, 0),
            DEBUG: struct.pack("<iiQQQQQ", 2, 0, LINKS, 0, 0, 0, following),
            LINKS: b"".join(struct.pack("<QQQQQ", *each).ljust(64, b"\0") for each in links),
            NAMES: names,
        }
    )


def _header(kind: int, address: int) -> bytes:
    return struct.pack("<IIQQQQQQ", kind, 0, 0, address, address, 0, 0, 0)


def test_a_list_is_followed_and_the_program_is_not_in_it() -> None:
    names = b'\0/lib/<a>&"\x01\xff.so\0'
    memory = _program([(0, NAMES, 1, LINKS + 64, 0), (2, NAMES + 1, 3, 0, LINKS)], names)
    program, found = libraries.libraries(memory.read, AUXV)
    assert (program, [each.bias for each in found]) == (LINKS, [2])
    root = ET.fromstring(libraries.xml(program, found))  # noqa: S314 - our own
    [library] = root
    assert library.attrib == {
        "name": '/lib/<a>&"\\x01\\xff.so',
        "lm": hex(LINKS + 64),
        "l_addr": "0x2",
        "l_ld": "0x3",
        "lmid": hex(DEBUG),
    }


def test_a_list_that_bites_its_tail_ends() -> None:
    loop = [(0, 0, 0, LINKS + 64, 0), (1, 0, 0, LINKS, 0)]
    assert len(libraries.libraries(_program(loop, b"", DEBUG).read, AUXV)[1]) == 1


def test_a_list_without_end_is_cut_and_so_is_a_name() -> None:
    count = libraries.MOST + 100
    links = [(0, NAMES, 0, LINKS + 64 * (number + 1), 0) for number in range(count)]
    memory = _program(links, b"n" * 10_000)
    _, found = libraries.libraries(memory.read, AUXV)
    assert len(found) < libraries.MOST
    assert {len(each.name) for each in found} == {libraries.LONGEST_NAME}
    assert memory.reads < 5 * libraries.MOST


def test_a_name_over_the_border_of_two_pages_is_whole() -> None:
    memory = _program(
        [(0, 0, 0, LINKS + 64, 0), (0, NAMES + 4090, 0, 0, 0)], bytes(4090) + b"/lib/a.so.1\0"
    )
    assert libraries.libraries(memory.read, AUXV)[1][0].name == "/lib/a.so.1"


def test_without_a_dynamic_section_there_are_none() -> None:
    memory = Memory({HEADERS: _header(1, 0) * 2})
    assert libraries.libraries(memory.read, AUXV) == (0, [])
    assert libraries.libraries(memory.read, {}) == (0, [])


@given(st.binary(min_size=64, max_size=400), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_whatever_is_there_it_ends(data: bytes, at: int, count: int) -> None:
    def read(address: int, length: int) -> bytes:
        return (data[address % len(data) :] + data * (min(length, 1 << 16) // len(data)))[:length]

    _, found = libraries.libraries(read, {"AT_PHDR": at, "AT_PHNUM": count})
    assert len(found) <= libraries.MOST
    ET.fromstring(libraries.xml(0, found))  # noqa: S314 - our own
