"""Runs a client command: what goes wrong becomes one line on stderr and an exit status."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Final, NoReturn, Protocol, cast

from farpeek_api import output
from farpeek_api.cli import parsers, statuses
from farpeek_api.cli.commands import COMMANDS
from farpeek_api.cli.errors import CommandError
from farpeek_api.cli.show.escape import one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Generator, Sequence

    from farpeek_api.cli.session import Session


class Command(Protocol):
    """What a module of `commands` has."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add what the command takes."""

    def run(self, session: Session) -> int:
        """Do it; the exit status."""
        ...


def module(name: str) -> Command:
    """Import a command."""
    found = importlib.import_module(f"farpeek_api.cli.commands.{name.replace('-', '_')}")
    return cast("Command", found)


def parser(name: str) -> parsers.Parser:
    """Make the parser of a command."""
    text = COMMANDS[name]
    description = f"{text[0].upper()}{text[1:]}."
    made = parsers.Parser(f"farpeek {name}", description=description, epilog=statuses.HELP)
    module(name).arguments(made)
    return made


def run(name: str, words: Sequence[str]) -> int:
    """Run a command of `COMMANDS`; the exit status."""
    return writing(name, lambda: _run(name, parser(name).parse_args(words)))


def writing(name: str, act: Callable[[], int]) -> int:
    """Do what writes to the output, wherever that leads; the exit status."""
    _open_what_is_closed()
    try:
        try:
            with _ended_by_signals():
                return act()
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.filename is None:
            return output.lost(f"farpeek {name}", error)
        what = f"{error.filename}: {error.strerror or type(error).__name__}"
        sys.stderr.write(one_line(f"farpeek {name}: {what}") + "\n")
        return statuses.FAILED


_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def _ended_by_signals() -> Generator[None]:
    """Have signals that end a program do it as Ctrl-C does: what it has made is taken away.

    The status is what a shell says of a program that was killed. A second signal ends it at once,
    and one that is ignored, as under nohup(1), stays so.
    """
    ours: list[signal.Signals] = []

    def end(number: int, _: object) -> NoReturn:
        for each in ours:
            signal.signal(each, signal.SIG_DFL)
        raise SystemExit(128 + number)

    if threading.current_thread() is threading.main_thread():
        ours = [each for each in _ENDING if signal.getsignal(each) is signal.SIG_DFL]
    for each in ours:
        signal.signal(each, end)
    try:
        yield
    finally:
        for each in ours:
            signal.signal(each, signal.SIG_DFL)


def _open_what_is_closed() -> None:
    """Give output to nowhere where there is none, as after `>&-`."""
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:
            setattr(sys, stream, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - to the end


def _run(name: str, chosen: argparse.Namespace) -> int:
    from farpeek_api.cli.session import Session  # noqa: PLC0415 - the client

    session = Session(name, chosen)
    return explained(session, lambda: module(name).run(session))


def explained(session: Session, act: Callable[[], int]) -> int:
    """Do what asks a service, and close the session; what goes wrong is said in a line."""
    from farpeek_api.cli.explaining import explain  # noqa: PLC0415 - the client, with the next
    from farpeek_api.client.problems import PeekError  # noqa: PLC0415

    try:
        return act()
    except CommandError as error:
        session.complain(str(error), error.more)
        return error.status
    except PeekError as error:
        text, status = explain(error)
        session.complain(text)
        return status
    finally:
        session.close()
