"""`farpeek info`: what the service is, can do here, and how it is doing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from farpeek_api.cli import curl, parsers, statuses
from farpeek_api.cli.show.table import Cell, Column, table
from farpeek_api.cli.show.terminal import Style
from farpeek_api.client import calls
from farpeek_api.client.members import mapping

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from farpeek_api.cli.session import Session

_CAPABILITIES: Final = (
    Column("capability"),
    Column("provided"),
    Column("technique", 1, least=16),
    Column("detail", 2, least=16),
)
_STYLES: Final = {"native": Style.GOOD, "unavailable": Style.BAD}
_VALUES: Final = (Column("of the service", least=20), Column("", least=12))


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parsers.common(parser)


def run(session: Session) -> int:
    """Show what the service says of itself."""
    if session.chosen.curl:
        session.curl(curl.first_request(calls.info()))
        return statuses.DONE
    found = dict(session.peek.info())
    if session.chosen.json:
        session.json(found)
        return statuses.DONE
    terminal = session.terminal
    capabilities = mapping(found.pop("capabilities", None)) or {}
    values = [(Cell(name, Style.HEAD), Cell(value)) for name, value in _flat("", found)]
    terminal.lines(table(terminal, _VALUES, values))
    terminal.line()
    rows = [_row(name, mapping(value) or {}) for name, value in capabilities.items()]
    terminal.lines(table(terminal, _CAPABILITIES, rows))
    return statuses.DONE


def _flat(prefix: str, value: object) -> Iterator[tuple[str, str]]:
    """Give whatever a service says as lines; members that are not known here are shown, too."""
    inner = mapping(value)
    if inner:
        for name, each in inner.items():
            yield from _flat(f"{prefix} {name}".strip(), each)
    elif isinstance(value, list):
        yield prefix, ", ".join(map(str, cast("list[object]", value))) or "-"
    elif inner is None:
        yield prefix, "-" if value is None else str(value)


def _row(name: str, shown: Mapping[str, object]) -> tuple[Cell, ...]:
    provided = str(shown.get("provided"))
    return (
        Cell(name, Style.HEAD),
        Cell(provided, _STYLES.get(provided, Style.PLAIN)),
        Cell(str(shown.get("technique") or "")),
        Cell(str(shown.get("detail") or "")),
    )
