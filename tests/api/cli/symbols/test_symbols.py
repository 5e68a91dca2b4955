"""Symbols of real processes, by memory and by file; and what hostile ELF files cannot do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farpeek_api.cli import statuses
from farpeek_api.cli.symbols import dynamic, elf, files
from farpeek_api.client import MappedRegion
from support.commands import run
from support.ending import end_process
from support.targets import Target, build, start, start_32_bits

if TYPE_CHECKING:
    from farpeek_api.cli.symbols.table import Table


def _address(pid: int, word: str) -> int:
    ran = run("what", pid, word, "--json")
    assert ran.status == statuses.DONE, ran.error
    return int(ran.json["address"], 16)


def test_names_of_a_file_of_its_own_are_found_by_its_symtab() -> None:
    with start("pointers") as target:
        for name in ("counter", "shown", "chains", "pointers:counter"):
            assert _address(target.pid, name) == target[name.removeprefix("pointers:")]


def test_a_name_of_the_programs_own_comes_before_one_of_a_library() -> None:
    name = "obstack_exit_failure"
    with start("pointers") as target:
        assert _address(target.pid, name) == target[name]
        assert _address(target.pid, f"libc.so.6:{name}") != target[name]


_PYTHON = """
import ctypes, sys
here = ctypes.CDLL(None)
for name in ("malloc", "environ", "qsort", "Py_GetVersion", "PyLong_Type", "pthread_cond_wait"):
    print(name, ctypes.cast(getattr(here, name), ctypes.c_void_p).value, flush=True)
print(flush=True)
sys.stdin.read()
"""


def test_exported_names_are_found_in_memory_as_the_linker_finds_them() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _PYTHON], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        found = dict(line.split() for line in iter(process.stdout.readline, "\n"))
        for name, value in found.items():
            assert _address(process.pid, name) == int(value), name
        where = run("what", process.pid, found["malloc"], "--json").json["symbol"]
        assert where.startswith("libc.so.6:")
    finally:
        end_process(process)


@pytest.mark.parametrize("program", ["perl", "node"])
def test_programs_from_debian_have_symbols(program: str) -> None:
    if (path := shutil.which(program)) is None:
        pytest.skip(f"there is no {program} here")
    code = {"perl": "sleep 1000", "node": "setInterval(() => {}, 1000)"}[program]
    process = subprocess.Popen([path, "-e", code])
    try:
        with_libc = run("what", process.pid, "libc.so.6:environ", "--json")
        assert with_libc.json["symbol"].startswith("libc.so.6:")
        assert run("telescope", process.pid, "environ", "-n", 2).status == statuses.DONE
        assert run("read", process.pid, "[stack]", 64).status == statuses.DONE
        assert run("maps", process.pid, "code").status == statuses.DONE
    finally:
        end_process(process)


def test_a_stripped_program_has_what_it_exports(tmp_path: Path) -> None:
    program = tmp_path / "stripped"
    subprocess.run(["strip", "-o", program, build("pointers")], check=True)
    with Target("pointers", program=program) as target:
        assert _address(target.pid, "libc.so.6:environ")
        ran = run("what", target.pid, "counter")
        assert ran.status == statuses.USAGE
        assert "nothing in the target is called 'counter'" in ran.error


def test_a_file_that_was_replaced_is_not_believed(tmp_path: Path) -> None:
    program = tmp_path / "program"
    shutil.copy(build("pointers"), program)
    with Target("pointers", program=program) as target:
        program.unlink()
        shutil.copy(build("plain"), program)
        # Root has the mapped file itself; whatever is at its path now is another one.
        assert _address(target.pid, "counter") == target["counter"]


def test_a_static_program_of_32_bits_has_symbols() -> None:
    with start_32_bits() as target:
        symbol = run("what", target.pid, "_start", "--json").json["symbol"]
        assert symbol == "compat:_start"


def test_a_name_that_several_files_have_wants_a_file() -> None:
    with start("pointers") as target:
        ran = run("what", target.pid, "_fini", "--json")
        assert ran.status in (statuses.DONE, statuses.USAGE)
        assert ran.json if not ran.error else "say which one you mean" in ran.error
        assert run("what", target.pid, "pointers:_fini").status == statuses.DONE
        ran = run("what", target.pid, "pointers:countr")
        assert "pointers has no symbol 'countr': did you mean counter?" in ran.error


@pytest.fixture(scope="module")
def image() -> bytearray:
    """Lay a file out as if it were mapped: large enough, and small enough to be changed often."""
    data = bytearray(build("pointers").read_bytes())
    header = elf.Header(bytes(data[:64]))
    at, length = header.segments
    memory = bytearray(1 << 16)
    for each in header.parse_segments(bytes(data[at : at + length])):
        if each.kind == elf.PT_LOAD:
            part = data[each.offset : each.offset + each.file_size]
            memory[each.address : each.address + len(part)] = part
    return memory


def _read(memory: bytes, base: int) -> Table:
    reading = dynamic.read(base, base + len(memory))
    asked = next(reading)
    for _ in range(10_000):
        assert sum(length for _, length in asked) <= 200 << 20
        answers = [
            memory[address - base : address - base + length] if address >= base else b""
            for address, length in asked
        ]
        try:
            asked = reading.send(answers)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
    raise AssertionError("it goes on without an end")


def test_a_table_is_read_where_nobody_relocated_it(image: bytearray) -> None:
    table = _read(bytes(image), 0x10000)
    assert isinstance(table.by_name, dict)


@settings(max_examples=300)
@given(st.data())
def test_whatever_the_memory_says_reading_ends_within_its_limits(
    image: bytearray, data: st.DataObject
) -> None:
    changed = bytearray(image)
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(4, 0x400) | st.integers(4, len(changed) - 9))
        value = data.draw(st.binary(min_size=1, max_size=8) | st.just(b"\xff" * 8))
        changed[place : place + len(value)] = value
    try:
        table = _read(bytes(changed), 0x10000)
    except elf.NoElf:
        return
    assert len(table.by_name) <= elf.MOST_SYMBOLS
    table.at(0x10100)


def _mapping(path: Path, build_id: str | None = None) -> MappedRegion:
    """Return a mapping of a file that nobody has mapped."""
    found = path.stat()
    device = f"{os.major(found.st_dev):x}:{os.minor(found.st_dev):x}"
    members = {"device": device, "inode": found.st_ino}
    return MappedRegion(0x10000, 0x20000, "r--p", 0, str(path), build_id, None, None, members)


def test_a_file_is_believed_by_its_build_id_or_else_by_its_inode(tmp_path: Path) -> None:
    path = Path(shutil.copy(build("pointers"), tmp_path))
    notes = subprocess.run(["readelf", "-n", path], check=True, capture_output=True, text=True)
    build_id = notes.stdout.partition("Build ID: ")[2].split()[0]
    for known in (None, build_id):
        table = files.read(os.getpid(), _mapping(path, known))
        assert table is not None
        assert "counter" in table.by_name
    assert files.read(os.getpid(), _mapping(path, "0" * 40)) is None
    mapping = _mapping(path)
    shutil.copy(path, tmp_path / "other")
    (tmp_path / "other").rename(path)
    assert files.read(os.getpid(), mapping) is None


def test_what_is_no_file_is_neither_waited_for_nor_read(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    for odd in (path, Path("/dev/zero"), tmp_path):
        assert files.read(os.getpid(), _mapping(odd)) is None


@settings(max_examples=150)
@given(st.data())
def test_whatever_a_file_says_reading_it_ends(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    changed = bytearray(build("pointers").read_bytes())
    places = st.integers(4, 0x400) | st.integers(len(changed) - 0x800, len(changed) - 9)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(places | st.integers(4, len(changed) - 9))
        value = data.draw(st.binary(min_size=1, max_size=8) | st.just(b"\xff" * 8))
        changed[place : place + len(value)] = value
    path = tmp_path_factory.getbasetemp() / "changed"
    path.write_bytes(changed)
    table = files.read(os.getpid(), _mapping(path))
    if table is not None:
        assert len(table.by_name) <= elf.MOST_SYMBOLS
        table.at(0x10100)
