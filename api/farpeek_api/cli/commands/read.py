"""`farpeek read`: the bytes at an address, for people and for programs."""

from __future__ import annotations

import base64
from itertools import chain
from typing import TYPE_CHECKING, Final

from farpeek_api.cli import parsers, statuses, typed
from farpeek_api.cli.errors import WrongWord
from farpeek_api.cli.show.hexdump import Grouping, Hexdump
from farpeek_api.cli.show.reasons import explained
from farpeek_api.cli.show.terminal import check_takes_bytes, saved
from farpeek_api.cli.space import Space
from farpeek_api.cli.words import amounts
from farpeek_api.client import calls
from farpeek_api.client.steps import Request

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Sequence

    from farpeek_api.cli.session import Session
    from farpeek_api.cli.show.formats import Format
    from farpeek_api.cli.show.terminal import Terminal
    from farpeek_api.client import Gap, ReadResult, Target

FORMATS: Final = ("hexdump", "hex", "raw", "c", "python", "json")
_AT_ONCE: Final = 1 << 20
"""Bytes of one request; whole rows of every format."""

_MOST_TOLD: Final = 8


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parsers.target(parser)
    parsers.address(parser)
    parser.add_argument(
        "length",
        metavar="LENGTH",
        nargs="?",
        type=parsers.word(amounts.length),
        help="in bytes: 64, 0x40, 4K, 1M; left out with --type",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        type=parsers.one_of(*FORMATS),
        help="hexdump (default), hex (digits), raw (the bytes), c, python, json",
    )
    parser.add_argument(
        "--group",
        metavar="N",
        type=parsers.whole(1, 8),
        help="bytes in a group of the hex dump, shown as one number: 1 (default) to 8",
    )
    parser.add_argument(
        "--big-endian",
        action="store_true",
        help="read groups and values as big-endian, whatever the target's byte order is",
    )
    parser.add_argument(
        "--no-squeeze", action="store_true", help="draw rows that are as the one before, too"
    )
    typed.arguments(parser)
    parsers.mode(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write to a file, or with - to the standard output (raw bytes if no --format is "
        "given)",
    )
    parsers.common(parser)


def run(session: Session) -> int:
    """Read, and show what came."""
    chosen = session.chosen
    _check(chosen)
    if chosen.format == "raw" and chosen.output is None:
        check_takes_bytes(session.terminal)
    target = session.target()
    address = Space(target, chosen.mode).address(chosen.address)
    if chosen.type is not None:
        return typed.run(session, target, address)
    if address + chosen.length > amounts.ADDRESS_LIMIT:
        raise WrongWord(f"{chosen.length} bytes from {address:#x} on go past 2^64")
    if chosen.curl:
        return _curl(session, target, address)
    if chosen.format == "json":
        return _json(session, address, target.readv([(address, chosen.length)], mode=chosen.mode))
    parts = (target.readv([part], mode=chosen.mode) for part in _split(address, chosen.length))
    if chosen.output is None:
        return _write(session, session.terminal, target, parts, address)
    first = next(parts)  # a file is made when there is something to write
    with saved(chosen.output) as file:
        return _write(session, file, target, chain([first], parts), address)


def _check(chosen: argparse.Namespace) -> None:
    """Refuse what does not go together, and choose the format."""
    typed.check(chosen)
    if chosen.type is None and chosen.length is None:
        raise WrongWord("LENGTH is missing: say how many bytes, or give a --type")
    if chosen.json:
        if chosen.format not in (None, "json"):
            raise WrongWord(f"--json and --format {chosen.format} are two formats: choose one")
        chosen.format = "json"
    if chosen.output == "-":
        chosen.output = None
        chosen.format = chosen.format or "raw"
    if chosen.output is not None and (chosen.format == "json" or chosen.type):
        raise WrongWord("-o is for bytes: send values and JSON to a file by >")
    if chosen.format is None:
        chosen.format = "hexdump" if chosen.output is None else "raw"
    if chosen.group is not None and (chosen.type or chosen.format != "hexdump"):
        raise WrongWord("--group goes with --format hexdump")


def _split(address: int, length: int) -> Iterator[tuple[int, int]]:
    """Split what is read; it is one request where the bytes fit in one."""
    end = address + length
    return ((at, min(_AT_ONCE, end - at)) for at in range(address, end, _AT_ONCE))


def _curl(session: Session, target: Target, address: int) -> int:
    chosen = session.chosen
    if chosen.format == "raw":
        query = calls.parameters({"mode": chosen.mode})
        span = {"Range": f"bytes={address}-{address + chosen.length - 1}"}
        session.curl(Request("GET", calls.target_path(target.id, "/memory"), query, span))
        return statuses.DONE
    for part in _split(address, chosen.length):
        session.curl(calls.readv_in_json(target.id, [part], {"mode": chosen.mode}))
    return statuses.DONE


def _json(session: Session, address: int, result: ReadResult) -> int:
    data = base64.b64encode(result.data).decode()
    session.json({**result.members, "address": hex(address), "data": data})
    return statuses.DONE if result.complete else statuses.INCOMPLETE


def _form(chosen: argparse.Namespace, target: Target) -> Format | None:
    """Choose the form of the text; None for bytes as they are."""
    if chosen.format == "hexdump":
        group = chosen.group or 1
        is_little = target.info.byte_order != "big" and not chosen.big_endian
        return Hexdump(Grouping(group, group > 1 and is_little, not chosen.no_squeeze))
    from farpeek_api.cli.show.formats import C, Hex, Python  # noqa: PLC0415 - where they are used

    kinds: dict[str, type[Format]] = {"hex": Hex, "c": C, "python": Python}
    return kinds[chosen.format]() if chosen.format in kinds else None


def _write(
    session: Session, out: Terminal, target: Target, parts: Iterable[ReadResult], address: int
) -> int:
    form = _form(session.chosen, target)
    if form is None:
        check_takes_bytes(out)
    gaps: list[Gap] = []
    if form is not None:
        out.texts(form.begin(out, address, session.chosen.length))
    for part in parts:
        gaps += part.gaps[: _MOST_TOLD + 1 - len(gaps)]
        if form is None:
            out.raw(part.data)
        else:
            out.texts(form.part(part.data, part.gaps))
    if form is not None:
        out.texts(form.end())
    if not isinstance(form, Hexdump):  # which has them drawn
        _tell(session, gaps)
    return statuses.INCOMPLETE if gaps else statuses.DONE


def _tell(session: Session, gaps: Sequence[Gap]) -> None:
    for gap in gaps[:_MOST_TOLD]:
        what = f"{gap.length} bytes at {gap.address:#x} are missing"
        session.complain(f"{what}: {explained(gap.reason)}")
    if len(gaps) > _MOST_TOLD:
        session.complain("there are more of them")
