"""`farpeek what` and `farpeek telescope`: places, symbols, pointers that lead on."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from farpeek_api.cli import statuses
from support.commands import run, screen
from support.targets import start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.targets import Target


@pytest.fixture(scope="module")
def pointers() -> Iterator[Target]:
    with start("pointers") as target:
        yield target


def _fields(*words: object) -> dict[str, str]:
    lines = run("what", *words).lines
    return {line[:11].strip(): line[11:].strip() for line in lines[1:]}


def test_what_tells_mapping_file_build_id_page_and_symbol(pointers: Target) -> None:
    found = _fields(pointers.pid, "main+1")
    assert found["symbol"] == "pointers:main+0x1"
    assert found["mapping"].endswith("code")
    path, _, offset = found["file"].partition(" + ")
    assert path.endswith("/bin/pointers")
    notes = subprocess.run(["readelf", "-n", path], check=True, capture_output=True, text=True)
    assert found["build id"] in notes.stdout
    symbols = subprocess.run(["nm", path], check=True, capture_output=True, text=True).stdout
    (address,) = [line.split()[0] for line in symbols.splitlines() if line.endswith(" main")]
    assert int(offset, 16) == int(address, 16) + 1
    assert found["page"] == "resident"


def test_what_tells_of_a_place_without_a_name(pointers: Target) -> None:
    found = _fields(pointers.pid, hex(pointers["closed"] + 5))
    assert "symbol" not in found
    assert found["page"].startswith("no_access")
    shown = run("what", pointers.pid, hex(pointers["closed"]), "--json").json
    assert (shown["page"], shown["kind"], shown["symbol"]) == ("no_access", "closed", None)
    stack = _fields(pointers.pid, "[stack]+16")
    assert stack["name"] == "[stack] + 0x10"


def test_what_tells_between_what_an_unmapped_address_is(pointers: Target) -> None:
    ran = run("what", pointers.pid, "0x1000")
    assert ran.status == statuses.INCOMPLETE
    assert "nothing is mapped at 0x1000: it is before 0x" in ran.error


def test_pointers_are_followed_to_their_end(pointers: Target) -> None:
    ran = run("telescope", pointers.pid, "chains", "-n", 7)
    assert ran.status == statuses.DONE
    start_at, text = pointers["chains"], pointers["text"]
    first, loop, twice, code, number, closed, hostile = ran.lines
    assert first.startswith(f"{start_at:#x} + 0x000: {text:#x} (pointers:text) -> ")
    assert first.endswith('"a text that is long enough to be cut somewhere behind its sixty-..."')
    assert f"+ 0x008: {start_at + 8:#x} (pointers:chains+0x8) -> [loop]" in loop
    assert f'(pointers:to_text) -> {text:#x} (pointers:text) -> "a text' in twice
    assert "(pointers:main) -> 0x" in code
    assert number.endswith("+ 0x020: 0x10")
    assert closed.endswith(f"{pointers['closed']:#x} -> [no_access (mapped, but closed to reads)]")
    assert "(pointers:hostile) -> 0x" in hostile  # with an escape in it, it is no text


def test_pointers_of_a_gap_are_status_3(pointers: Target) -> None:
    ran = run("telescope", pointers.pid, hex(pointers["closed"]), "-n", 2)
    assert ran.status == statuses.INCOMPLETE
    assert all("no_access" in line for line in ran.lines)


def test_a_chain_is_json(pointers: Target) -> None:
    chains = run("telescope", pointers.pid, "chains", "-n", 3, "--json").json["chains"]
    assert [link["name"] for link in chains[2]["links"]] == ["pointers:to_text", "pointers:text"]
    assert chains[2]["text"].startswith("a text")
    assert chains[1]["end"] == "loop"


def test_a_telescope_has_the_colours_of_mappings(pointers: Target) -> None:
    shown = screen("telescope", pointers.pid, "chains", columns=160)
    assert shown.status == statuses.DONE
    assert shown.colour(f"{pointers['text']:#x}") == "magenta"


def test_pasted_curl_commands_answer(pointers: Target) -> None:
    for words in (["what", pointers.pid, "main"], ["telescope", pointers.pid, "chains"]):
        shown = run(*words, "--curl").text
        for line in shown.splitlines():
            done = subprocess.run(["sh", "-c", line], check=True, capture_output=True)
            assert {"mappings", "data"} & json.loads(done.stdout).keys()


@pytest.mark.parametrize("command", ["what", "telescope"])
def test_wrong_words_are_told(command: str, pointers: Target) -> None:
    ran = run(command, pointers.pid, "mainn")
    assert ran.status == statuses.USAGE
    assert "did you mean main?" in ran.error
    assert run(command, pointers.pid).status == statuses.USAGE
    assert run("telescope", pointers.pid, "0xfffffffffffffff0").status == statuses.USAGE
