"""`farpeek fleet ps`: the processes of many nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farpeek_api.cli import statuses
from farpeek_api.cli.fleet import asking
from farpeek_api.cli.show import processes
from farpeek_api.cli.show.table import Cell, Column, table
from farpeek_api.cli.show.terminal import Style
from farpeek_api.cli.words import pattern

if TYPE_CHECKING:
    import argparse

    from farpeek_api.cli.fleet.asking import FleetSession
    from farpeek_api.client import Process

_COLUMNS: Final = (Column("node", least=8), *processes.COLUMNS)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what it takes."""
    pattern.argument(parser)
    asking.arguments(parser)


def run(chosen: argparse.Namespace) -> int:
    """List the processes that fit."""
    return asking.run("ps", chosen, _list)


def _list(session: FleetSession) -> int:
    word: str | None = session.chosen.pattern
    by = word if word is not None and "=" in word else None
    found: list[tuple[str, Process]] = []
    for each in session.processes(by):
        listed = each.value or ()
        found += [
            (each.node, one) for one in listed if word is None or by or pattern.fits(word, one)
        ]
    found.sort(key=lambda pair: (pair[0], pair[1].pid))
    if session.chosen.json:
        shown = [{"node": node, **process.members} for node, process in found]
        session.json({"processes": shown, **session.told})
    else:
        session.terminal.lines(table(session.terminal, _COLUMNS, map(_row, found)))
    if not found and word is not None and session.answered:
        session.complain(f"no process fits {word!r}")
        return session.finish(statuses.NO_TARGET)
    return session.finish()


def _row(pair: tuple[str, Process]) -> tuple[Cell, ...]:
    node, process = pair
    return (Cell(node, Style.HEAD), *processes.row(process))
