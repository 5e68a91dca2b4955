"""`farpeek audit verify`: whether the lines of an audit are those that were written."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from farpeek_api.audit.verifying import verify
from farpeek_api.cli import parsers, statuses
from farpeek_api.cli.show.escape import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farpeek_api.audit.verifying import Place, Report

_EPILOG: Final = """\
Files may come in any order, and end with .gz. Whoever can write to all of them can make up another
chain: keep the last hash elsewhere, and give it as --last the next time.
exit status: 0 the chain is whole; 1 it is broken; 2 a file cannot be read.
"""
_MOST_SHOWN: Final = 20


def parser() -> parsers.Parser:
    """Make the command's parser."""
    made = parsers.Parser(
        "farpeek audit",
        description="Check that no line of an audit was changed, taken out or put in.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("what", choices=("verify",), type=parsers.one_of("verify"))
    made.add_argument("file", metavar="FILE", type=Path, nargs="+", help="with lines of an audit")
    made.add_argument("--last", metavar="HASH", help="of a line that has to be among them")
    made.add_argument("--json", action="store_true", help="print one JSON document")
    return made


def main(arguments: Sequence[str]) -> int:
    """Say where the chain is broken; 1 if it is."""
    chosen = parser().parse_args(arguments)
    try:
        report = verify(chosen.file, chosen.last)
    except (OSError, EOFError) as error:
        name = getattr(error, "filename", None) or chosen.file[0]
        text = getattr(error, "strerror", None) or str(error)
        sys.stderr.write(one_line(f"farpeek audit: {name}: {text}") + "\n")
        return statuses.USAGE
    if chosen.json:
        json.dump(_document(report), sys.stdout)
        sys.stdout.write("\n")
    else:
        _print(report)
    return statuses.FAILED if report.breaks else statuses.DONE


def _document(report: Report) -> dict[str, object]:
    return {
        "whole": not report.breaks,
        **asdict(report),
        "last": None if report.last is None else report.last._asdict(),
        "breaks": [each._asdict() for each in report.breaks],
        "notes": [each._asdict() for each in report.notes],
    }


def _print(report: Report) -> None:
    _show(report.breaks, "broken")
    _show(report.notes, "note")
    verdict = "broken" if report.breaks else "whole"
    line = f"the chain is {verdict}: {report.lines} lines"
    if report.last is not None:
        line += f", the last of them {report.last.seq}, {report.last.hash}"
    sys.stdout.write(line + "\n")


def _show(places: Sequence[Place], kind: str) -> None:
    for each in places[:_MOST_SHOWN]:
        sys.stdout.write(one_line(f"{kind}: {each.file}:{each.line}: {each.text}") + "\n")
    if len(places) > _MOST_SHOWN:
        sys.stdout.write(f"{kind}: and {len(places) - _MOST_SHOWN} more\n")
