"""`farpeek register`: a process becomes a target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farpeek_api.cli import parsers, statuses
from farpeek_api.cli.errors import WrongWord
from farpeek_api.client import calls

if TYPE_CHECKING:
    import argparse

    from farpeek_api.cli.session import Session


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parsers.target(parser)
    parser.add_argument(
        "--label",
        metavar="KEY=VALUE",
        action="append",
        type=parsers.word(_label),
        help="a label of yours for it; may be given several times, and replaces those before",
    )
    parsers.common(parser)


def _label(word: str) -> tuple[str, str]:
    name, sign, value = word.partition("=")
    if not name or not sign:
        raise WrongWord(f"{word!r} is no label: write KEY=VALUE")
    return name, value


def run(session: Session) -> int:
    """Register it, and print its id."""
    labels = dict(session.chosen.label) if session.chosen.label else None
    if session.chosen.curl:
        body = {**session.target_word().body(session.chosen.pid_namespace), "labels": labels}
        session.curl(calls.json_request("/v1/targets", body))
        return statuses.DONE
    target = session.target(labels)
    if session.chosen.json:
        session.json(target.info.members)
    else:
        session.terminal.line(session.terminal.name(target.id))
    return statuses.DONE
