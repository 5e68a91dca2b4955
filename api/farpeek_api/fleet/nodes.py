"""Nodes, asked in the names of many clients as HTTP asks a service: by method, path and headers."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from farpeek_api.bus import messages, problems, subjects
from farpeek_api.bus.asking import Question
from farpeek_api.bus.known import Known
from farpeek_api.bus.problems import NOBODY, Refusal
from farpeek_api.bus.roster import Roster
from farpeek_api.bus.scatter import Scatter
from farpeek_api.fleet.callers import broker_errors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from farpeek_api.bus.answers import Answer
    from farpeek_api.bus.asking import Asking
    from farpeek_api.bus.known import Found
    from farpeek_api.bus.replies import Outcome, Reply, Whom
    from farpeek_api.fleet.callers import Callers

CREDIT: Final = 2
"""Messages of one answer that are on their way: the next one comes while one is passed on."""
HELD: Final = CREDIT * messages.LARGEST_CHUNK
"""Bytes of one answer that may be held."""

_TIMEOUT_S: Final = 30.0
_WAY_S: Final = 5.0
"""More than that, for the way there and back."""
_FRESH_S: Final = 10.0
_MOST_KNOWN: Final = 65_536
_LOOK: Final = "look whether it was done before you send it again"
_OF_THE_BUS: Final = frozenset(
    {
        messages.STATUS,
        messages.CLOCK,
        messages.CHUNK,
        messages.END,
        messages.BYTES,
        messages.ERROR.lower(),
        messages.ERROR_CODE.lower(),
    }
)


class Asked:
    """An answer that has begun. Whatever goes wrong is a Refusal."""

    def __init__(
        self, answer: Answer, first: bytes | None, broker: str, closed: Callable[[int], None]
    ) -> None:
        """``closed``: told how many bytes have come, when no more is wanted."""
        self._answer = answer
        self._closed = closed
        self._broker = broker
        self.first = first or b""
        """The bytes that came with its head."""
        self.status = answer.status
        self.headers = {k: v for k, v in answer.headers.items() if k not in _OF_THE_BUS}
        """By their names in small letters."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing follows."""
        return self._answer.is_over

    async def part(self) -> bytes | None:
        """Give the next bytes; None at the end. Raises Refusal."""
        with broker_errors(self._broker):
            return await self._answer.part()

    async def keep(self) -> None:
        """Say that more of it is wanted still. Raises Refusal."""
        with broker_errors(self._broker):
            await self._answer.keep()

    async def send(self, payload: bytes) -> None:
        """Send bytes behind the request. Raises Refusal."""
        with broker_errors(self._broker):
            await self._answer.send(payload)

    async def close(self) -> None:
        """Want no more of it."""
        self._closed(self._answer.bytes_came)
        await _close(self._answer, self._broker)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request of HTTP says, besides whom and for what it asks."""

    query: str
    headers: Mapping[str, str]
    """By their names in small letters; those that the operation does not take are left out."""
    body: bytes


class Nodes:
    """All nodes that were asked, as far as they are known. Lives on the event loop."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers
        self._known: OrderedDict[str, Known] = OrderedDict()
        self.open = 0
        """Answers of single nodes that are under way."""
        self.came = 0
        """Bytes of those that were."""

    @property
    def known(self) -> int:
        """How many nodes have told which operations they have."""
        return sum(each.learned_at is not None for each in self._known.values())

    async def find(self, client: str, node: str, method: str, path: str) -> Found:
        """Find what a request asks a node for, in its own document. Raises Refusal."""
        known = self._of(node)
        asking = await self._callers.asking(client)
        found = known.find(method, path)
        learned = known.learned_at
        is_old = learned is None or time.monotonic() - learned > _FRESH_S
        if found is None and is_old:
            async with self._explained(node, asking):
                await known.learn(asking)
            found = known.find(method, path)
        if found is None:
            raise Refusal(
                problems.UNKNOWN_OPERATION,
                f"the node {node!r} has no operation for {method} and that path: `GET "
                f"/v1/nodes/{node}/openapi.json` lists them",
            )
        return found

    async def ask(self, client: str, node: str, found: Found, wanted: Wanted) -> Asked:
        """Ask; whoever has the answer has to close it. Raises Refusal."""
        known = self._of(node)
        asking = await self._callers.asking(client)
        async with self._explained(node, asking):
            question = await self._question(known, asking, found, wanted)
            answer = await asking.ask(node, question)
            try:
                return await self._begun(known, answer, found)
            except BaseException:
                await _close(answer, self._callers.shown)
                raise

    async def scatter(
        self, client: str, whom: Whom, question: Question, most: int
    ) -> tuple[AsyncGenerator[Reply], Outcome]:
        """Ask many; of their answers ``most`` bytes are held. Raises Refusal, as the iterator."""
        asking = await self._callers.asking(client)
        _check_size(asking, question.body)
        scattered = Scatter(asking, question, whom, timeout_s=question.timeout_s, most=most)
        return self._replies(scattered), scattered.outcome

    async def _replies(self, scattered: Scatter) -> AsyncGenerator[Reply]:
        async with aclosing(aiter(scattered)) as replies:
            while True:
                with broker_errors(self._callers.shown):
                    try:
                        reply = await anext(replies)
                    except StopAsyncIteration:
                        return
                yield reply

    @asynccontextmanager
    async def _explained(self, node: str, asking: Asking) -> AsyncGenerator[None]:
        """Say what errors mean; of a node that is not there, when it was. Raises Refusal."""
        try:
            with broker_errors(self._callers.shown):
                yield
        except Refusal as refusal:
            if refusal.kind is not NOBODY:
                raise
            self._known.pop(node, None)
            with broker_errors(self._callers.shown):
                raise await Roster(asking).refusal(node) from refusal

    async def _question(
        self, known: Known, asking: Asking, found: Found, wanted: Wanted
    ) -> Question:
        _check_size(asking, wanted.body)
        asked = messages.folded(wanted.headers)
        sent = {k.decode(): v.decode() for k, v in found.route.sent(asked)}
        sent.pop(messages.NOT_AFTER.lower(), None)
        not_after = messages.count(asked, messages.NOT_AFTER)
        if found.route.changes:
            soon = await known.not_after(asking, _TIMEOUT_S)
            not_after = soon if not_after is None else min(soon, not_after)
        return Question(
            found.operation,
            found.named,
            wanted.query,
            sent,
            wanted.body,
            _TIMEOUT_S,
            not_after,
            CREDIT,
        )

    async def _begun(self, known: Known, answer: Answer, found: Found) -> Asked:
        answer.is_endless = found.route.endless
        try:
            async with asyncio.timeout(_TIMEOUT_S + _WAY_S):
                with broker_errors(self._callers.shown):
                    first = await answer.part()
        except TimeoutError:
            raise _silent(known.node, found) from None
        except Refusal as refusal:
            is_lost = refusal.kind in (problems.BROKEN, problems.BROKER_UNREACHABLE)
            if is_lost and found.route.changes:
                raise Refusal(problems.OUTCOME_UNKNOWN, f"{refusal}: {_LOOK}") from refusal
            raise
        known.heard(answer)
        self.open += 1
        return Asked(answer, first, self._callers.shown, self._over)

    def _over(self, came: int) -> None:
        self.open -= 1
        self.came += came

    def _of(self, node: str) -> Known:
        """Give what is known of a node. Raises Refusal where nobody can have that name."""
        try:
            subjects.check_node(node)
        except subjects.WrongName as error:
            raise Refusal(NOBODY, str(error)) from error
        known = self._known.setdefault(node, Known(node))
        self._known.move_to_end(node)
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return known


async def _close(answer: Answer, broker: str) -> None:
    """Want no more of an answer; where the connection has ended, that is so by itself."""
    with suppress(Refusal), broker_errors(broker):
        await answer.close()


def _check_size(asking: Asking, body: bytes) -> None:
    if len(body) > asking.room:
        raise Refusal(
            problems.REQUEST_TOO_LARGE,
            f"the body has {len(body)} bytes, and a message of this broker {asking.room}: split "
            "the request, or raise `max_payload` of the broker",
        )


def _silent(node: str, found: Found) -> Refusal:
    said = f"the node {node!r} has not answered within {_TIMEOUT_S:g} s"
    if found.route.changes:
        return Refusal(problems.OUTCOME_UNKNOWN, f"{said}: {_LOOK}")
    return Refusal(problems.DEADLINE, said)
