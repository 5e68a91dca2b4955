"""`farpeek maps`: filters, neighbours, colours, residency, hostile names."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from farpeek_api.cli import statuses
from support.commands import run, screen
from support.maps import spans
from support.targets import Target, build, start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.sample import Sample


@pytest.fixture(scope="module")
def plain() -> Iterator[Target]:
    with start("plain") as target:
        yield target


def _starts(*words: object) -> list[int]:
    return [int(each["start"], 16) for each in run(*words, "--json").json["mappings"]]


def test_all_mappings_are_listed_as_the_kernel_has_them(plain: Target) -> None:
    lines = run("maps", plain.pid).lines
    assert lines[0].split() == [
        *("START", "END", "PERMS", "SIZE", "RESIDENT", "OFFSET", "KIND", "PATH"),
    ]
    assert [line.split()[:2] for line in lines[1:]] == [
        [*map(hex, each)] for each in spans(plain.pid)
    ]


def test_filters_go_by_address_kind_name_and_permissions(plain: Target) -> None:
    every = run("maps", plain.pid, "--json").json["mappings"]
    stack = next(each for each in every if each["path"] == "[stack]")
    inside = hex(int(stack["start"], 16) + 10)
    for word in ("stack", "[stack]", inside, "[sta", "*tack*"):
        assert _starts("maps", plain.pid, word) == [int(stack["start"], 16)]
    assert _starts("maps", plain.pid, "bin/plain") == _starts("maps", plain.pid, "plain")
    for option, place in (("-w", 1), ("-x", 2)):
        wanted = [
            int(each["start"], 16) for each in every if each["perms"][place] == "wx"[place - 1]
        ]
        assert _starts("maps", plain.pid, option) == wanted
    number = every.index(stack)
    around = _starts("maps", plain.pid, "[stack]", "-B", 2, "-A", 1)
    assert around == [int(each["start"], 16) for each in every[number - 2 : number + 2]]


@pytest.mark.parametrize(
    ("word", "cure"),
    [
        ("libc.so.7", "did you mean libc.so.6?"),
        ("hep", "did you mean"),
        ("0x10", "nothing is mapped"),
    ],
)
def test_a_filter_that_fits_nothing_is_told(plain: Target, word: str, cure: str) -> None:
    ran = run("maps", plain.pid, word)
    assert ran.status == statuses.FAILED
    assert cure in ran.error


def test_residency_is_a_bar() -> None:
    with start("untouched", 1) as target:
        address = next(iter(target.addresses.values()))
        (line,) = run("maps", target.pid, hex(address)).lines[1:]
        assert "·" * 7 in line


def test_kinds_have_colours_and_no_line_is_too_long(plain: Target) -> None:
    for columns in (80, 40):
        shown = screen("maps", plain.pid, columns=columns, rows=60)
        assert shown.status == statuses.DONE
        assert len(shown.lines) == len(spans(plain.pid)) + 1
    colours = {word: shown.colour(word) for word in ("[stack]", "[heap]", "libc.so.6")}
    assert colours["[stack]"] == "brown"  # as pyte calls yellow
    assert colours["[heap]"] == "blue"
    assert not screen("maps", plain.pid, environment={"NO_COLOR": "1"}, rows=60).is_coloured


def test_a_hostile_name_does_nothing_to_the_terminal(tmp_path: Path) -> None:
    program = tmp_path / "e\x1b[2J\n\u202ex\\"
    shutil.copy(build("plain"), program)
    with Target("plain", program=program) as target:
        shown = screen("maps", target.pid, "x", "-x", columns=200)
        assert r"/e\x1b[2J\x0a\u202ex\\" in shown.lines[1]
        assert b"\x1b[2J" not in shown.received
        ran = run("maps", target.pid, "--json")
        assert ran.output.isascii()
        paths = {each["path"] for each in ran.json["mappings"]}
        assert any(path.endswith("\u202ex\\") for path in paths)


def test_a_pasted_curl_command_lists_the_same(plain: Target) -> None:
    shown = run("maps", plain.pid, "--curl").text
    done = subprocess.run(["sh", "-c", shown], check=True, capture_output=True)
    assert len(json.loads(done.stdout)["mappings"]) == len(spans(plain.pid))


def test_a_filter_may_stand_behind_an_option(sample: Sample) -> None:
    before = run("maps", str(sample.pid), "stack", "-w")
    behind = run("maps", str(sample.pid), "-w", "stack")
    assert behind.status == 0
    assert "[stack]" in behind.text
    assert [line.split()[0] for line in behind.lines] == [line.split()[0] for line in before.lines]
