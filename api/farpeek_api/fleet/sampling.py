"""One sampler at work: a standing match and a subscription, on behalf of the client that put it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import httpcore2
from wsproto import ConnectionType
from wsproto import events as ws
from wsproto.connection import Connection as WebSocket
from wsproto.utilities import ProtocolError, generate_nonce

from farpeek_api.bus import messages, problems
from farpeek_api.bus.problems import Refusal
from farpeek_api.client import framing
from farpeek_api.client.members import Odd
from farpeek_api.fleet.broker import Gone
from farpeek_api.fleet.service import SWITCHING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from farpeek_api.bus.samplers import Name, Sampler
    from farpeek_api.client.members import Members
    from farpeek_api.fleet.broker import Connection
    from farpeek_api.fleet.routes import Routes
    from farpeek_api.fleet.service import Exchange, LocalService

LABEL: Final = "farpeek-sampler"
"""Of the standing matches that are here for samplers, so that none outlives its agent for long."""

_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0
_PATIENCE_S: Final = 5.0
_READ: Final = 64 << 10
_LARGEST_FRAME: Final = 4 << 20
_LARGEST_ANSWER: Final = 4 << 20
_MOST_PENDING: Final = 1 << 20
"""Bytes that wait for the broker; what comes then is dropped, and counted."""
_NUMBER: Final = 1
"""Of the one subscription of a stream."""
_FIRST_PROBLEM: Final = 400


class Rate:
    """How many bytes of a client's samples go out each second."""

    def __init__(self, most: float) -> None:
        self._most = most
        self._left = most
        self._at = time.monotonic()

    def takes(self, size: int) -> bool:
        """Whether so many may go out now."""
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._at) * self._most)
        self._at = now
        if size > self._left:
            return False
        self._left -= size
        return True


class Sampling:
    """One sampler on one node. Lives on the event loop."""

    def __init__(
        self, name: Name, sampler: Sampler, node: str, service: LocalService, routes: Routes
    ) -> None:
        self.name = name
        self.sampler = sampler
        self._node = node
        self._service = service
        self._routes = routes
        self.state = "waiting"
        self.detail = ""
        self.published = 0
        self.dropped = 0
        """Ticks that were lost, in the service or here."""
        self._run = secrets.token_hex(6)
        self._targets: set[str] = set()

    def about(self) -> dict[str, Any]:
        """Say how it is."""
        return {
            "state": self.state,
            "detail": self.detail,
            "targets": len(self._targets),
            "published": self.published,
            "dropped": self.dropped,
        }

    async def run(self, connection: Connection, rate: Rate) -> None:
        """Sample until its time is over, anew whenever the service ends it. Raises Gone."""
        until = self.sampler.until
        left_s = None if until is None else (until - datetime.now(UTC)).total_seconds()
        try:
            async with asyncio.timeout(left_s):
                await self._again_and_again(connection, rate)
        except TimeoutError:
            self.state, self.detail = "over", ""
        finally:
            self._targets.clear()

    async def _again_and_again(self, connection: Connection, rate: Rate) -> None:
        pause_s = _PAUSE_S
        while True:
            began = time.monotonic()
            try:
                async with self._match() as match:
                    async for shown, frame in self._frames(match):
                        await self._take(shown, frame, connection, rate)
            except Refusal as refusal:
                is_no = refusal.kind.status in (401, 403, 422)
                self.state = "refused" if is_no else "waiting"
                self.detail = f"{refusal.kind.slug}: {refusal}"
            except (Odd, ProtocolError, httpcore2.NetworkError, OSError) as error:
                self.state, self.detail = "waiting", f"the service ended the stream: {error}"
            self._targets.clear()
            if time.monotonic() - began > _LONGEST_PAUSE_S:
                pause_s = _PAUSE_S
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    @contextlib.asynccontextmanager
    async def _match(self) -> AsyncGenerator[str, None]:
        """Have a standing match as long as it is wanted; its id. Raises Refusal."""
        label = {LABEL: f"{self._node}/{self.name.name}"}
        before = await self._asked("list_matches")
        for each in before.get("matches", ()):
            if each.get("labels") == label:  # of an agent that could not end it
                await self._asked("delete_match", str(each["id"]))
        wanted = {
            "match": self.sampler.match.model_dump(exclude_none=True),
            "limit": self.sampler.limit,
            "labels": label,
        }
        made = str((await self._asked("create_match", body=wanted))["id"])
        try:
            yield made
        finally:
            with contextlib.suppress(Refusal, TimeoutError):
                async with asyncio.timeout(_PATIENCE_S):
                    await self._asked("delete_match", made)

    async def _asked(
        self, operation: str, target: str | None = None, body: Mapping[str, Any] | None = None
    ) -> Any:  # noqa: ANN401 - JSON
        """Ask the service for the client. Raises Refusal."""
        route = await self._routes.find(operation)
        headers = {} if body is None else {"content-type": "application/json"}
        if target is not None:
            headers[messages.TARGET] = target
        text = b"" if body is None else json.dumps(body).encode()
        exchange = await self._service.begin(route, headers, text, self.name.client)
        try:
            answer = await _whole(exchange)
        finally:
            await exchange.close()
        if exchange.status >= _FIRST_PROBLEM:
            raise _refusal(exchange.status, answer)
        return json.loads(answer) if answer else {}

    async def _frames(self, match: str) -> AsyncGenerator[tuple[Members, bytes], None]:
        """Subscribe, and give what comes. Raises Refusal, Odd, ..."""
        route = await self._routes.find("stream")
        headers = {
            "connection": "Upgrade",
            "upgrade": "websocket",
            "sec-websocket-key": generate_nonce().decode(),
            "sec-websocket-version": "13",
        }
        exchange = await self._service.begin(route, headers, b"", self.name.client)
        if exchange.status != SWITCHING:
            try:
                raise _refusal(exchange.status, await _whole(exchange))
            finally:
                await exchange.close()
        try:
            wanted = {"id": _NUMBER, "subscribe": self.sampler.subscription(match)}
            async with contextlib.aclosing(_messages(exchange, wanted)) as frames:
                async for frame in frames:
                    yield framing.split_frame(frame)[0], frame
        finally:
            await exchange.stream.aclose()

    async def _take(self, shown: Members, frame: bytes, connection: Connection, rate: Rate) -> None:
        """Take what the service says of the subscription. Raises Refusal, Gone."""
        if "problem" in shown.all:
            raise _refusal(_FIRST_PROBLEM, json.dumps(shown.all["problem"]).encode())
        if "ended" in shown.all:
            raise Refusal(problems.BROKEN, f"the service ended it: {shown.text('ended')}")
        if "subscribed" in shown.all:
            self.state, self.detail = "running", ""
        elif "left" in shown.all:
            self._targets.discard(shown.text("target"))
            await self._publish(frame, connection, rate)
        elif "tick" in shown.all:
            self._targets.add(shown.text("target"))
            self.dropped += shown.number("dropped")
            await self._publish(frame, connection, rate)

    async def _publish(self, frame: bytes, connection: Connection, rate: Rate) -> None:
        """Send a sample, or count it: nothing waits for a broker that is slow. Raises Gone."""
        if not connection.is_open:
            raise Gone
        if len(frame) > connection.room or not rate.takes(len(frame)):
            self.dropped += 1
            return
        headers = {
            messages.CLOCK: str(messages.clock_ns()),
            messages.RUN: self._run,
            messages.NUMBER: str(self.published),
            messages.DROPPED: str(self.dropped),
        }
        subject = self.name.samples(self._node)
        if await connection.publish_now(subject, frame, headers, _MOST_PENDING):
            self.published += 1
        else:
            self.dropped += 1


async def _messages(exchange: Exchange, first: Mapping[str, Any]) -> AsyncGenerator[bytes, None]:
    """Say one thing on a WebSocket, and give all binary messages that come."""
    stream = exchange.stream
    connection = WebSocket(ConnectionType.CLIENT)
    await stream.write(connection.send(ws.TextMessage(data=json.dumps(first))), None)
    whole = bytearray()
    while came := await stream.read(_READ, None):
        connection.receive_data(came)
        for event in connection.events():
            if isinstance(event, ws.Ping):
                await stream.write(connection.send(event.response()), None)
            elif isinstance(event, ws.CloseConnection):
                return
            elif isinstance(event, ws.BytesMessage):
                whole += event.data
                if len(whole) > _LARGEST_FRAME:
                    raise Odd(f"a frame has more than {_LARGEST_FRAME} bytes")
                if event.message_finished:
                    yield bytes(whole)
                    whole.clear()


async def _whole(exchange: Exchange) -> bytes:
    found = bytearray()
    async for part in exchange.parts():
        found += part
        if len(found) > _LARGEST_ANSWER:
            raise Refusal(problems.BROKEN, "the service's answer has no end")
    return bytes(found)


def _refusal(status: int, answer: bytes) -> Refusal:
    """Give the problem that the service has told of."""
    try:
        shown: Any = json.loads(answer)
        slug = str(shown["type"]).rpartition(":")[2]
        kind = problems.Kind(int(shown.get("status", status)), slug, str(shown["title"]))
        return Refusal(kind, str(shown["detail"])[:500])
    except (ValueError, KeyError, TypeError, AttributeError):
        return Refusal(problems.BROKEN, f"the service answers with status {status}")
