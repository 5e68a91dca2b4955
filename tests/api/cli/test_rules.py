"""`farpeek search --yara`: rules, matched by whoever asks, on the memory of a real process."""

from __future__ import annotations

import json
import mmap
from typing import TYPE_CHECKING

import pytest

from farpeek_api.cli import statuses
from farpeek_api.client import Client
from support.commands import run
from support.targets import Target, start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

yara = pytest.importorskip("farpeek_api.yara", reason="YARA-X is not installed")

MIB = 1 << 20
EDGE = yara.BLOCK - 4
RULES = """
rule needle : tag {
  strings: $text = "<needle>" $hex = { 3c 6e [1-3] 65 64 }
  condition: any of them
}
rule other { strings: $a = "no such text in it" condition: $a }
"""


@pytest.fixture(scope="module")
def searched() -> Iterator[Target]:
    with start("searched") as target:
        for offset in (48, 8 * MIB - 3):
            assert target.command(f"put {offset} <needle>~") == "ok"
        yield target


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yar"
    path.write_text(RULES)
    return path


def where(target: Target) -> str:
    return f"{target['area']:#x}+9M"


def test_what_rules_find_is_shown_with_rule_and_pattern(searched: Target, rules: Path) -> None:
    ran = run("search", searched.pid, "--yara", rules, "--in", where(searched))
    assert ran.status == statuses.DONE, ran.error
    first = searched["area"]
    expected = {
        (at, pattern, length)
        for at in (first + 48, first + 8 * MIB - 3)
        for pattern, length in (("$text", 8), ("$hex", 5))
    }
    found = {tuple(line.replace(",", "").split()) for line in ran.lines}
    assert found == {(hex(at), "needle", name, str(length)) for at, name, length in expected}
    shown = run("search", searched.pid, "--yara", rules, "--in", where(searched), "--json")
    matches = [json.loads(line)["match"] for line in shown.lines]
    assert {(each["address"], each["pattern"]) for each in matches} == {
        (hex(at), name) for at, name, _ in expected
    }


def test_a_match_over_the_edge_of_two_blocks_is_told_of_once(url: str) -> None:
    with start("bulk", 24 * MIB // mmap.PAGESIZE) as target, Client(url) as peek:
        held = peek.target(target.pid)
        first = target["block"]
        for at in (first + EDGE, first + yara.BLOCK - yara.OVERLAP + 8):
            data = held.read(at, 16)
            hexes = " ".join(f"{byte:02x}" for byte in data)
            made = yara.compiled("rule a { strings: $a = { " + hexes + " } condition: $a }")
            found = list(yara.scan(held, made, [(first, first + 24 * MIB)]))
            assert [(each.address, each.length) for each in found] == [(at, 16)]


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("rule a { condition: nonsense }", "unknown identifier"),
        ('include "/etc/passwd" rule a { condition: true }', "include"),
    ],
)
def test_rules_that_will_not_do_are_refused_with_the_place(
    searched: Target, tmp_path: Path, text: str, cure: str
) -> None:
    path = tmp_path / "wrong.yar"
    path.write_text(text)
    ran = run("search", searched.pid, "--yara", path)
    assert ran.status == statuses.USAGE
    assert cure in ran.error
    assert "root:" not in ran.error


def test_rules_take_no_other_pattern_and_no_curl(searched: Target, rules: Path) -> None:
    for word in ("--curl", "--hex=00"):
        ran = run("search", searched.pid, "--yara", rules, word)
        assert ran.status == statuses.USAGE, word


def test_a_rule_that_takes_for_ever_is_ended(url: str, searched: Target) -> None:
    searched.command(f"fill 0x200000 {2 * MIB} 0x61")
    made = yara.compiled("rule a { strings: $a = /a.*b.*c/ condition: $a }")
    first = searched["area"] + 2 * MIB
    with Client(url) as peek, pytest.raises(yara.TooCostly, match="over 1 s"):
        list(yara.scan(peek.target(searched.pid), made, [(first, first + 2 * MIB)], timeout_s=1))
