"""Pointers with a tag in their highest byte: named as what is there, and shown as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farpeek_api.cli import statuses
from farpeek_api.client import Client
from support import tagged
from support.commands import run
from support.targets import start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.targets import Target
    from support.wire import Served

TAG = 0x5A << 56


@pytest.fixture(scope="module")
def ignoring_tags() -> Iterator[Served]:
    with tagged.service() as started:
        yield started


@pytest.fixture(scope="module")
def pointers() -> Iterator[Target]:
    with start("pointers") as target:
        yield target


@pytest.fixture
def there(ignoring_tags: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARPEEK_URL", f"unix:{ignoring_tags.path}")


@pytest.mark.usefixtures("there")
def test_a_telescope_names_what_a_pointer_leads_to_without_its_tag(pointers: Target) -> None:
    twice, code, loop = run("telescope", pointers.pid, "tagged", "-n", 3).lines
    text = pointers["text"]
    assert f'(pointers:to_text) -> {text:#x} (pointers:text) -> "a text' in twice
    assert "(pointers:main) -> 0x" in code
    assert f": {pointers['tagged'] + 16 | 0x80 << 56:#x} (pointers:tagged+0x10) -> [loop]" in loop


@pytest.mark.usefixtures("there")
def test_a_telescope_from_such_an_address_on_shows_it_as_it_was_written(pointers: Target) -> None:
    where = pointers["chains"] | TAG
    first, *_ = run("telescope", pointers.pid, hex(where), "-n", 1).lines
    assert first.startswith(f"{where:#x} + 0x000: {pointers['text']:#x} (pointers:text) -> ")


@pytest.mark.usefixtures("there")
def test_what_tells_of_it_what_is_there(pointers: Target) -> None:
    head, *lines = run("what", pointers.pid, hex(pointers["text"] + 3 | TAG)).lines
    assert head == hex(pointers["text"] + 3 | TAG)
    assert lines[0].split() == ["symbol", "pointers:text+0x3"]
    plain = run("what", pointers.pid, hex(pointers["text"] + 3)).lines
    assert lines == plain[1:]
    through = run("what", pointers.pid, "*tagged", "--json").json
    assert int(through["address"], 16) >> 56 == 0x5A
    assert through["symbol"] == "pointers:to_text"


@pytest.mark.usefixtures("there")
def test_maps_finds_the_mapping_that_holds_it(pointers: Target) -> None:
    plain, of_a_tag = (
        run("maps", pointers.pid, hex(address), "--json").json
        for address in (pointers["text"], pointers["text"] | TAG)
    )
    assert len(plain["mappings"]) == 1
    assert of_a_tag == plain


@pytest.mark.usefixtures("there")
def test_what_is_not_mapped_is_told_as_it_was_written(pointers: Target) -> None:
    ran = run("what", pointers.pid, hex(TAG | 0x1000))
    assert ran.status == statuses.INCOMPLETE
    assert f"nothing is mapped at {TAG | 0x1000:#x}: it is before 0x" in ran.error


def test_a_target_tells_how_many_bits_of_an_address_count(
    ignoring_tags: Served, pointers: Target
) -> None:
    with Client(f"unix:{ignoring_tags.path}") as client:
        info = client.target(pointers.pid).info
    assert info.address_bits == 56
    assert info.untagged(0x80 << 56 | 0x7F00) == 0x7F00
    assert info.untagged(0xFFFF << 48) == 0xFFFF << 48


@pytest.mark.skipif(tagged.IGNORED_HERE, reason="the processor ignores the tag")
def test_elsewhere_such_a_pointer_leads_nowhere(pointers: Target) -> None:
    line, *_ = run("telescope", pointers.pid, "tagged", "-n", 1).lines
    assert line.split(": ")[1].startswith("0x5a")
    assert "(" not in line
