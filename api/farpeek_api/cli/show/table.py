"""Tables as wide as the terminal: columns that matter less go first, texts are cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from farpeek_api.cli.show.escape import cut, cut_left, safe, width
from farpeek_api.cli.show.terminal import Style

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from farpeek_api.cli.show.terminal import Terminal

_GAP: Final = "  "


@dataclass(frozen=True, slots=True)
class Column:
    """``least`` columns of a terminal are what it can be cut down to; None: it is never cut.

    ``rank`` says which go first where there is no room: the highest; rank 0 stays.
    """

    title: str
    rank: int = 0
    least: int | None = None
    right: bool = False
    cut_left: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """Text that anybody may have chosen, and its style."""

    text: str
    style: str = Style.PLAIN


def table(
    terminal: Terminal, columns: Sequence[Column], rows: Iterable[Sequence[Cell]]
) -> Iterator[str]:
    """Give the lines of a table, the titles first; nothing where there are no rows."""
    cells = [[(safe(cell.text), cell.style) for cell in row] for row in rows]
    if not cells:
        return
    wanted = [
        max(width(column.title), *(width(row[number][0]) for row in cells))
        for number, column in enumerate(columns)
    ]
    widths = _fit(columns, wanted, terminal.width)
    titles = [(column.title.upper(), str(Style.HEAD)) for column in columns]
    for row in [titles, *cells]:
        shown = [
            _cell(terminal, columns[number], *row[number], room) for number, room in widths.items()
        ]
        yield _GAP.join(shown).rstrip(" ")


def _fit(columns: Sequence[Column], wanted: Sequence[int], room: int | None) -> dict[int, int]:
    """Choose columns, by their numbers, and how wide each is."""
    shown = list(range(len(columns)))
    if room is None:
        return {number: wanted[number] for number in shown}

    def least(number: int) -> int:
        limit = columns[number].least
        return wanted[number] if limit is None else min(limit, wanted[number])

    while sum(map(least, shown)) + len(_GAP) * (len(shown) - 1) > room:
        first = max(shown, key=lambda number: columns[number].rank)
        if not columns[first].rank:
            break
        shown.remove(first)
    left = room - sum(map(least, shown)) - len(_GAP) * (len(shown) - 1)
    widths: dict[int, int] = {}
    for number in shown:
        more = max(0, min(left, wanted[number] - least(number)))
        widths[number] = least(number) + more
        left -= more
    return widths


def _cell(terminal: Terminal, column: Column, text: str, style: str, room: int) -> str:
    text = cut_left(text, room) if column.cut_left else cut(text, room)
    space = " " * (room - width(text))
    painted = terminal.paint(text, style)
    return space + painted if column.right else painted + space
