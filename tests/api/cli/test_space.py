"""ADDRESS expressions on a real process."""

from __future__ import annotations

import mmap
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek_api.cli import statuses
from support.commands import run
from support.maps import mapping_named
from support.targets import Target, build, start

if TYPE_CHECKING:
    from collections.abc import Iterator


def _address(pid: int, word: str) -> int:
    ran = run("what", pid, word, "--json")
    assert ran.status == statuses.DONE, ran.error
    return int(ran.json["address"], 16)


@pytest.fixture(scope="module")
def pointers() -> Iterator[Target]:
    with start("pointers") as target:
        yield target


def test_names_of_files_and_of_the_kernel_are_addresses(pointers: Target) -> None:
    pid = pointers.pid
    path = str(build("pointers"))
    base = mapping_named(pid, path)
    for word in ("pointers", path, "pointers+0x10-0x10", f"({path}+4)-4"):
        assert _address(pid, word) == base
    for word in ("[heap]", "[stack]", "[vdso]"):
        assert _address(pid, f"{word}+0x8") == mapping_named(pid, word) + 8


def test_pointers_are_followed_and_prefixes_bind_first(pointers: Target) -> None:
    pid, text = pointers.pid, pointers["text"]
    assert _address(pid, "*chains") == text
    assert _address(pid, "*chains+2") == text + 2
    assert _address(pid, "*(chains+8)") == pointers["chains"] + 8
    assert _address(pid, "**(chains+16)") == text
    assert run("read", pid, "*chains", "--type", "cstring").text.startswith("a text that is")


def test_a_pointer_that_cannot_be_read_is_status_3(pointers: Target) -> None:
    ran = run("read", pointers.pid, "*0x10", 8)
    assert ran.status == statuses.INCOMPLETE
    assert "0x10 are unmapped" in ran.error


@pytest.mark.parametrize("name", ["lib-a-2", "7z", "a b+c", "gone"])
def test_odd_names_of_files_are_names(name: str, tmp_path: Path) -> None:
    program = tmp_path / name
    shutil.copy(build("plain"), program)
    with Target("plain", program=program) as target:
        base = mapping_named(target.pid, str(program))
        if name == "gone":
            program.unlink()
        assert _address(target.pid, f"{name}+0x4") == base + 4
        assert _address(target.pid, f"{program}-0x0") == base


def test_a_name_of_several_files_wants_the_path(tmp_path: Path) -> None:
    pid = os.getpid()
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    path = next(line.split()[-1] for line in maps if line.endswith("/libc.so.6"))
    other = Path(shutil.copy(path, tmp_path))
    with other.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ):
        ran = run("what", pid, "libc.so.6")
        assert ran.status == statuses.USAGE
        assert "write the whole path" in ran.error
        assert str(other) in ran.error
        assert _address(pid, str(other)) == mapping_named(pid, str(other))
