"""`farpeek dap`: its command line."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from farpeek_api.cli import parsers, running, statuses

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from typing import BinaryIO

    from farpeek_api.cli.session import Session
    from farpeek_api.client import Client

_MOST_HZ: Final = 100


def parser() -> parsers.Parser:
    """Make the parser."""
    made = parsers.Parser(
        "farpeek dap",
        description="Show the memory of a process in an editor, by the Debug Adapter Protocol on "
        "stdin and stdout. Nothing is stopped: what an editor takes for a stop is a sample.",
    )
    made.add_argument(
        "--listen",
        metavar="HOST:PORT",
        help="serve editors that connect there, one after the other; on a loopback address, for "
        "processes of this user and root",
    )
    made.add_argument(
        "--write",
        action="store_true",
        help="let the editor write memory, where the service lets this client",
    )
    made.add_argument(
        "--hz",
        metavar="N",
        type=parsers.positive("rate", _MOST_HZ),
        default=2.0,
        help="how often a second memory that is shown is looked at for changes (default: 2)",
    )
    parsers.service(made.add_argument_group("where the service is"))
    return made


def main(arguments: Sequence[str]) -> int:
    """Serve until the editor leaves; the exit status."""
    chosen = parser().parse_args(arguments)
    from farpeek_api.cli.session import Session  # noqa: PLC0415 - the client

    session = Session("dap", chosen)
    return running.writing("dap", lambda: running.explained(session, lambda: _run(session, chosen)))


def _run(session: Session, chosen: argparse.Namespace) -> int:
    from farpeek_api.cli import loopback  # noqa: PLC0415 - slow to load, with the next two
    from farpeek_api.cli.dap import listening  # noqa: PLC0415
    from farpeek_api.client import Client  # noqa: PLC0415

    if chosen.listen is None:
        with session.connect(Client) as peek:
            return _serve(session, peek, sys.stdin.buffer, sys.stdout.buffer)
    where = listening.place(chosen.listen)
    with session.connect(Client) as peek, loopback.listen(where) as listener:
        host, port = listener.getsockname()[:2]
        session.complain(f"listening on {host}:{port}")
        for connection in listening.accepted(listener):
            with (
                suppress(ConnectionError),
                connection.makefile("rb") as source,
                connection.makefile("wb") as sink,
            ):
                _serve(session, peek, source, sink)
    return statuses.DONE


def _serve(session: Session, peek: Client, source: BinaryIO, sink: BinaryIO) -> int:
    from farpeek_api.cli.dap.adapter import Adapter  # noqa: PLC0415 - slow to load, with the next
    from farpeek_api.cli.dap.framing import Channel, NotDap  # noqa: PLC0415

    chosen = session.chosen
    adapter = Adapter(peek, Channel(source, sink), chosen.hz, may_write=chosen.write)
    try:
        adapter.run()
    except NotDap as error:
        session.complain(str(error))
        return statuses.FAILED
    return statuses.DONE
