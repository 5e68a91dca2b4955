"""What the words of `farpeek fleet` have in common: whom they ask, and who has not answered."""

from __future__ import annotations

import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from farpeek_api.cli import broker, parsers, running, statuses
from farpeek_api.cli.errors import CommandError, WrongWord
from farpeek_api.cli.session import Session
from farpeek_api.cli.show.escape import cut, one_line
from farpeek_api.cli.show.terminal import Terminal
from farpeek_api.cli.words.target import Match, match
from farpeek_api.client.problems import PeekError, Problem

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from farpeek_api.client import Process
    from farpeek_api.client.fleet import Answers, Fleet
    from farpeek_api.client.node_answers import NodeAnswer

T = TypeVar("T")

_MOST_TOLD: Final = 20
_NEEDS_ONE: Final = "not-after-required"


def arguments(parser: argparse.ArgumentParser, *, json: str = "print one JSON document") -> None:
    """Add what says whom to ask."""
    group = parser.add_argument_group("common to all that ask nodes")
    broker.arguments(group)
    group.add_argument("--nodes", metavar="NAME,...", help="ask these, and not all")
    group.add_argument("--label", metavar="KEY=VALUE", help="ask those that have a label")
    group.add_argument(
        "--limit",
        metavar="N",
        type=parsers.whole(1, 4096),
        help="ask no more than so many, by their names",
    )
    group.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=parsers.positive("time", 3600),
        default=10.0,
        help="how long nodes may take (default: 10)",
    )
    group.add_argument("--json", action="store_true", help=json)


class FleetSession(Session):
    """One run of a word: the fleet that is asked, and what has come of its nodes."""

    def __init__(self, word: str, chosen: argparse.Namespace) -> None:
        super().__init__(f"fleet {word}", chosen)
        self.problems: list[tuple[str, str, int]] = []
        """Of nodes that have not answered: node, what is wrong, exit status."""
        self.answered: list[str] = []
        self.silent: list[str] = []
        self.refused: list[str] = []

    @cached_property
    def fleet(self) -> Fleet:
        """The client. Raises WrongWord."""
        words = broker.Words.find(self.chosen)
        try:
            from farpeek_api.client import Fleet  # noqa: PLC0415 - it takes nats-py

            return Fleet(
                ",".join(words.servers),
                client=words.client,
                nkey=words.nkey,
                credentials=words.creds,
            )
        except ImportError as error:
            raise CommandError(str(error)) from None
        except ValueError as error:
            raise WrongWord(str(error)) from None

    def close(self) -> None:
        """End the connection."""
        if "fleet" in self.__dict__:
            self.fleet.close()

    @property
    def choice(self) -> dict[str, Any]:
        """Say whom to ask, for `Fleet`."""
        chosen = self.chosen
        nodes = None if chosen.nodes is None else [each for each in chosen.nodes.split(",") if each]
        return {
            "nodes": nodes,
            "label": chosen.label,
            "limit": chosen.limit,
            "timeout_s": chosen.timeout,
        }

    def asked(self, ask: Callable[[], Answers[T]]) -> Iterator[NodeAnswer[T]]:
        """Give what has come of each node; keep what stands against it. Raises WrongWord."""
        try:
            answers = ask()
        except ValueError as error:
            raise WrongWord(str(error)) from None
        with _Progress() as progress:
            for each in answers:
                progress.tell(each.node)
                if each.problem is not None:
                    self._keep(each.node, each.problem)
                yield each
        outcome = answers.outcome
        self.answered += outcome.answered
        self.silent += outcome.silent
        self.refused += outcome.refused

    def processes(self, word: str | None) -> Iterator[NodeAnswer[list[Process]]]:
        """Ask for the processes that fit a match, or for all. Raises WrongWord."""
        by = Match() if word is None else match(word)
        if "ns_pid" in by:
            raise WrongWord("ns_pid= is for one node: `farpeek ps --node NAME` lists both numbers")
        return self.asked(
            lambda: self.fleet.processes(
                comm=by.get("comm"),
                exe=by.get("exe"),
                uid=by.get("uid"),
                cgroup=by.get("cgroup"),
                container=by.get("container"),
                **self.choice,
            )
        )

    def _keep(self, node: str, problem: PeekError) -> None:
        from farpeek_api.cli.explaining import explain  # noqa: PLC0415 - the client

        if isinstance(problem, Problem) and problem.slug == _NEEDS_ONE:
            raise WrongWord("it changes something, and goes to one node: name it with --nodes")
        text, status = explain(problem) if isinstance(problem, Problem) else (str(problem), 0)
        self.problems.append((node, text, status or statuses.FAILED))

    @property
    def told(self) -> dict[str, object]:
        """What a JSON document says of who has answered."""
        problems = [{"node": node, "problem": text} for node, text, _ in self.problems]
        return {
            "answered": sorted(self.answered),
            "silent": sorted(self.silent),
            "refused": sorted(self.refused),
            "problems": problems,
        }

    def finish(self, status: int = statuses.DONE) -> int:
        """Say who has not answered; the exit status."""
        problems = sorted(self.problems)
        for node, text, _ in problems[:_MOST_TOLD]:
            self.complain(f"{node}: {text}")
        if len(problems) > _MOST_TOLD:
            self.complain(f"so are {len(problems) - _MOST_TOLD} others: --json has all")
        if problems:
            self.complain(
                f"{len(self.answered)} answered, {len(self.refused)} refused, "
                f"{len(self.silent)} silent"
            )
        if not self.answered and not problems:
            self.complain("no node is connected: start `farpeek agent` on some host")
            return statuses.FAILED
        if self.answered:
            return statuses.INCOMPLETE if problems else status
        of_all = {each for _, _, each in problems}
        return of_all.pop() if len(of_all) == 1 else statuses.FAILED


def run(word: str, chosen: argparse.Namespace, act: Callable[[FleetSession], int]) -> int:
    """Do what asks a fleet; what goes wrong is said in a line."""
    session = FleetSession(word, chosen)
    return running.explained(session, lambda: _explained(session, act))


def _explained(session: FleetSession, act: Callable[[FleetSession], int]) -> int:
    try:
        return act(session)
    except Problem:
        raise
    except PeekError as error:  # of the broker, and no service: --url is no cure
        raise CommandError(str(error)) from None


class _Progress:
    """Who has answered, on stderr where that is a terminal; wiped at the end."""

    def __init__(self) -> None:
        self._terminal = Terminal(sys.stderr)
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._count and self._terminal.is_terminal:
            self._terminal.texts(["\r\x1b[K"])
            self._terminal.flush()

    def tell(self, node: str) -> None:
        self._count += 1
        if self._terminal.is_terminal:
            line = cut(one_line(f"{self._count} nodes: {node}"), (self._terminal.width or 80) - 1)
            self._terminal.texts([f"\r{line}\x1b[K"])
            self._terminal.flush()
