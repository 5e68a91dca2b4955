"""`farpeek watch`: memory as it changes."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final

from farpeek_api.cli import parsers, statuses
from farpeek_api.cli.changes import Account
from farpeek_api.cli.errors import WrongWord
from farpeek_api.cli.exits import exit_of
from farpeek_api.cli.show.endings import how_it_ended
from farpeek_api.cli.show.escape import safe
from farpeek_api.cli.show.values import TYPES, layout
from farpeek_api.cli.space import Space
from farpeek_api.cli.words import amounts

if TYPE_CHECKING:
    import argparse

    from farpeek_api.cli.session import Session
    from farpeek_api.cli.show.changes import Form
    from farpeek_api.cli.watching import View
    from farpeek_api.client import Target

_MOST_BYTES: Final = 1 << 16
"""More than anybody can watch; a dump is for more."""

_MOST_HZ: Final = 1000
_HZ: Final = 5.0
_NUMBERS: Final = tuple(each for each in TYPES if each != "cstring")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parsers.target(parser)
    parsers.address(parser)
    parser.add_argument(
        "length",
        metavar="LENGTH",
        nargs="?",
        type=parsers.word(amounts.length),
        help="in bytes, up to 64K; left out with --type",
    )
    parser.add_argument(
        "--hz",
        metavar="N",
        type=parsers.positive("rate", _MOST_HZ),
        default=_HZ,
        help="how often it is read in a second (default: 5)",
    )
    parser.add_argument(
        "--type", choices=_NUMBERS, type=parsers.one_of(*_NUMBERS), help="watch values, not bytes"
    )
    parser.add_argument(
        "--count",
        metavar="N",
        type=parsers.whole(1, _MOST_BYTES),
        help="how many values (default: 1)",
    )
    parser.add_argument(
        "--ticks",
        metavar="N",
        type=parsers.whole(1, 1 << 62),
        help="end after so many readings, lost ones counted",
    )
    parsers.mode(parser)
    parsers.common(parser, json="print one JSON document a line: each change, and a sum at the end")


def run(session: Session) -> int:
    """Watch until it is interrupted, the target ends, or all ticks have come."""
    chosen = session.chosen
    _check(chosen)
    target = session.target()
    address = Space(target, chosen.mode).address(chosen.address)
    form, length = _form(session, target)
    if address + length > amounts.ADDRESS_LIMIT:
        raise WrongWord(f"{length} bytes from {address:#x} on go past 2^64")
    ended = _watch(session, target, (address, length), form)
    if ended != "target-exited":
        return statuses.DONE
    name = f"{target.pid} {safe(target.info.process.comm)}"
    session.complain(f"{name} {how_it_ended(exit_of(target).exit)}")
    return statuses.NO_TARGET


def _check(chosen: argparse.Namespace) -> None:
    """Refuse what does not go together."""
    if chosen.curl:
        raise WrongWord("--curl cannot show it: ticks come by a WebSocket, GET /v1/stream")
    if chosen.type is None and chosen.length is None:
        raise WrongWord("LENGTH is missing: say how many bytes, or give a --type")
    if chosen.type is not None and chosen.length is not None:
        raise WrongWord(f"{chosen.length} is one word too many: a --type has its own length")
    if chosen.type is None and chosen.count is not None:
        raise WrongWord("--count goes with --type")


def _form(session: Session, target: Target) -> tuple[Form, int]:
    """Choose what is shown, and how many bytes it is."""
    from farpeek_api.cli.show.changes import Bytes, Values  # noqa: PLC0415 - behind all checks

    chosen = session.chosen
    if chosen.type is None:
        form: Form = Bytes(session.terminal.width)
        length: int = chosen.length
    else:
        info = target.info
        form = Values(chosen.type, layout(chosen.type, info.byte_order, info.pointer_size))
        length = form.size * (chosen.count or 1)
    if length > _MOST_BYTES:
        raise WrongWord(f"{length} bytes are too many to watch: {_MOST_BYTES} are the most")
    return form, length


def _watch(session: Session, target: Target, region: tuple[int, int], form: Form) -> str | None:
    """Show each tick; why there are no more."""
    from farpeek_api.cli.following import Following  # noqa: PLC0415 - behind all checks
    from farpeek_api.cli.watching import view_of  # noqa: PLC0415 - the same

    chosen = session.chosen
    account = Account()
    with view_of(session, target, region, form) as view:
        following = Following(session.peek, target, region, chosen.mode, view.away)
        try:
            with closing(following.ticks(chosen.hz)) as ticks:
                for tick in ticks:
                    account.add(tick)
                    view.tick(tick, account)
                    if chosen.ticks is not None and tick.number >= chosen.ticks:
                        break
        finally:
            _sum_up(view, account, following.ended)
    return following.ended


def _sum_up(view: View, account: Account, ended: str | None) -> None:
    """Say at the end, whatever it is, what came of all ticks."""
    if account.last:
        view.end(account, ended)
