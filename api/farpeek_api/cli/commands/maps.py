"""`farpeek maps`: the mappings of a target, as a table."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from farpeek_api.cli import curl, parsers, statuses
from farpeek_api.cli.errors import CommandError
from farpeek_api.cli.mapped import names
from farpeek_api.cli.show.kinds import kind_of
from farpeek_api.cli.show.sizes import size
from farpeek_api.cli.show.table import Cell, Column, table
from farpeek_api.cli.words.amounts import amount
from farpeek_api.cli.words.nearest import did_you_mean
from farpeek_api.client import calls

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from farpeek_api.cli.session import Session
    from farpeek_api.cli.show.terminal import BarSigns
    from farpeek_api.client import MappedRegion

_COLUMNS: Final = (
    Column("start", right=True),
    Column("end", 2, right=True),
    Column("perms"),
    Column("size", 1, right=True),
    Column("resident", 3),
    Column("offset", 5, right=True),
    Column("kind", 4),
    Column("path", least=12, cut_left=True),
)
_BAR: Final = 8
_MOST_NEIGHBOURS: Final = 65_536


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parsers.target(parser)
    parser.add_argument(
        "filter",
        metavar="FILTER",
        nargs="?",
        help="an address, a kind (stack, heap, code, ...), or a part of a name (or a shell glob)",
    )
    parser.add_argument("-w", "--writable", action="store_true", help="writable ones alone")
    parser.add_argument("-x", "--executable", action="store_true", help="executable ones alone")
    neighbours = parsers.whole(0, _MOST_NEIGHBOURS)
    parser.add_argument(
        "-A", "--after", metavar="N", type=neighbours, default=0, help="and N behind each"
    )
    parser.add_argument(
        "-B", "--before", metavar="N", type=neighbours, default=0, help="and N before each"
    )
    parsers.common(parser)


def run(session: Session) -> int:
    """List the mappings that fit."""
    chosen = session.chosen
    target = session.target()
    if chosen.curl:
        session.curl(curl.first_request(calls.maps(target.id, {"residency": True})))
        return statuses.DONE
    mappings = target.maps(residency=True)
    shown = [mappings[number] for number in _chosen(chosen, mappings, target.info.untagged)]
    if not shown and (chosen.filter or chosen.writable or chosen.executable):
        raise CommandError(_nothing(chosen.filter, mappings))
    if chosen.json:
        session.json({"mappings": [each.members for each in shown]})
        return statuses.DONE
    terminal = session.terminal
    page = target.info.page_size
    rows = [_row(each, page, terminal.bar) for each in shown]
    terminal.lines(table(terminal, _COLUMNS, rows))
    return statuses.DONE


def _chosen(
    chosen: argparse.Namespace,
    mappings: Sequence[MappedRegion],
    untagged: Callable[[int], int],
) -> list[int]:
    """Choose mappings, by their numbers: those that fit, and their neighbours."""
    found: set[int] = set()
    for number, each in enumerate(mappings):
        writable = not chosen.writable or each.perms[1] == "w"
        executable = not chosen.executable or each.perms[2] == "x"
        named = chosen.filter is None or _fits(chosen.filter, each, untagged)
        if writable and executable and named:
            found.update(range(number - chosen.before, number + chosen.after + 1))
    return [number for number in range(len(mappings)) if number in found]


def _fits(word: str, mapping: MappedRegion, untagged: Callable[[int], int]) -> bool:
    address = amount(word)
    if address is not None:
        return mapping.start <= untagged(address) < mapping.end
    if word == kind_of(mapping):
        return True
    path = mapping.path or ""
    if "*" in word or "?" in word:
        return any(fnmatchcase(name, word) for name in names(mapping))
    return word in path


def _nothing(word: str | None, mappings: Sequence[MappedRegion]) -> str:
    if word is None:
        return "no mapping is like that"
    if amount(word) is not None:
        return f"nothing is mapped at {word}, or not like that"
    known = [name for each in mappings for name in (*names(each), kind_of(each))]
    return f"no mapping fits {word!r}{did_you_mean(word, known)}"


def _row(mapping: MappedRegion, page: int, signs: BarSigns) -> tuple[Cell, ...]:
    style = kind_of(mapping).style
    return (
        Cell(f"{mapping.start:#x}", style),
        Cell(f"{mapping.end:#x}", style),
        Cell(mapping.perms),
        Cell(size(mapping.length)),
        Cell(_bar(mapping, page, signs)),
        Cell(f"{mapping.offset:x}" if mapping.path else ""),
        Cell(kind_of(mapping), style),
        Cell(mapping.path or "", style),
    )


def _bar(mapping: MappedRegion, page: int, signs: BarSigns) -> str:
    """Draw how much is in memory, and how much is swapped out; nothing where nobody can tell."""
    if mapping.resident_pages is None:
        return ""
    pages = max(1, mapping.length // page)
    resident = _eighths(mapping.resident_pages, pages)
    swapped = min(_eighths(mapping.swapped_pages or 0, pages), _BAR - resident)
    empty = _BAR - resident - swapped
    return signs.full * resident + signs.half * swapped + signs.empty * empty


def _eighths(pages: int, of: int) -> int:
    """Round so that only nothing is drawn as nothing, and only all as all."""
    return min(-(-pages * _BAR // of), _BAR if pages >= of else _BAR - 1)
