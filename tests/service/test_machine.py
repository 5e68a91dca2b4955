"""System calls have the numbers of the program that makes them, whatever uname(2) says."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from farpeek import machine
from farpeek.access.probe import check_program
from farpeek.errors import Unsupported
from farpeek.kernel import uapi


def header(bits: int, number: int, order: str = "<") -> bytes:
    ident = b"\x7fELF" + bytes([bits // 32, 1 if order == "<" else 2, 1]).ljust(12, b"\0")
    return ident + struct.pack(f"{order}HH", 3, number)


def test_this_program_is_for_this_machine() -> None:
    assert os.uname().machine == machine.NAME
    assert machine.name_in(Path("/proc/self/exe").read_bytes()) == machine.NAME


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (header(64, 62), "x86_64"),
        (header(64, 183), "aarch64"),
        (header(64, 22, ">"), "s390x"),
        (header(32, 62), None),  # x32
        (header(32, 40), None),  # arm
        (header(64, 9999), None),
        (b"#!/bin/sh\n" * 2, None),
    ],
)
def test_a_program_is_told_by_its_header(head: bytes, name: str | None) -> None:
    assert machine.name_in(head) == name


@pytest.mark.skipif(machine.NAME != "x86_64", reason="there is a personality for this one")
def test_a_personality_changes_no_number() -> None:
    told = subprocess.run(["setarch", "i686", "uname", "-m"], capture_output=True, check=False)
    if told.stdout.strip() != b"i686":
        pytest.skip("this kernel has no such personality")
    code = (
        "import os; from farpeek.kernel import uapi; print(os.uname().machine, uapi.WRITEV_NUMBER)"
    )
    done = subprocess.run(
        ["setarch", "i686", sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["i686", str(uapi.WRITEV_NUMBER)]


def test_a_program_of_32_bits_is_refused_with_the_cure() -> None:
    check_program()
    with pytest.raises(Unsupported, match=r"32 bits.*Python of 64 bits"):
        check_program(32)
