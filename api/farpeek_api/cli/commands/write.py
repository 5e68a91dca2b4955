"""`farpeek write`: bytes are written, and what they replace is shown."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from farpeek_api.cli import curl, parsers, statuses
from farpeek_api.cli.changes import History
from farpeek_api.cli.errors import CommandError, WrongWord
from farpeek_api.cli.show.changes import Bytes, row
from farpeek_api.cli.show.escape import safe
from farpeek_api.cli.show.reasons import explained
from farpeek_api.cli.show.terminal import Terminal
from farpeek_api.cli.space import Space
from farpeek_api.cli.words import amounts
from farpeek_api.cli.words.digits import digits
from farpeek_api.client import writing

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from farpeek_api.cli.session import Session
    from farpeek_api.client import Target, WriteResult

_MOST: Final = 16 << 20
_MOST_ROWS: Final = 32
_MOST_TOLD: Final = 8


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parsers.target(parser)
    parsers.address(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--hex", metavar="DIGITS", type=parsers.word(digits), help="these bytes: 'de ad be ef'"
    )
    what.add_argument("--text", metavar="TEXT", help="a text in UTF-8, without a NUL at its end")
    what.add_argument("--file", metavar="FILE", help="what is in a file")
    parser.add_argument(
        "--expect",
        metavar="DIGITS",
        type=parsers.word(digits),
        help="write only if these bytes are there now, as many as are written",
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would change, and end")
    parser.add_argument(
        "--allow-shared",
        action="store_true",
        help="write to shared mappings too: other processes, and files, see it",
    )
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask on a terminal")
    parsers.mode(parser)
    parsers.common(parser)


def run(session: Session) -> int:
    """Show what would change, ask, and write."""
    chosen = session.chosen
    data = _data(chosen)
    if chosen.expect is not None and len(chosen.expect) != len(data):
        raise WrongWord(f"--expect has {len(chosen.expect)} bytes, and {len(data)} are written")
    target = session.target()
    address = Space(target, chosen.mode).address(chosen.address)
    if address + len(data) > amounts.ADDRESS_LIMIT:
        raise WrongWord(f"{len(data)} bytes from {address:#x} on go past 2^64")
    return _Write(session, target, address, data).run()


def _data(chosen: argparse.Namespace) -> bytes:
    if chosen.file is not None:
        with open(chosen.file, "rb") as file:  # noqa: PTH123 - a word, as it stands
            data = file.read(_MOST + 1)
    elif chosen.text is not None:
        data = chosen.text.encode("utf-8", "surrogateescape")  # whatever bytes the shell gave
    else:
        data = chosen.hex
    if not data:
        raise WrongWord("there is nothing to write")
    if len(data) > _MOST:
        raise WrongWord(f"{chosen.file!r} has more than {_MOST} bytes: write it in parts")
    return bytes(data)


class _Write:
    """One write, which is rehearsed first where somebody is asked."""

    def __init__(self, session: Session, target: Target, address: int, data: bytes) -> None:
        chosen = session.chosen
        self._session = session
        self._target = target
        self._address = address
        self._data = data
        self._expect: list[bytes] | None = None if chosen.expect is None else [chosen.expect]
        self._allow_shared: bool | None = chosen.allow_shared or None

    def run(self) -> int:
        chosen = self._session.chosen
        if chosen.curl:
            return self._curl()
        if chosen.dry_run:
            return self._answer(self._do(dry_run=True), "would write")
        if not chosen.yes and sys.stdin.isatty() and self._session.terminal.is_terminal:
            self._ask()
        result = self._do(dry_run=None)
        if result.written and not result.verified:
            self._session.complain("other bytes are there by now: the target has written, too")
        return self._answer(result, "wrote")

    def _curl(self) -> int:
        options = {
            "mode": self._session.chosen.mode,
            "dry_run": self._session.chosen.dry_run or None,
            "allow_shared": self._allow_shared,
        }
        regions = [(self._address, self._data)]
        wanted = writing.writev(self._target.id, regions, self._expect, options)
        self._session.curl(curl.first_request(wanted))
        return statuses.DONE

    def _do(self, *, dry_run: bool | None) -> WriteResult:
        return self._target.writev(
            [(self._address, self._data)],
            expect=self._expect,
            mode=self._session.chosen.mode,
            dry_run=dry_run,
            allow_shared=self._allow_shared,
        )

    def _ask(self) -> None:
        """Show what would change, on stderr, and go on only if that is meant."""
        rehearsal = self._do(dry_run=True)
        terminal = Terminal(sys.stderr)
        terminal.lines(self._rows(terminal, rehearsal))
        name = safe(self._target.info.process.comm)
        sys.stderr.write(
            f"Write {rehearsal.would_write} bytes to {self._target.pid} {name}? [y/N] "
        )
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise CommandError("nothing was written")

    def _answer(self, result: WriteResult, did: str) -> int:
        session = self._session
        if session.chosen.json:
            session.json(result.members)
        else:
            count = result.would_write if session.chosen.dry_run else result.written
            session.terminal.lines(self._rows(session.terminal, result))
            name = safe(self._target.info.process.comm)
            where = f"{self._address:#x} of {self._target.pid} {name}"
            session.terminal.line(f"{did} {count} of {result.requested} bytes at {where}")
        for gap in result.gaps[:_MOST_TOLD]:
            what = f"{gap.length} bytes at {gap.address:#x} cannot be written"
            session.complain(f"{what}: {explained(gap.reason)}")
        if len(result.gaps) > _MOST_TOLD:
            session.complain("there are more of them")
        return statuses.DONE if result.complete else statuses.INCOMPLETE

    def _rows(self, terminal: Terminal, result: WriteResult) -> Iterator[str]:
        """Draw what is other than before, and what it was."""
        form = Bytes(terminal.width)
        history = History(self._address, form.size)
        history.add(result.before, result.gaps)
        changed = history.add(self._data, result.gaps)
        for number in changed[:_MOST_ROWS]:
            yield row(terminal, form, history, number, is_new=True)
        if len(changed) > _MOST_ROWS:
            yield f"and {len(changed) - _MOST_ROWS} more rows"
