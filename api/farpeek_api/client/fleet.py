"""Many nodes of a fleet, asked at a time: `Fleet` waits, `AsyncFleet` awaits.

What comes of each node is told, also where that is nothing: there is no part that is left out.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar
from urllib.parse import urlencode

from farpeek_api.bus import problems as bus
from farpeek_api.bus import subjects
from farpeek_api.bus.asking import Question
from farpeek_api.bus.connecting import ERRORS
from farpeek_api.bus.problems import Refusal
from farpeek_api.bus.replies import MOST_NAMED, Outcome, Whom
from farpeek_api.bus.roster import Roster
from farpeek_api.bus.scatter import Scatter
from farpeek_api.client import calls
from farpeek_api.client.address import Node
from farpeek_api.client.client import AsyncClient, Client
from farpeek_api.client.links import Thread
from farpeek_api.client.node_answers import (
    JSON,
    NodeAnswer,
    NodeInfo,
    answer_of,
    content,
    error_of,
    node_of,
    parsed,
)
from farpeek_api.client.problems import Unreachable

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence

    from farpeek_api.bus.asking import Asking
    from farpeek_api.bus.replies import Reply
    from farpeek_api.bus.roster import Heartbeat
    from farpeek_api.client.results import Process

T = TypeVar("T")

TIMEOUT_S: Final = 10.0
_SECOND_NS: Final = 10**9


class AsyncAnswers(Generic[T]):
    """Answers as they come, once. ``outcome`` has the nodes that answered, refused, were silent."""

    def __init__(
        self, replies: Callable[[], AsyncGenerator[Reply]], parse: Callable[[Reply], T]
    ) -> None:
        self.outcome = Outcome()
        self._replies = replies
        self._parse = parse

    async def __aiter__(self) -> AsyncGenerator[NodeAnswer[T]]:
        """Give what has come of each node. Forbidden, Unreachable, Interrupted for all of them."""
        replies = self._replies()
        try:
            async for each in replies:
                answer = answer_of(each, self._parse)
                self.outcome.add(replace(each, how=answer.how))
                yield answer
        except Refusal as refusal:
            raise error_of(refusal) from refusal
        except ERRORS as error:
            why = str(error).removeprefix("nats: ") or type(error).__name__
            raise Unreachable(f"the broker is not reached: {why}") from error
        finally:
            await replies.aclose()


class Answers(Generic[T]):
    """The same for who waits."""

    def __init__(self, answers: AsyncAnswers[T], thread: Thread) -> None:
        self.outcome = answers.outcome
        self._answers = answers
        self._thread = thread

    def __iter__(self) -> Generator[NodeAnswer[T]]:
        """Give what has come of each node, as `AsyncAnswers` does."""
        answers = aiter(self._answers)
        try:
            while (each := self._thread.do(_next(answers))) is not None:
                yield each
        finally:
            self._thread.do(answers.aclose())


async def _next(answers: AsyncGenerator[NodeAnswer[T]]) -> NodeAnswer[T] | None:
    return await anext(answers, None)


class AsyncFleet:
    """The nodes of a fleet, asked in one client's name. It takes what `Client` takes for a node."""

    def __init__(
        self,
        nats: str | None = None,
        *,
        client: str | None = None,
        nkey: str | os.PathLike[str] | None = None,
        credentials: str | os.PathLike[str] | None = None,
    ) -> None:
        way = Node.find(subjects.EVERYBODY, nats, client, nkey, credentials)
        self._link = way.new_link()
        self._way = replace(way, link=self._link)
        self._rosters: dict[Asking, Roster] = {}

    def ask(  # noqa: PLR0913 - what a request has, and whom it is for
        self,
        operation: str,
        target: str | None = None,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        nodes: Sequence[str] | None = None,
        label: str | None = None,
        limit: int | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> AsyncAnswers[Any]:
        """Ask for an operation of the service's document: all nodes, or those of a label, or some.

        ``body`` is JSON, or bytes; ``value`` of an answer is JSON, else bytes. What changes
        something needs one node by its name.
        """
        sent = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            sent.setdefault("Content-Type", JSON)
            body = json.dumps(body).encode()
        payload = body if isinstance(body, bytes) else b""
        text = urlencode(query or {})
        question = Question(operation, target, text, sent, payload, timeout_s)
        return self._asked(question, _Choice(nodes, label, limit), content)

    def processes(  # noqa: PLR0913 - what a process is, and whom to ask
        self,
        *,
        comm: str | None = None,
        exe: str | None = None,
        uid: int | None = None,
        cgroup: str | None = None,
        container: str | None = None,
        nodes: Sequence[str] | None = None,
        label: str | None = None,
        limit: int | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> AsyncAnswers[list[Process]]:
        """List the processes of all nodes that fit (shell globs)."""
        match = {"comm": comm, "exe": exe, "uid": uid, "cgroup": cgroup, "container": container}
        query = urlencode(calls.parameters(match))
        question = Question("list_processes", query=query, timeout_s=timeout_s)

        def parse(reply: Reply) -> list[Process]:
            return parsed(calls.processes(match), reply)

        return self._asked(question, _Choice(nodes, label, limit), parse)

    async def nodes(
        self,
        *,
        nodes: Sequence[str] | None = None,
        label: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> list[NodeInfo]:
        """List all nodes that are there, and those of which heartbeats are kept."""
        question = Question(subjects.CLOCK, timeout_s=timeout_s)
        answers = self._asked(question, _Choice(nodes, label), content)
        came = [each async for each in answers]
        heartbeats = await self._heartbeats()
        return sorted((node_of(each, heartbeats) for each in came), key=lambda each: each.name)

    def node(self, name: str) -> AsyncClient:
        """Give one node as a service like any, over the same connection; nobody has to close it."""
        return AsyncClient.at(self.way(name).place)

    def way(self, name: str) -> Node:
        """Say how a node is reached. WrongName for what is no node's name."""
        return replace(self._way, name=subjects.check_node(name))

    async def close(self) -> None:
        """End the connection."""
        await self._link.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _asked(
        self, question: Question, choice: _Choice, parse: Callable[[Reply], T]
    ) -> AsyncAnswers[T]:
        choice.check()

        async def replies() -> AsyncGenerator[Reply]:
            asking = await self._link.asking()
            roster = self._roster(asking)
            whom = await choice.whom(asking, roster)
            if whom is None:
                return
            seconds = question.timeout_s
            async for reply in Scatter(asking, question, whom, timeout_s=seconds, roster=roster):
                if len(whom.nodes) == 1 and _needs_deadline(reply):
                    # Nothing was done: it is asked for once more, with what it lacks.
                    late = replace(question, not_after=await _deadline(asking, reply.node, seconds))
                    async for each in Scatter(asking, late, whom, timeout_s=seconds, roster=roster):
                        yield each
                else:
                    yield reply

        return AsyncAnswers(replies, parse)

    def _roster(self, asking: Asking) -> Roster:
        if asking not in self._rosters:
            self._rosters = {asking: Roster(asking)}
        return self._rosters[asking]

    async def _heartbeats(self) -> Mapping[str, Heartbeat]:
        try:
            return await self._roster(await self._link.asking()).heartbeats() or {}
        except Refusal as refusal:
            raise error_of(refusal) from refusal


class Fleet:
    """The same for who waits; of use to several threads at once."""

    def __init__(
        self,
        nats: str | None = None,
        *,
        client: str | None = None,
        nkey: str | os.PathLike[str] | None = None,
        credentials: str | os.PathLike[str] | None = None,
    ) -> None:
        self._fleet = AsyncFleet(nats, client=client, nkey=nkey, credentials=credentials)
        self._thread = Thread()

    def ask(  # noqa: PLR0913 - as the other
        self,
        operation: str,
        target: str | None = None,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        nodes: Sequence[str] | None = None,
        label: str | None = None,
        limit: int | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Answers[Any]:
        """See `AsyncFleet.ask`."""
        asked = self._fleet.ask(
            operation,
            target,
            query=query,
            body=body,
            headers=headers,
            nodes=nodes,
            label=label,
            limit=limit,
            timeout_s=timeout_s,
        )
        return Answers(asked, self._thread)

    def processes(  # noqa: PLR0913 - as the other
        self,
        *,
        comm: str | None = None,
        exe: str | None = None,
        uid: int | None = None,
        cgroup: str | None = None,
        container: str | None = None,
        nodes: Sequence[str] | None = None,
        label: str | None = None,
        limit: int | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Answers[list[Process]]:
        """See `AsyncFleet.processes`."""
        asked = self._fleet.processes(
            comm=comm,
            exe=exe,
            uid=uid,
            cgroup=cgroup,
            container=container,
            nodes=nodes,
            label=label,
            limit=limit,
            timeout_s=timeout_s,
        )
        return Answers(asked, self._thread)

    def nodes(
        self,
        *,
        nodes: Sequence[str] | None = None,
        label: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> list[NodeInfo]:
        """See `AsyncFleet.nodes`."""
        return self._thread.do(self._fleet.nodes(nodes=nodes, label=label, timeout_s=timeout_s))

    def node(self, name: str) -> Client:
        """See `AsyncFleet.node`."""
        return Client.at(replace(self._fleet.way(name), thread=self._thread).place)

    def close(self) -> None:
        """End the connection, and the thread."""
        self._thread.do(self._fleet.close())
        self._thread.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which nodes are asked."""

    nodes: Sequence[str] | None
    label: str | None
    limit: int | None = None

    def check(self) -> None:
        """Raise ValueError for what cannot be meant."""
        if self.nodes is not None and self.label is not None:
            raise ValueError("`nodes` names them, and `label` does: give one of both")
        if self.limit is not None and not 0 < self.limit <= MOST_NAMED:
            raise ValueError(f"`limit` is a number of nodes, from 1 to {MOST_NAMED}")
        self._all()

    def _all(self) -> Whom:
        if self.nodes is not None:
            return Whom.named(self.nodes)
        return Whom() if self.label is None else Whom.group(*subjects.label(self.label))

    async def whom(self, asking: Asking, roster: Roster) -> Whom | None:
        """Say who is asked; None if there is nobody. Raises Refusal."""
        every = self._all()
        if self.limit is None:
            return every
        names: Sequence[str] = every.nodes
        if not names:
            roll = Scatter(asking, Question(subjects.CLOCK), every, roster=roster)
            names = sorted([each.node async for each in roll if each.how == "answered"])
        return Whom.named(names[: self.limit]) if names else None


async def _deadline(asking: Asking, node: str, seconds: float) -> int:
    """Say by a node's clock when a request is too late. Raises Refusal."""
    try:
        async with asyncio.timeout(seconds):
            return await asking.clock_ns(node) + int(seconds * _SECOND_NS)
    except TimeoutError:
        raise Refusal(bus.DEADLINE, f"the node {node!r} does not tell its clock") from None


def _needs_deadline(reply: Reply) -> bool:
    return reply.refusal is not None and reply.refusal.kind.slug == bus.NEEDS_DEADLINE.slug
