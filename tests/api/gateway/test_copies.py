"""Copies of a target's files, and lldb with them."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from farpeek_api.client import Client
from farpeek_api.gateway import copies
from farpeek_api.gateway.copies import Copies
from farpeek_api.gateway.inferior import Inferior
from support.debugged import build, debugger, start
from support.targets import state_of

if TYPE_CHECKING:
    from pathlib import Path

_LIBRARY = "#include <unistd.h>\nint inner(void) { for (;;) usleep(5000); }\n"
_OTHER = "int inner(void) { return 0; }\nint a(void) { return 1; }\nint b(void) { return 2; }\n"
_PROGRAM = (
    '#include <stdio.h>\nint inner(void);\nint main(void) { puts("ready"); fflush(stdout); '
    "return inner() + 1; }\n"
)


def _compile(path: Path, text: str, *flags: str) -> None:
    source = path.with_suffix(".c")
    source.write_text(text)
    command = ["gcc", "-O1", "-g", "-o", path, source, *flags]
    subprocess.run(command, check=True, capture_output=True)


@pytest.mark.skipif(shutil.which("lldb") is None, reason="lldb is not installed")
def test_lldb_has_the_targets_files_not_those_of_the_same_names_here(folder: Path) -> None:
    away, made = folder / "away", folder / "made"
    away.mkdir()
    made.mkdir()
    _compile(made / "libinner.so", _LIBRARY, "-shared", "-fPIC")
    _compile(made / "program", _PROGRAM, f"-L{made}", "-linner", f"-Wl,-rpath,{away}")
    _compile(away / "libinner.so", _OTHER, "-shared", "-fPIC")
    script = f"mount -t tmpfs none {away} && cp {made}/* {away} && exec {away}/program"
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            shown = debugger("lldb", process.pid, "--", "--no-lldbinit", "-b", "-o", "bt")
            assert state_of(process.pid) in ("S", "R")
        finally:
            process.kill()
    assert re.search(r"libinner\.so`inner(\(\))? at libinner\.c:2", shown), shown
    assert re.search(r"program`main(\(\))? at program\.c:3", shown), shown


@pytest.mark.parametrize(
    "name", ["a `quit` b", "$(touch x)", "new\nline", "-", "x" * 101], ids=ascii
)
def test_a_name_that_a_command_line_could_take_amiss_is_not_the_copys(
    folder: Path, url: str, name: str
) -> None:
    program = folder / name
    shutil.copy(build("pie"), program)
    with start(program=program) as process, Client(url) as peek:
        program.unlink()
        inferior = Inferior(peek.target(process.pid), None, writable=False)
        made = Copies(inferior, folder)
    assert made.program is not None
    assert made.program.path.name == ("-" if name == "-" else "program")
    assert made.program.path.read_bytes() == build("pie").read_bytes()
    assert made.missing == 0
    assert len([each for each in made.root.rglob("*") if each.is_file()]) >= 2


@pytest.mark.parametrize(
    "name",
    ["", "libc.so.6", "/lib/../../etc/passwd", "/a\0b", "/" + "x" * 256, "/" + "x/" * 1100],
    ids=lambda name: ascii(name)[:20],
)
def test_a_library_never_lies_outside_its_folder(tmp_path: Path, name: str) -> None:
    assert copies.below(tmp_path, name) is None
    assert copies.below(tmp_path, "/lib/libc.so.6") == tmp_path / "lib/libc.so.6"


def test_what_is_copied_has_an_end(folder: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    size = build("pie").stat().st_size
    monkeypatch.setattr(copies, "MOST_BYTES", size)
    with start() as process, Client(url) as peek:
        made = Copies(Inferior(peek.target(process.pid), None, writable=False), folder)
    assert made.program is not None
    assert made.missing >= 2
    assert not [each for each in made.root.rglob("*") if each.is_file()]
