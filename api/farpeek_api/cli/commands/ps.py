"""`farpeek ps`: the processes that the service can see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farpeek_api.cli import curl, parsers, statuses
from farpeek_api.cli.errors import NoSuchTargetWord, WrongWord
from farpeek_api.cli.show import processes
from farpeek_api.cli.show.table import table
from farpeek_api.cli.words import pattern
from farpeek_api.cli.words.nearest import did_you_mean
from farpeek_api.cli.words.target import match
from farpeek_api.client import calls

if TYPE_CHECKING:
    import argparse

    from farpeek_api.cli.session import Session
    from farpeek_api.cli.words.target import Match


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    pattern.argument(parser)
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
    found = every if word is None or by else [each for each in every if pattern.fits(word, each)]
    if not found and word is not None:
        names = [each.comm for each in every]
        raise NoSuchTargetWord(f"no process fits {word!r}{did_you_mean(word, names)}")
    if session.chosen.json:
        session.json({"processes": [each.members for each in found]})
    else:
        rows = map(processes.row, sorted(found, key=lambda process: process.pid))
        session.terminal.lines(table(session.terminal, processes.COLUMNS, rows))
    return statuses.DONE
