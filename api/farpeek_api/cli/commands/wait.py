"""`farpeek wait`: ends when its target does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farpeek_api.cli import parsers, statuses
from farpeek_api.cli.errors import CommandError
from farpeek_api.cli.exits import exit_of
from farpeek_api.cli.show.endings import how_it_ended
from farpeek_api.cli.show.escape import safe
from farpeek_api.client import TargetExited, calls
from farpeek_api.client.steps import Request

if TYPE_CHECKING:
    import argparse

    from farpeek_api.cli.session import Session
    from farpeek_api.client import TargetInfo

_LONGEST_S: Final = 1e9


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parsers.target(parser)
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=parsers.positive("time", _LONGEST_S),
        help="give up after so long, with status 1",
    )
    parsers.common(parser)


def run(session: Session) -> int:
    """Wait, and say how it has ended."""
    try:
        target = session.target()
    except TargetExited as problem:
        ended = problem.target
        if ended is None:
            raise
        _show(session, ended)
        return statuses.DONE
    if session.chosen.curl:
        query = calls.parameters({"wait": "exit", "timeout_s": session.chosen.timeout or 300})
        session.curl(Request("GET", calls.target_path(target.id), query))
        return statuses.DONE
    name = f"{target.pid} {safe(target.info.process.comm)}"
    try:
        target.wait(session.chosen.timeout)
    except TimeoutError:
        raise CommandError(f"{name} has not exited in {session.chosen.timeout:g} s") from None
    except TargetExited:
        raise CommandError(
            f"{name} has exited while no service held it: nobody knows how"
        ) from None
    _show(session, exit_of(target))
    return statuses.DONE


def _show(session: Session, info: TargetInfo) -> None:
    if session.chosen.json:
        session.json(info.members)
        return
    name = f"{info.pid} {safe(info.process.comm)}"
    unknown = info.exit is None and info.state == "exited"
    when = ": the kernel tells how once its parent has asked" if unknown else ""
    session.terminal.line(f"{name} {how_it_ended(info.exit)}{when}")
