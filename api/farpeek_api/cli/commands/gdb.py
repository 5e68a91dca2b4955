"""`farpeek gdb`: gdb on a target that goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farpeek_api.cli import debugging, parsers
from farpeek_api.gateway import launching

if TYPE_CHECKING:
    import argparse

    from farpeek_api.cli.session import Session


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parsers.target(parser)
    parser.add_argument(
        "arguments",
        metavar="ARGUMENT",
        nargs="*",
        help="behind --, for gdb: farpeek gdb 4242 -- -batch -ex bt",
    )
    debugging.arguments(parser)


def run(session: Session) -> int:
    """Run gdb; its own exit status."""
    serve = debugging.server(session, session.target())
    program = debugging.program("gdb")
    chosen = session.chosen
    with launching.gateway(serve) as path:
        words = launching.gdb_words(path, chosen.arguments, writable=chosen.write)
        return launching.run(program, words)
