"""`farpeek lldb`: lldb on a target that goes on."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from farpeek_api.cli import debugging, parsers
from farpeek_api.gateway import launching
from farpeek_api.gateway.copies import Copies
from farpeek_api.gateway.inferior import Inferior

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
        help="behind --, for lldb: farpeek lldb 4242 -- -b -o bt",
    )
    debugging.arguments(parser)


def run(session: Session) -> int:
    """Run lldb; its own exit status."""
    target = session.target()
    serve = debugging.server(session, target)
    program = debugging.program("lldb")
    with tempfile.TemporaryDirectory(prefix="farpeek-") as folder:
        inferior = Inferior(target, session.chosen.mode, writable=False)
        copies = Copies(inferior, Path(folder))
        if copies.program is None:
            session.complain("the program's file cannot be had: its symbols are not known")
        if copies.missing:
            session.complain(
                f"files of {copies.missing} libraries cannot be had, nor their symbols"
            )
        with launching.gateway(serve) as path:
            words = launching.lldb_words(path, copies, session.chosen.arguments)
            return launching.run(program, words)
