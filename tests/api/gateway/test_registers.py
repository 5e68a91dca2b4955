"""Registers as debuggers have them, and which of them are known."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from farpeek_api.client.results import Registers
from farpeek_api.gateway.registers import AARCH64, X86_64, Architecture

CALL = Registers(0x401234, 0x7FFC0000, 230, (1, 2, 3, 4, 5, 6))


@pytest.mark.parametrize("architecture", [X86_64, AARCH64])
def test_the_description_is_xml_and_the_layout_is_as_it_says(architecture: Architecture) -> None:
    root = ET.fromstring(architecture.target_xml())  # noqa: S314 - our own
    sizes = [int(each.attrib["bitsize"]) for each in root.iter("reg")]
    assert len(architecture.pack(CALL)) == sum(sizes) // 4
    assert len(architecture.pack(None)) == sum(sizes) // 4
    names = [each.attrib["name"] for each in root.iter("reg")]
    assert len({*names}) == len(names)


def test_in_a_call_of_x86_64_its_arguments_and_number_are_known() -> None:
    values = _values(X86_64, CALL)
    assert values == {
        "rip": 0x401234,
        "rcx": 0x401234,
        "rsp": 0x7FFC0000,
        "orig_rax": 230,
        "rdi": 1,
        "rsi": 2,
        "rdx": 3,
        "r10": 4,
        "r8": 5,
        "r9": 6,
    }


def test_in_a_call_of_aarch64_its_arguments_and_number_are_known() -> None:
    known = {"pc": 0x401234, "sp": 0x7FFC0000, "x8": 230}
    assert _values(AARCH64, CALL) == known | {f"x{number}": number + 1 for number in range(6)}


def test_outside_of_a_call_only_two_are_known_and_of_a_running_thread_none() -> None:
    stopped = Registers(1, 2, None, None)
    assert _values(X86_64, stopped) == {"rip": 1, "rsp": 2}
    assert _values(X86_64, None) == {"rip": 0}
    assert X86_64.pack(None).startswith(b"xxxxxxxxxxxxxxxx")


def _values(architecture: Architecture, known: Registers | None) -> dict[str, int]:
    values = zip(architecture.registers, architecture.values(known), strict=True)
    return {
        register.name: int.from_bytes(bytes.fromhex(value.decode()), "little")
        for register, value in values
        if value is not None
    }
