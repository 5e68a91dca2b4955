"""`farpeek mcp`: its command line."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Final

from farpeek_api.cli import parsers, running, statuses

if TYPE_CHECKING:
    from collections.abc import Sequence

_LONGEST_QUESTION_S: Final = 600
"""As long as the SDK keeps one."""

_LONGEST_KEPT_S: Final = 86_400


def parser() -> parsers.Parser:
    """Make the parser."""
    made = parsers.Parser(
        "farpeek mcp",
        description="Let an assistant read the memory of processes that you approve, by the Model "
        "Context Protocol on stdin and stdout.",
    )
    parsers.service(made.add_argument_group("where the service is"))
    made.add_argument(
        "--approval-timeout",
        metavar="SECONDS",
        type=parsers.positive("number of seconds", _LONGEST_QUESTION_S),
        default=120.0,
        help="how long a question to you waits; no answer is a no (default: 120)",
    )
    made.add_argument(
        "--results-last",
        metavar="SECONDS",
        type=parsers.positive("number of seconds", _LONGEST_KEPT_S),
        default=600.0,
        help="how long the further pages of a result are kept (default: 600)",
    )
    return made


def main(arguments: Sequence[str]) -> int:
    """Serve until stdin ends; the exit status."""
    chosen = parser().parse_args(arguments)
    if importlib.util.find_spec("mcp") is None:
        sys.stderr.write("farpeek mcp: the SDK is not installed: pip install 'farpeek[mcp]'\n")
        return statuses.USAGE
    from farpeek_api.cli.assistants.approved import ApprovingClient  # noqa: PLC0415 - slow to load
    from farpeek_api.cli.assistants.server import serve  # noqa: PLC0415 - the same
    from farpeek_api.cli.session import Session  # noqa: PLC0415 - the same

    session = Session("mcp", chosen)

    def act() -> int:
        with session.connect(ApprovingClient) as peek:
            serve(peek, chosen.approval_timeout, chosen.results_last)
        return statuses.DONE

    return running.explained(session, act)
