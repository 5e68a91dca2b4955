"""Command lines: argparse, with messages of one line that have the cure."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

from farpeek_api import output
from farpeek_api.cli import statuses
from farpeek_api.cli.errors import WrongWord
from farpeek_api.cli.show.escape import one_line
from farpeek_api.cli.words.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


class RootParser(output.Parser):
    """Refuses by one line on stderr and status 2."""

    def __init__(self, name: str, **kwargs: Any) -> None:  # noqa: ANN401 - argparse's
        super().__init__(prog=name, allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        """End the program."""
        self.exit(statuses.USAGE, one_line(f"{self.prog}: {message}") + "\n")


class Parser(RootParser):
    """That of one command."""

    def parse_args(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride] - of its forms, the one in use
        self, args: Sequence[str] | None = None, namespace: None = None
    ) -> argparse.Namespace:
        """Parse; a word that nobody knows is refused with the one that may be meant."""
        # A word may come behind an option, also where it may be left out: `maps ruby -w libc`.
        chosen, rest = self.parse_known_intermixed_args(args, namespace)
        if rest:
            options = [each for action in self._actions for each in action.option_strings]
            word = rest[0].partition("=")[0]
            what = "no such option as" if word.startswith("-") else "one word too many,"
            self.error(f"there is {what} {word!r}{did_you_mean(word, options)}")
        return chosen


class Adds(Protocol):
    """A parser, or a group of its options."""

    def add_argument(self, *names: str, metavar: str, help: str) -> object:  # noqa: A002 - argparse's
        """Add an option."""


def common(parser: argparse.ArgumentParser, *, json: str = "print one JSON document") -> None:
    """Add what all client commands have."""
    group = parser.add_argument_group("common to all commands")
    service(group)
    group.add_argument("--json", action="store_true", help=json)
    group.add_argument(
        "--curl",
        action="store_true",
        help="print the HTTP call as a curl command, ready to paste, instead of making it",
    )


def service(group: Adds) -> None:
    """Add what says which service is asked."""
    group.add_argument(
        "--url",
        metavar="URL",
        help="where the service is: unix:PATH, http://HOST:PORT or https://HOST:PORT "
        "(else $FARPEEK_URL, the default socket, http://127.0.0.1:7335)",
    )
    group.add_argument(
        "--token-file",
        metavar="PATH",
        help="file with the bearer token (else $FARPEEK_TOKEN_FILE, or `token` beside the socket)",
    )
    node(group)


def node(group: Adds) -> None:
    """Add what says which node of a fleet is asked."""
    group.add_argument(
        "--node", metavar="NAME", help="the service of a node of a fleet, by NATS, and not --url"
    )
    group.add_argument("--nats", metavar="URL", help="the broker of the fleet (else $FARPEEK_NATS)")
    group.add_argument(
        "--client", metavar="NAME", help="in whose name a node is asked (else $FARPEEK_CLIENT)"
    )
    group.add_argument(
        "--nkey", metavar="PATH", help="file with the client's nkey seed (else $FARPEEK_NKEY)"
    )


def target(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """Add a TARGET."""
    parser.add_argument(
        "target",
        metavar="TARGET",
        nargs="?" if optional else None,
        help="a pid, a target's id, or what it is: comm=NAME, exe=*/NAME, container=ID*, uid=N, "
        "cgroup=PATH, ns_pid=N, several of them with commas between; registered on the way",
    )
    parser.add_argument(
        "--pid-namespace",
        choices=("caller", "service"),
        type=one_of("caller", "service"),
        help="whose pid namespace a pid counts in, where yours is not the service's",
    )


def address(parser: argparse.ArgumentParser) -> None:
    """Add an ADDRESS."""
    parser.add_argument(
        "address",
        metavar="ADDRESS",
        help="0x7f.., decimal, [heap]+0x40, libc.so.6+0x1234, a symbol, file:symbol, "
        "*ADDRESS (what the pointer there points to), with +N and -N",
    )


def mode(parser: argparse.ArgumentParser) -> None:
    """Add a read's mode."""
    parser.add_argument(
        "--mode",
        choices=("wait", "nowait"),
        type=one_of("wait", "nowait"),
        help="nowait never waits for I/O: what would have to be read in is a gap (default: wait)",
    )


def word(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Make an argparse type of what raises WrongWord."""

    def parsed(text: str) -> T:
        try:
            return parse(text)
        except WrongWord as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parsed


def one_of(*words: str) -> Callable[[str], str]:
    """Make an argparse type of some words: what is none of them is refused with the nearest."""

    def check(text: str) -> str:
        if text in words:
            return text
        cure = did_you_mean(text, words) or f": it is one of {', '.join(words)}"
        raise WrongWord(f"{text!r} is none{cure}")

    return word(check)


def whole(low: int, high: int) -> Callable[[str], int]:
    """Make an argparse type of the decimal numbers from ``low`` to ``high``."""

    def check(text: str) -> int:
        digits = text.isascii() and text.isdecimal() and len(text) < 20  # noqa: PLR2004 - digits
        if not (digits and low <= int(text) <= high):
            raise WrongWord(f"{text!r} is no number from {low} to {high}")
        return int(text)

    return word(check)


def positive(what: str, most: float) -> Callable[[str], float]:
    """Make an argparse type of the numbers above 0, up to ``most``; ``what`` they are."""

    def check(text: str) -> float:
        try:
            value = float(text) if text.isascii() else -1.0
        except ValueError:
            value = -1.0
        if not 0 < value <= most:
            raise WrongWord(f"{text!r} is no {what}: it is a number above 0, up to {most:g}")
        return value

    return word(check)
