"""`farpeek fleet WORD`: finds the word's module, and runs it."""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import TYPE_CHECKING, Final, NoReturn, Protocol, cast

from farpeek_api.cli import parsers, running, statuses
from farpeek_api.cli.errors import CommandError
from farpeek_api.cli.fleet import COMMANDS
from farpeek_api.cli.show.escape import one_line
from farpeek_api.cli.words.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

HELP: Final = (
    "Exit status: 0 done, 1 failed, 2 wrong usage, 3 incomplete (a node has not answered, or has "
    "refused, or there are gaps), 4 no such process, 5 not allowed."
)


class Word(Protocol):
    """What a word's module has."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add what it takes."""

    def run(self, chosen: argparse.Namespace) -> int:
        """Do it; the exit status. Raises CommandError."""
        ...


def module(word: str) -> Word:
    """Import the module of a word."""
    return cast("Word", importlib.import_module(f"farpeek_api.cli.{COMMANDS[word][1]}"))


def parser_of(word: str) -> parsers.Parser:
    """Make the parser of a word."""
    text = COMMANDS[word][0]
    description = f"{text[0].upper()}{text[1:]}."
    made = parsers.Parser(f"farpeek fleet {word}", description=description, epilog=HELP)
    module(word).arguments(made)
    return made


def parser() -> argparse.ArgumentParser:
    """Make one parser of all words, for completion and help."""
    made = parsers.RootParser("farpeek fleet", description="Ask many nodes of a fleet, by NATS.")
    words = made.add_subparsers(metavar="WORD", parser_class=argparse.ArgumentParser)
    for word, (text, _) in COMMANDS.items():
        words.add_parser(word, help=text, parents=[parser_of(word)], add_help=False)
    return made


def main(arguments: Sequence[str]) -> int:
    """Run a word; the exit status."""
    word, *rest = arguments or [""]
    if word not in COMMANDS:
        _explain_itself(word)
    return running.writing(f"fleet {word}", lambda: _run(word, rest))


def _explain_itself(word: str) -> NoReturn:
    """Show what --help asks for; refuse all else."""
    made = parser()
    if word in ("-h", "--help"):
        made.parse_args([word])
    if not word:
        made.exit(statuses.USAGE, made.format_help())
    cure = did_you_mean(word, COMMANDS) or ": `farpeek fleet --help` lists all"
    made.error(f"there is no `farpeek fleet {word}`{cure}")


def _run(word: str, words: Sequence[str]) -> int:
    chosen = parser_of(word).parse_args(words)
    try:
        return module(word).run(chosen)
    except CommandError as error:
        sys.stdout.flush()
        lines = [f"farpeek fleet {word}: {error}", *(f"  {each}" for each in error.more)]
        sys.stderr.write("".join(one_line(each) + "\n" for each in lines))
        return error.status
