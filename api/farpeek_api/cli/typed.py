"""Values at an address: ``farpeek read --type``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farpeek_api.cli import parsers, statuses
from farpeek_api.cli.errors import CommandError, WrongWord
from farpeek_api.cli.show.terminal import Style
from farpeek_api.cli.show.values import TYPES, Value, layout, values
from farpeek_api.cli.words.amounts import ADDRESS_LIMIT
from farpeek_api.client import IncompleteRead, calls

if TYPE_CHECKING:
    import argparse
    import struct
    from collections.abc import Sequence

    from farpeek_api.cli.session import Session
    from farpeek_api.client import Target
    from farpeek_api.client.calls import Mode

_MOST: Final = 65_536
_STRING: Final = 4096
"""Bytes of a text that --curl asks for; nobody knows how long it is."""

_LONGEST: Final = 1 << 20
"""Bytes of a text, with its NUL."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is said of values."""
    parser.add_argument(
        "--type", choices=TYPES, type=parsers.one_of(*TYPES), help="read values instead of bytes"
    )
    parser.add_argument(
        "--count",
        metavar="N",
        type=parsers.whole(1, _MOST),
        help="how many values; each has its address before it then",
    )


def check(chosen: argparse.Namespace) -> None:
    """Refuse what does not go together."""
    if chosen.type is None and chosen.count is not None:
        raise WrongWord("--count goes with --type")
    if chosen.type is not None and chosen.length is not None:
        raise WrongWord(f"{chosen.length} is one word too many: a --type has its own length")
    if chosen.type is not None and chosen.format not in (None, "json"):
        raise WrongWord(f"--format {chosen.format} is for bytes: for values there is --json")


def run(session: Session, target: Target, address: int) -> int:
    """Read values, and show them."""
    chosen = session.chosen
    count: int = chosen.count or 1
    if chosen.curl:
        size = _STRING if chosen.type == "cstring" else count * _layout(target, chosen).size
        session.curl(calls.readv_in_json(target.id, [(address, size)], {"mode": chosen.mode}))
        return statuses.DONE
    if chosen.type == "cstring":
        found = _strings(target, address, count, chosen.mode)
    else:
        found = _numbers(target, address, count, chosen)
    complete = all(each.missing is None for each in found)
    if chosen.json or chosen.format == "json":
        head = {"target": target.id, "address": hex(address), "type": chosen.type}
        shown = [each.json(chosen.type) for each in found]
        session.json({**head, "complete": complete, "values": shown, "missing": _missing(found)})
    else:
        session.terminal.lines(_line(session, each, with_address=count > 1) for each in found)
    return statuses.DONE if complete else statuses.INCOMPLETE


def _layout(target: Target, chosen: argparse.Namespace) -> struct.Struct:
    order = "big" if chosen.big_endian else target.info.byte_order
    return layout(chosen.type, order, target.info.pointer_size)


def _numbers(
    target: Target, address: int, count: int, chosen: argparse.Namespace
) -> Sequence[Value]:
    how = _layout(target, chosen)
    if address + count * how.size > ADDRESS_LIMIT:
        raise WrongWord(f"{count} x {how.size} bytes from {address:#x} on go past 2^64")
    result = target.readv([(address, count * how.size)], mode=chosen.mode)
    return [*values(how, address, result.data, result.gaps)]


def _strings(target: Target, address: int, count: int, mode: Mode | None) -> Sequence[Value]:
    """Read texts that are one behind the other, up to the first that cannot be read."""
    found: list[Value] = []
    for _ in range(count):
        try:
            text = _string(target, address, mode)
        except IncompleteRead as error:
            found.append(Value(address, None, error.result.gaps[0].reason))
            break
        found.append(Value(address, text))
        address += len(text) + 1
    return found


def _string(target: Target, address: int, mode: Mode | None) -> bytes:
    try:
        return target.cstring(address, limit=min(_LONGEST, ADDRESS_LIMIT - address), mode=mode)
    except ValueError:
        raise CommandError(f"there is no text at {address:#x}: no NUL within 1 MiB") from None


def _missing(found: Sequence[Value]) -> list[dict[str, str]]:
    return [
        {"address": hex(each.address), "reason": each.missing}
        for each in found
        if each.missing is not None
    ]


def _line(session: Session, value: Value, *, with_address: bool) -> str:
    paint = session.terminal.paint
    shown = value.shown(session.chosen.type)
    text = paint(shown, Style.BAD) if value.missing is not None else shown
    return f"{paint(f'{value.address:x}', Style.FAINT)}  {text}" if with_address else text
