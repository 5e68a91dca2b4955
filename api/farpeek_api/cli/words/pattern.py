"""PATTERN: which of the processes are listed."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from farpeek_api.client import Process


def argument(parser: argparse.ArgumentParser) -> None:
    """Add it."""
    parser.add_argument(
        "pattern",
        metavar="PATTERN",
        nargs="?",
        help="a part of the name or of the path (or a shell glob), or comm=NAME, exe=*/NAME, "
        "uid=N, container=ID*, cgroup=PATH; registered processes have a *",
    )


def fits(word: str, process: Process) -> bool:
    """Whether a process has a part of a name, or a glob."""
    exe = process.exe or ""
    if "*" in word or "?" in word:
        names = (process.comm, exe, exe.rpartition("/")[2])
        return any(fnmatchcase(name, word) for name in names)
    return word in process.comm or word in exe or word == str(process.pid)
