"""The agent: what comes from the broker goes to the service, on behalf of whoever has asked."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from farpeek_api.bus import messages, problems, subjects
from farpeek_api.bus.problems import Refusal
from farpeek_api.fleet import passing
from farpeek_api.fleet.broker import Gone, log
from farpeek_api.fleet.heartbeats import Heartbeats
from farpeek_api.fleet.history import History
from farpeek_api.fleet.presence import ASKING_S, Counts, Presence, Visible
from farpeek_api.fleet.routes import Routes
from farpeek_api.fleet.samplers import Samplers
from farpeek_api.fleet.transfers import Answer, Part, Sent, Under

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nats.aio.msg import Msg

    from farpeek_api.bus.catalogue import Route
    from farpeek_api.bus.messages import Terms
    from farpeek_api.bus.subjects import Asked
    from farpeek_api.fleet.broker import Broker, Connection
    from farpeek_api.fleet.service import LocalService

INTERNAL: Final = problems.Kind(500, "internal", "Something went wrong in the agent")

_LOOK_S: Final = 5.0


class Beside(Protocol):
    """What is done on each connection, beside what is asked for."""

    async def run(self, connection: Connection) -> None:
        """Do it, until the connection ends. Raises Gone."""


class Agent:
    """One node of the fleet. Lives on the event loop."""

    def __init__(
        self, service: LocalService, node: str, labels: Mapping[str, str], deadline_s: float
    ) -> None:
        self._service = service
        self._node = node
        self._labels = labels
        self._deadline_s = deadline_s
        self._presence = Presence(node, labels)
        self._under = Under()
        self._counts = Counts()
        self._routes = Routes(service)
        self._is_asking = True
        self._samplers = Samplers(node, service, self._routes)
        self._beside: list[Beside] = [
            Heartbeats(self._presence, service),
            History(node, service),
            self._samplers,
            self._routes,
        ]
        self._running: list[asyncio.Task[None]] = []

    async def run(self, broker: Broker) -> None:
        """Serve, for ever. Raises Refusal if another agent has the name."""
        running = asyncio.create_task(broker.run(self._begin))
        looking = asyncio.create_task(self._look())
        try:
            ends: set[asyncio.Future[Any]] = {running, looking, self._presence.taken}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self._presence.taken.done():
                raise self._presence.taken.result()
            running.result()
        finally:
            for each in (running, looking):
                each.cancel()
                with suppress(asyncio.CancelledError):
                    await each
            self._under.stop()
            await self._stop_beside()

    async def _begin(self, connection: Connection) -> None:
        """Serve on a new connection; what was under way on the one before is lost. Raises Gone."""
        self._under.stop()
        await self._stop_beside()

        async def said(msg: Msg) -> None:
            with suppress(Gone):
                await self._presence.came(msg.subject.rpartition(".")[2], msg.data)

        async def came(msg: Msg) -> None:
            with suppress(Gone):
                await self._came(connection, msg)

        await connection.subscribe(self._presence.subject, said)
        await connection.settle()
        await self._presence.say_hello(connection)
        if self._is_asking:
            await asyncio.wait({self._presence.taken}, timeout=ASKING_S)
            if self._presence.taken.done():
                raise Gone
            self._is_asking = False
        for subject in subjects.of_node(self._node, self._labels):
            await connection.subscribe(subject, came)
        visible = Visible(connection, self._presence, self._counts)
        await visible.start()
        await connection.settle()
        visible.know(await self._known())
        self._running = [
            asyncio.create_task(_while_open(each, connection)) for each in self._beside
        ]

    async def _stop_beside(self) -> None:
        running, self._running = self._running, []
        for each in running:
            each.cancel()
        for each in running:
            with suppress(asyncio.CancelledError):
                await each

    async def _known(self) -> dict[str, str]:
        """Say what the service can do, for those who list nodes."""
        capabilities: Any = (await self._service.info()).get("capabilities")
        if not isinstance(capabilities, dict):
            return {}
        shown = json.dumps(capabilities, separators=(",", ":"))
        return {"capabilities": shown[:2048]}

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            self._under.look()

    async def _came(self, connection: Connection, msg: Msg) -> None:
        """Take one message: a request, or a word about one. Raises Gone."""
        asked = subjects.parse(msg.subject)
        client = _client(msg.subject) if asked is None else asked.client
        if client == subjects.UP:
            return
        number = subjects.number_of(msg.reply, client)
        if asked is not None and asked.operation in subjects.ABOUT_OTHERS:
            if not self._hear(asked, msg) and asked.operation == subjects.CREDIT:
                await self._give_up(connection, asked, number, msg.reply)
            return
        if number is None:
            return  # its answer would go to somebody who has not asked
        headers = messages.folded(msg.headers)
        try:
            terms = messages.terms(headers)
            refusal = None
        except Refusal as error:
            terms, refusal = messages.Terms(), error
        answer = Answer(connection, msg.reply, self._node, terms.credit, self._deadline_s)
        try:
            if refusal is not None:
                raise refusal
            if asked is None:
                raise Refusal(problems.MALFORMED, _NO_SUBJECT)
            self._under.check(client, number)
        except Refusal as error:
            await answer.refuse(error)
            return
        part = Part(answer, Sent())
        forget = self._under.add(client, number, part)
        part.task = asyncio.create_task(self._serve(asked, headers, msg.data, terms, part))
        part.task.add_done_callback(lambda _: forget())

    async def _give_up(
        self, connection: Connection, asked: Asked, number: str | None, inbox: str
    ) -> None:
        """Tell who waits for an answer that no more of it comes. Raises Gone.

        It was lost with another connection, or another agent; nobody else could say so.
        """
        if number is not None and number == asked.about:
            await Answer(connection, inbox, self._node, 0, self._deadline_s).end(
                b"", messages.CUT, {}
            )

    def _hear(self, asked: Asked, msg: Msg) -> bool:
        """Take a word about a request; False if that is not under way."""
        part = self._under.find(asked.client, asked.about)
        if part is None:
            return False
        headers = messages.folded(msg.headers)
        try:
            if asked.operation == subjects.CREDIT:
                part.answer.give(messages.credit(headers))
            elif asked.operation == subjects.SEND:
                part.answer.seen = asyncio.get_running_loop().time()
                part.sent.add(messages.number(headers), msg.data)
            else:
                part.stop()
        except Refusal:
            part.sent.is_wrong = True
        if part.sent.is_wrong:
            part.stop()
        return True

    async def _serve(
        self, asked: Asked, headers: Mapping[str, str], body: bytes, terms: Terms, part: Part
    ) -> None:
        """Do a request, and see that its answer has an end."""
        began_ns = time.monotonic_ns()
        failed = True
        try:
            with suppress(Gone):
                failed = not await self._answered(asked, headers, body, terms, part)
        finally:
            if self._routes.knows(asked.operation):
                self._counts.add(asked.operation, time.monotonic_ns() - began_ns, failed=failed)

    async def _answered(
        self, asked: Asked, headers: Mapping[str, str], body: bytes, terms: Terms, part: Part
    ) -> bool:
        try:
            if asked.operation == subjects.CLOCK:
                await _tell(part.answer, {**self._presence.about(), **self._routes.about()})
            elif asked.operation == subjects.SAMPLERS:
                await _tell(part.answer, self._samplers.of(asked.client))
            else:
                await self._pass_on(asked, headers, body, terms, part)
        except Refusal as refusal:
            await part.answer.refuse(refusal)
            return False
        except asyncio.CancelledError:
            if part.is_lost:
                await part.answer.refuse(Refusal(problems.NO_CREDIT, _NO_SIGN))
            elif part.sent.is_wrong:
                await part.answer.refuse(Refusal(problems.BROKEN, _WRONG_ORDER))
            else:
                await part.answer.end(b"", messages.CUT, {})
            raise
        except Gone:
            raise
        except Exception:  # noqa: BLE001 - the last net: nothing may go without an answer
            log.exception("a request failed")
            await part.answer.refuse(Refusal(INTERNAL, "the log of the agent says more"))
            return False
        return True

    async def _pass_on(
        self, asked: Asked, headers: Mapping[str, str], body: bytes, terms: Terms, part: Part
    ) -> None:
        terms.check_time()
        route = await self._routes.find(asked.operation)
        self._check(route, asked, terms)
        exchange = await passing.ask(self._service, route, headers, body, asked.client, terms)
        try:
            await passing.back(route, exchange, part, terms)
        finally:
            with suppress(Refusal):
                await exchange.close()

    def _check(self, route: Route, asked: Asked, terms: Terms) -> None:
        if route.changes and asked.node != self._node:
            raise Refusal(
                problems.NEEDS_DEADLINE,
                "a deadline is by the clock of one node: send what changes something to a node by "
                "its name",
            )
        if route.changes and terms.not_after is None:
            raise Refusal(
                problems.NEEDS_DEADLINE,
                f"this changes something, and messages can come late: send `{messages.NOT_AFTER}`, "
                f"in ns of the node's clock, which each answer has in `{messages.CLOCK}`",
            )
        if route.endless and not terms.credit:
            raise Refusal(
                problems.TOO_LARGE,
                f"its answer has no end: ask with `{messages.CREDIT}`, for several messages",
            )


async def _tell(answer: Answer, what: Mapping[str, Any]) -> None:
    """Say what the agent itself knows, and what its clock shows."""
    kind = {messages.STATUS: "200", "content-type": "application/json"}
    await answer.end(json.dumps(what).encode(), messages.COMPLETE, kind)


async def _while_open(beside: Beside, connection: Connection) -> None:
    try:
        await beside.run(connection)
    except Gone:
        pass
    except Exception:  # noqa: BLE001 - the last net: all else of the agent goes on
        if connection.is_open:  # else it ends with the connection, however it was told of that
            log.exception("%s has ended", type(beside).__name__)


def _client(subject: str) -> str:
    """Give the client of a subject that is wrong behind it; nobody, if there is none."""
    parts = subject.split(".", 3)
    return parts[2] if len(parts) > 2 else subjects.UP  # noqa: PLR2004 - farpeek.v1.CLIENT


_NO_SUBJECT: Final = (
    "the subject is to be farpeek.v1.CLIENT.NODE.OPERATION: names have 1 to 63 of a-z, digits and -"
)
_NO_SIGN: Final = (
    "the client has said nothing of it for a minute: give credit as long as you listen"
)
_WRONG_ORDER: Final = (
    "what the client has sent did not come whole and in order, or too much of it at once: begin "
    f"anew, and wait for `{messages.TAKEN}`"
)
