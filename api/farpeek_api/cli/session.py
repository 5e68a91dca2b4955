"""One run of a client command: the service that it asks, and where its answer goes."""

from __future__ import annotations

import json
import sys
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from farpeek_api.cli import curl
from farpeek_api.cli.errors import NoSuchTargetWord, WrongWord
from farpeek_api.cli.show.escape import one_line
from farpeek_api.cli.show.terminal import Terminal
from farpeek_api.cli.words import target as target_words
from farpeek_api.cli.words.nearest import nearest
from farpeek_api.client import Ambiguous, Client, Invalid, NoSuchProcess
from farpeek_api.client.members import mapping

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from farpeek_api.cli.words.target import TargetWord
    from farpeek_api.client import Target
    from farpeek_api.client.steps import Request

ClientT = TypeVar("ClientT")


class Session:
    """``chosen`` is what argparse made of the words of `parsers.common` and the command's own."""

    def __init__(self, name: str, chosen: argparse.Namespace) -> None:
        self.name = name
        self.chosen = chosen
        self.terminal = Terminal()

    @cached_property
    def peek(self) -> Client:
        """The client. Raises WrongWord for words that lead to no service, Unreachable."""
        return self.connect(Client)

    def connect(self, kind: Callable[..., ClientT]) -> ClientT:
        """Make a client of some kind, for whoever closes it. Raises as `peek`."""
        chosen = self.chosen
        try:
            return kind(
                chosen.url,
                token_file=chosen.token_file,
                nats=chosen.nats,
                node=chosen.node,
                client=chosen.client,
                nkey=chosen.nkey,
            )
        except (ValueError, ImportError) as error:
            raise WrongWord(str(error)) from None
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise WrongWord(f"the token file {error.filename} cannot be read: {why}") from None

    def close(self) -> None:
        """Close all connections."""
        if "peek" in self.__dict__:
            self.peek.close()

    def target_word(self) -> TargetWord:
        """Give the word TARGET, taken apart. Raises WrongWord."""
        return target_words.parse(self.chosen.target)

    def target(self, labels: Mapping[str, str] | None = None) -> Target:
        """Register the process that the word TARGET names.

        Raises WrongWord, with the candidates where it is ambiguous.
        """
        word = self.target_word()
        try:
            return self.peek.target(
                word.pid if word.id is None else word.id,
                pid_namespace=self.chosen.pid_namespace if word.pid is not None else None,
                labels=labels,
                **word.match,
            )
        except Ambiguous as problem:
            candidates = tuple(map(target_words.candidate, problem.candidates))
            count = problem.members.get("count", "several")
            raise WrongWord(f"{word.word!r} fits {count} processes:", candidates) from None
        except NoSuchProcess:
            if not word.match:
                raise
            raise self.nothing_fits(word) from None
        except Invalid as problem:
            readings = mapping(problem.members.get("readings"))
            if readings is None:
                raise
            cure = "say which with --pid-namespace caller or --pid-namespace service:"
            shown = [_reading(name, mapping(each)) for name, each in readings.items()]
            raise WrongWord(f"pid {word.pid} may mean two processes, {cure}", shown) from None

    def nothing_fits(self, word: TargetWord) -> NoSuchTargetWord:
        """Say that no process fits a word, and which one may be meant."""
        return NoSuchTargetWord(f"no process fits {word.word!r}{self._nearest(word)}")

    def _nearest(self, word: TargetWord) -> str:
        if "comm" not in word.match:
            return ": `farpeek ps` lists them all"
        names = {each.comm for each in self.peek.processes()}
        right = nearest(word.match["comm"], names)
        return f": did you mean comm={right}?" if right else ": `farpeek ps` lists them all"

    def complain(self, text: str, more: Sequence[str] = ()) -> None:
        """Say what is not as it should be, on stderr: a line, and others that belong to it."""
        sys.stdout.flush()  # what came before it is shown before it
        lines = [f"farpeek {self.name}: {text}", *(f"  {each}" for each in more)]
        sys.stderr.write("".join(one_line(each) + "\n" for each in lines))

    def json(self, value: object) -> None:
        """Write a JSON document, or one of several, on a line."""
        # DEL is the one control that JSON leaves as it is.
        self.terminal.line(json.dumps(value).replace("\x7f", "\\u007f"))

    def curl(self, request: Request, *options: str) -> None:
        """Write the curl command of a request, with options of curl's. Raises WrongWord."""
        if self.peek.place.node is not None:
            raise WrongWord("curl reaches no node by its broker: leave --curl out")
        self.terminal.line(curl.command(self.peek.place, request, *options))


def _reading(namespace: str, found: Mapping[str, object] | None) -> str:
    """Show whom a pid means in a pid namespace."""
    return f"{namespace}: {'no process' if found is None else target_words.candidate(found)}"
