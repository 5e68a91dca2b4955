"""The program that debuggers look at, as they are built: and what a debugger says of it."""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from support.targets import BINARIES, SOURCES, Target
from support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VARIANTS: Final[Mapping[str, tuple[str, ...]]] = {
    "pie": ("-pie", "-fPIE"),
    "plain": ("-no-pie", "-fno-pie"),
    "static": ("-static",),
    "static-pie": ("-static-pie", "-fPIE"),
}
DEBUGGER_S: Final = 10 * PATIENCE_S


def build(variant: str) -> Path:
    """Compile it with -O2 and symbols, if it is newer than its program."""
    source, program = SOURCES / "debugged.c", BINARIES / f"debugged-{variant}"
    BINARIES.mkdir(exist_ok=True)
    with (BINARIES / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
            flags = ("-O2", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", *VARIANTS[variant])
            command = ["gcc", *flags, "-o", str(program), str(source)]
            subprocess.run(command, check=True, capture_output=True)
    return program


def start(variant: str = "pie", *arguments: object, program: Path | None = None) -> Target:
    """Start it; use the answer in a ``with``. ``program`` is a copy to run instead."""
    return Target("debugged", *arguments, program=program or build(variant))


def debugger(name: str, *words: object) -> str:
    """Run a command of farpeek's for debuggers as a user would; all that it shows."""
    command = [sys.executable, "-m", "farpeek_api", name, *map(str, words)]
    return _output(name, command)


def by_ptrace(pid: int, *commands: str) -> str:
    """Let gdb attach to a process by ptrace, and carry out commands."""
    words = [word for each in commands for word in ("-ex", each)]
    return _output("gdb", ["gdb", "-nx", "-batch", "-p", str(pid), *words])


def _output(program: str, command: list[str]) -> str:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    ran = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=DEBUGGER_S,
        check=False,
    )
    text = ran.stdout.decode(errors="replace")
    assert ran.returncode == 0, text
    return text


def frames(text: str) -> list[tuple[str, str]]:
    """Find function and line of each frame that gdb shows with a line."""
    joined = re.sub(r"\n\s{4,}", " ", text)
    found = re.findall(
        r"^#\d+ +(?:0x\w+ in )?(\S+) \(.*\) at \S*?(\w+\.\w+:\d+)$", joined, re.MULTILINE
    )
    return [(str(function), str(line)) for function, line in found]
