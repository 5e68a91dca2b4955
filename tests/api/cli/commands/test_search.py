"""`farpeek search`: matches as they are found, and narrowed down."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from farpeek_api.cli import statuses
from support.commands import run
from support.targets import Target, start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20


@pytest.fixture(scope="module")
def searched() -> Iterator[Target]:
    with start("searched") as target:
        for offset in (48, 8 * MIB - 3):
            assert target.command(f"put {offset} <needle>~") == "ok"
        yield target


def where(target: Target) -> str:
    return f"{target['area']:#x}+9M"


def addresses(lines: list[str]) -> list[int]:
    return [int(line.split()[0], 16) for line in lines]


def test_a_text_is_shown_where_it_is_with_what_is_around_it(searched: Target) -> None:
    first = searched["area"]
    ran = run("search", searched.pid, "needle", "--in", where(searched), "--context", 1)
    assert ran.status == statuses.DONE
    assert addresses(ran.lines) == [first + 49, first + 8 * MIB - 2]
    assert ran.lines[0].endswith("  anonymous+0x31  <needle>")


@pytest.mark.parametrize(
    "pattern",
    [
        ["--hex", "3c 6e ?? 65 64"],
        ["--regex", "<n[a-z]{5}>"],
        ["--u64", str(int.from_bytes(b"<needle>", "little"))],
        ["--u64", hex(int.from_bytes(b"<needle>", "little"))],
    ],
)
def test_other_patterns_find_it_too(searched: Target, pattern: list[str]) -> None:
    ran = run("search", searched.pid, *pattern, "--in", where(searched), "--perms-are-not-given")
    assert ran.status == statuses.USAGE
    ran = run("search", searched.pid, *pattern, "--in", where(searched))
    first = searched["area"]
    assert addresses(ran.lines)[0] == first + 48


def test_pointers_to_an_address_are_found() -> None:
    with start("pointers") as target:
        ran = run("search", target.pid, "--pointer-to", "main", "--json", "--mode", "wait")
        assert ran.status == statuses.DONE
        shown = [json.loads(line) for line in ran.lines]
        assert shown[-1]["done"]["stopped"] is None
        assert all(int(each["match"]["address"], 16) % 8 == 0 for each in shown[:-1])


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_an_earlier_search_is_narrowed_down(
    searched: Target, tmp_path: Path, form: list[str]
) -> None:
    first = searched["area"]
    earlier = tmp_path / "found"
    ran = run("search", searched.pid, "<needle", "--in", where(searched), *form)
    earlier.write_text("\n".join(ran.lines))
    assert searched.command(f"put {8 * MIB - 3} <Needle>~") == "ok"
    ran = run("search", searched.pid, "<needle", "--next", earlier)
    assert addresses(ran.lines) == [first + 48]
    assert searched.command(f"put {8 * MIB - 3} <needle>~") == "ok"
    earlier.write_text("nothing")
    ran = run("search", searched.pid, "x", "--next", earlier)
    assert ran.status == statuses.USAGE


def test_it_says_what_was_left_alone_and_where_it_stopped(searched: Target) -> None:
    ran = run("search", searched.pid, "<needle>", "--perms", "r", "--limit", 1)
    assert ran.status == statuses.INCOMPLETE
    assert "--limit" in ran.error
    span = f"{searched['area'] + 11 * MIB:#x}+3M"
    ran = run("search", searched.pid, "<needle>", "--in", span)
    assert ran.status == statuses.DONE
    assert "not in memory, and left alone; --mode wait" in ran.error


def test_one_pattern_is_needed_and_no_more(searched: Target) -> None:
    for words in ([], ["text", "--hex", "00"], ["--u32", "x"], ["--hex", "0"]):
        assert run("search", searched.pid, *words).status == statuses.USAGE
    assert run("search", searched.pid, "x", "--in", "0x1+5", "--perms", "r").status == (
        statuses.USAGE
    )


def test_the_call_is_shown_as_curl(searched: Target) -> None:
    ran = run("search", searched.pid, "x", "--limit", 3, "--curl")
    assert "/search" in ran.lines[0]
    assert '"limit": 3' in ran.lines[0]
