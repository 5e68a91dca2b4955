"""`farpeek doctor`: what decides about access on this host, for whoever runs it, and the cures."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from farpeek.doctor import Finding, Verdict, examine
from farpeek.doctor.findings import worst_first
from farpeek_api.cli import parsers, statuses
from farpeek_api.cli.show.escape import safe
from farpeek_api.cli.show.terminal import Style, Terminal
from farpeek_api.gate.doors import doors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_STYLES: Final = {
    Verdict.BLOCKS: Style.BAD,
    Verdict.LIMITS: Style.CHANGED,
    Verdict.NOTE: Style.FAINT,
    Verdict.FINE: Style.GOOD,
}
_WIDEST: Final = max(map(len, Verdict))
_INDENT: Final = " " * (_WIDEST + 2)
_NARROW: Final = 40
_WIDE: Final = 100


def parser() -> parsers.Parser:
    """Make the command's parser."""
    made = parsers.Parser(
        "farpeek doctor",
        description="Try what decides about access to memory on this host, for the user who runs "
        "this; `GET /v1/doctor` asks a running service. Ends with status 1 if something blocks.",
    )
    made.add_argument(
        "--pid", type=parsers.whole(1, 2**31 - 1), metavar="PID", help="try this process as well"
    )
    made.add_argument(
        "--socket",
        type=Path,
        metavar="PATH",
        help="look at this unix socket (default: where clients look)",
    )
    made.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="look at this file, as `farpeek serve --token-file` does (default: "
        "$FARPEEK_TOKEN_FILE)",
    )
    made.add_argument("--json", action="store_true", help="print one JSON document")
    return made


def main(arguments: Sequence[str]) -> int:
    """Print a line for each finding, the worst first; 1 if one of them blocks."""
    chosen = parser().parse_args(arguments)
    token_file = chosen.token_file or os.environ.get("FARPEEK_TOKEN_FILE")
    ways_in = doors(chosen.socket, Path(token_file) if token_file else None)
    found = worst_first([*examine(chosen.pid), *ways_in])
    if chosen.json:
        json.dump({"findings": [asdict(each) for each in found]}, sys.stdout)
        sys.stdout.write("\n")
    else:
        terminal = Terminal()
        terminal.lines(line for each in found for line in _lines(each, terminal))
    blocked = any(each.verdict is Verdict.BLOCKS for each in found)
    return statuses.FAILED if blocked else statuses.DONE


def _lines(finding: Finding, terminal: Terminal) -> Iterator[str]:
    verdict = terminal.paint(finding.verdict.ljust(_WIDEST), _STYLES[finding.verdict])
    effect = f"; {finding.effect}" if finding.effect else ""
    text = safe(f"{finding.gate}: {finding.here}{effect}")
    first, *rest = _wrapped(text, terminal)
    yield f"{verdict}  {first}"
    yield from (_INDENT + each for each in rest)
    for where, cure in asdict(finding.cure).items():
        if cure:
            for each in _wrapped(safe(f"{where}: {cure}"), terminal):
                yield _INDENT + terminal.paint(each, Style.FAINT)


def _wrapped(text: str, terminal: Terminal) -> list[str]:
    width = max(_NARROW, terminal.width or _WIDE) - len(_INDENT)
    return textwrap.wrap(text, width)
