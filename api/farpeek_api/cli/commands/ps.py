"""`farpeek ps`: the processes that the service can see."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from farpeek_api.cli import curl, parsers, statuses
from farpeek_api.cli.errors import NoSuchTargetWord, WrongWord
from farpeek_api.cli.show.sizes import size
from farpeek_api.cli.show.table import Cell, Column, table
from farpeek_api.cli.show.terminal import Style
from farpeek_api.cli.words.nearest import did_you_mean
from farpeek_api.cli.words.target import match
from farpeek_api.client import calls

if TYPE_CHECKING:
    import argparse

    from farpeek_api.cli.session import Session
    from farpeek_api.cli.words.target import Match
    from farpeek_api.client import Process

_COLUMNS: Final = (
    Column(""),
    Column("pid", right=True),
    Column("ns pid", 2, right=True),
    Column("uid", 5, right=True),
    Column("memory", 4, right=True),
    Column("comm", least=10),
    Column("container", 3),
    Column("exe", 1, least=12, cut_left=True),
)
_SHORT: Final = 12


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument(
        "pattern",
        metavar="PATTERN",
        nargs="?",
        help="a part of the name or of the path (or a shell glob), or comm=NAME, exe=*/NAME, "
        "uid=N, container=ID*, cgroup=PATH; registered processes have a *",
    )
    parsers.common(parser)


def run(session: Session) -> int:
    """List the processes that fit."""
    word: str | None = session.chosen.pattern
    by: Match = match(word) if word is not None and "=" in word else {}
    if "ns_pid" in by:
        raise WrongWord("ns_pid= is for TARGET: `farpeek ps` lists both numbers of each process")
    if session.chosen.curl:
        session.curl(curl.first_request(calls.processes({**by})))
        return statuses.DONE
    every = session.peek.processes(
        comm=by.get("comm"),
        exe=by.get("exe"),
        uid=by.get("uid"),
        cgroup=by.get("cgroup"),
        container=by.get("container"),
    )
    found = every if word is None or by else [each for each in every if fits(word, each)]
    if not found and word is not None:
        names = [each.comm for each in every]
        raise NoSuchTargetWord(f"no process fits {word!r}{did_you_mean(word, names)}")
    if session.chosen.json:
        session.json({"processes": [each.members for each in found]})
    else:
        rows = sorted(found, key=lambda process: process.pid)
        session.terminal.lines(table(session.terminal, _COLUMNS, map(_row, rows)))
    return statuses.DONE


def fits(word: str, process: Process) -> bool:
    """Whether a process has a part of a name, or a glob."""
    exe = process.exe or ""
    if "*" in word or "?" in word:
        names = (process.comm, exe, exe.rpartition("/")[2])
        return any(fnmatchcase(name, word) for name in names)
    return word in process.comm or word in exe or word == str(process.pid)


def _row(process: Process) -> tuple[Cell, ...]:
    inner = process.ns_pids[-1] if len(process.ns_pids) > 1 else None
    return (
        Cell("*" if process.target else "", Style.GOOD),
        Cell(str(process.pid), Style.ADDRESS),
        Cell("" if inner is None else str(inner)),
        Cell(str(process.uid)),
        Cell("" if process.resident_bytes is None else size(process.resident_bytes)),
        Cell(process.comm, Style.HEAD),
        Cell((process.container or "")[:_SHORT]),
        Cell(process.exe or "", Style.FAINT),
    )
