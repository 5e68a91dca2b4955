"""What happens to targets, told to the broker so that it is kept: each event once, none in silence.

The service keeps the last events itself, and their numbers rise across its restarts. So after
whatever has broken, this goes on behind the last one that the broker has, and where the service
cannot, it says `lost`.
"""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import nats.errors

from farpeek_api.bus import kept, messages, subjects
from farpeek_api.bus.problems import Refusal
from farpeek_api.client.events import BlockParser, number_and_kind
from farpeek_api.client.members import Odd, parse
from farpeek_api.fleet.broker import log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from farpeek_api.fleet.broker import Connection
    from farpeek_api.fleet.service import LocalService

_PAUSE_S: Final = 2.0
_LONGEST_PAUSE_S: Final = 60.0
_TOGETHER: Final = 64
"""Events that the broker has not confirmed yet."""
_LARGEST: Final = 48 << 10


class _Event(NamedTuple):
    number: int
    kind: str
    shown: dict[str, Any]


class _NotTaken(Exception):
    """The broker does not keep an event; ``str(error)`` says why."""


class History:
    """The events of one service."""

    def __init__(self, node: str, service: LocalService) -> None:
        self._node = node
        self._service = service
        self._subject = subjects.request(subjects.UP, node, kept.EVENT)
        self._last: int | None = None
        """The number of the last event that is kept, once that is known."""
        self._said = ""

    async def run(self, connection: Connection) -> None:
        """Tell of them, until the connection ends. Raises Gone."""
        pause_s, is_new = _PAUSE_S, True
        while True:
            try:
                if is_new or self._last is None:
                    self._last = max(await self._find(connection), self._last or 0)
                    is_new = False
                async for events in self._events(self._last):
                    await self._tell(connection, events)
                    pause_s = _PAUSE_S
            except (kept.NotKept, nats.errors.TimeoutError):
                log.debug("events are not kept: %s", kept.NOBODY)
            except (Refusal, _NotTaken, Odd) as error:
                self._say(f"events are not kept: {error}")
            await asyncio.sleep(random.uniform(pause_s / 2, pause_s))  # noqa: S311 - so that not all come at once
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _find(self, connection: Connection) -> int:
        """Ask the broker for the number of the last one that it has; 0 if it has none."""
        found = await kept.message(connection.client, kept.EVENTS, self._subject)
        number = "" if found is None else found.headers.get(messages.NUMBER, "")
        return int(number) if number.isdecimal() else 0

    async def _events(self, after: int) -> AsyncIterator[list[_Event]]:
        parser = BlockParser()
        async for part in self._service.events(after):
            yield [_parsed(each) for each in parser.feed(part)]

    async def _tell(self, connection: Connection, events: Sequence[_Event]) -> None:
        """Have events kept, in their order; what fails is told of again. Raises _NotTaken, Gone."""
        for first in range(0, len(events), _TOGETHER):
            together = events[first : first + _TOGETHER]
            await asyncio.gather(*(self._keep(connection, each) for each in together))
            self._last = together[-1].number
        if events:
            self._say("")

    async def _keep(self, connection: Connection, event: _Event) -> None:
        number, kind, shown = event
        about = {"node": self._node, "number": number, "event": kind}
        text = json.dumps({**shown, **about}).encode()
        if len(text) > _LARGEST:
            text = json.dumps({**about, "too_large": len(text)}).encode()
        headers = {
            # The broker takes no second one with that.
            "Nats-Msg-Id": f"{self._node}.{number}.{kind}",
            messages.EVENT: kind,
            messages.NUMBER: str(number),
        }
        try:
            answer = await connection.ask(self._subject, text, headers)
        except nats.errors.NoRespondersError:
            raise kept.NotKept(kept.NOBODY) from None
        _check(answer.data)

    def _say(self, text: str) -> None:
        if text and text != self._said:
            log.info("%s", text)
        self._said = text


def _parsed(fields: Mapping[bytes, bytes]) -> _Event:
    number, kind = number_and_kind(fields)
    return _Event(number, kind, dict(parse(fields.get(b"data", b"")).all))


def _check(answer: bytes) -> None:
    """Raise _NotTaken if an answer says that something is not kept."""
    try:
        said: Any = json.loads(answer)
        error = said.get("error")
    except (ValueError, AttributeError):
        raise _NotTaken("the broker's answer cannot be read") from None
    if error is not None:
        raise _NotTaken(f"the broker says: {str(error)[:200]}")
