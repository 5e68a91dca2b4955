"""`farpeek targets`: what is held."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farpeek_api.cli import curl, parsers, statuses
from farpeek_api.cli.show.table import Cell, Column, table
from farpeek_api.cli.show.terminal import Style
from farpeek_api.client import calls

if TYPE_CHECKING:
    import argparse

    from farpeek_api.cli.session import Session
    from farpeek_api.client.results import TargetInfo

_COLUMNS = (
    Column("id"),
    Column("pid", 4, right=True),
    Column("comm", least=8),
    Column("state", 1),
    Column("container", 5),
    Column("labels", 3, least=8),
    Column("exe", 2, least=12, cut_left=True),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("--state", type=parsers.one_of("running", "exited", "reaped"))
    parser.add_argument("--label", metavar="KEY=VALUE", help="those with this label alone")
    parsers.common(parser)


def run(session: Session) -> int:
    """List the targets."""
    state, label = session.chosen.state, session.chosen.label
    if session.chosen.curl:
        session.curl(curl.first_request(calls.targets(state, label)))
        return statuses.DONE
    found = [each.info for each in session.peek.targets(state=state, label=label)]
    if session.chosen.json:
        session.json({"targets": [each.members for each in found]})
    else:
        session.terminal.lines(table(session.terminal, _COLUMNS, map(_row, found)))
    return statuses.DONE


def _row(info: TargetInfo) -> tuple[Cell, ...]:
    process = info.process
    labels = " ".join(f"{name}={value}" for name, value in info.labels.items())
    return (
        Cell(info.id, Style.ADDRESS),
        Cell(str(info.pid)),
        Cell(process.comm, Style.HEAD),
        Cell(_state(info), Style.GOOD if info.state == "running" else Style.FAINT),
        Cell((process.container or "")[:12]),
        Cell(labels),
        Cell(process.exe or ""),
    )


def _state(info: TargetInfo) -> str:
    if info.exit is None:
        return info.state
    return f"{info.state}: {info.exit.signal or info.exit.code}"
