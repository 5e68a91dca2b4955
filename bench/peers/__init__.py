"""Other ways to read another process's memory, each started by the bench itself."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from bench.framework import Skipped
from bench.peers import remote_serial
from bench.processes import HERE, Process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.peers.reader import Work

_PYTHON = HERE.parent / "build" / "peers" / "bin" / "python"
LIBRARIES = ("drgn", "frida")


@contextmanager
def library(name: str, work: Work) -> Iterator[Process]:
    """Start a process that reads with this library."""
    library_version(name)
    try:
        process = Process([_PYTHON, "-m", f"bench.peers.{name}_reader", *work], "ready")
    except EOFError:
        raise Skipped(f"{name} cannot read a process here") from None
    with process:
        yield process


@cache
def library_version(name: str) -> str:
    """Tell which version of it was installed."""
    program = f"import {name}, importlib.metadata; print(importlib.metadata.version({name!r}))"
    try:
        said = subprocess.check_output([_PYTHON, "-c", program], stderr=subprocess.PIPE, text=True)
    except (OSError, subprocess.CalledProcessError):
        raise Skipped(
            f"{name} is not installed, and could not be: `make bench-peers` says why"
        ) from None
    return said.strip()


def versions() -> str:
    """Name all peers that are there."""
    named: list[str] = []
    for dialect in (remote_serial.GDB, remote_serial.LLDB):
        try:
            named.append(f"{dialect.name} {remote_serial.version(dialect)}")
        except Skipped:
            named.append(f"no {dialect.name}")
    for name in LIBRARIES:
        try:
            named.append(f"{name} {library_version(name)}")
        except Skipped:
            named.append(f"no {name}")
    return ", ".join(named)
