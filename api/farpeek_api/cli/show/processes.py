"""Processes as rows of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farpeek_api.cli.show.sizes import size
from farpeek_api.cli.show.table import Cell, Column
from farpeek_api.cli.show.terminal import Style

if TYPE_CHECKING:
    from farpeek_api.client import Process

COLUMNS: Final = (
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


def row(process: Process) -> tuple[Cell, ...]:
    """Show one in these columns; those that are registered have a star."""
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
