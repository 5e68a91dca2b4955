"""Which nodes there are, by their latest heartbeats, which JetStream keeps where it is there.

The stream `FARPEEK_NODES` has one message for each node, and the broker's time of it, so that no
node's clock is believed. Without the stream, or the right to it, nothing is known.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from farpeek_api.bus import problems, subjects
from farpeek_api.bus.problems import LOST, NOBODY, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nats.aio.msg import Msg

    from farpeek_api.bus.asking import Asking

STREAM: Final = "FARPEEK_NODES"
HEARTBEAT: Final = "heartbeat"
OFFLINE: Final = problems.Kind(503, "node-offline", "The node is not connected", retryable=True)

_USUAL_S: Final = 10.0
"""Seconds between two heartbeats of a node that does not say it."""
_LONGEST_S: Final = 3600.0
_MISSED: Final = 3.5
"""Heartbeats that may be missing of a node that is there."""
_MOST: Final = 65_536
_BATCH: Final = 256
_KEPT_S: Final = 3.0
"""How long what was found is taken for true."""
_DIGITS: Final = 20
_NO_MORE: Final = 1 << 63
_PATH: Final = f"$JS.API.DIRECT.GET.{STREAM}"


class Heartbeat(NamedTuple):
    """What a node has said of itself at last, and when."""

    node: str
    at: datetime
    """By the broker's clock."""
    about: Mapping[str, Any]

    @property
    def labels(self) -> Mapping[str, Any]:
        """The node's labels."""
        found = self.about.get("labels")
        return cast("Mapping[str, Any]", found) if isinstance(found, dict) else {}

    @property
    def shown(self) -> str:
        """When it was, for people."""
        return self.at.strftime("%Y-%m-%dT%H:%M:%SZ")

    def was_there(self, now: datetime) -> bool:
        """Whether the node was there, at that time of the broker's clock."""
        every = self.about.get("every_s")
        usual = every if isinstance(every, (int, float)) and 0 < every < _LONGEST_S else _USUAL_S
        return (now - self.at).total_seconds() <= usual * _MISSED


class Offline(Refusal):
    """A node is not there, and its latest heartbeat says when it was."""

    def __init__(self, heartbeat: Heartbeat) -> None:
        super().__init__(
            OFFLINE,
            f"the node {heartbeat.node!r} is not connected: it was seen at {heartbeat.shown}",
        )
        self.heartbeat = heartbeat


class Roster:
    """All nodes whose heartbeats are kept, as one client may see them."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._found: dict[str, Heartbeat] = {}
        self._found_at = float("-inf")

    async def heartbeats(self) -> Mapping[str, Heartbeat] | None:
        """Give all nodes' latest; None where nobody knows. Raises Refusal if the broker goes."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._found_at > _KEPT_S:
            found = await self._all()
            if found is None:
                return None
            self._found, self._found_at = found, loop.time()
        return self._found

    async def refusal(self, node: str) -> Refusal:
        """Say why a node does not answer that nobody listens for. Raises Refusal as the other."""
        asked = {"last_by_subj": subjects.request(subjects.UP, node, HEARTBEAT)}
        for msg in await self._asked(asked) or ():
            heartbeat = _heartbeat(msg)
            if heartbeat is not None and heartbeat.node == node:
                return Offline(heartbeat)
        return Refusal(NOBODY, f"no node {node!r} is connected to the broker")

    async def _all(self) -> dict[str, Heartbeat] | None:
        everybody = subjects.request(subjects.UP, "*", HEARTBEAT)
        found: dict[str, Heartbeat] = {}
        first = 1
        while len(found) < _MOST:
            asked = {"seq": first, "next_by_subj": everybody, "batch": _BATCH}
            messages = await self._asked(asked)
            if messages is None:
                return None
            if not messages:
                break
            read = [each for msg in messages if (each := _heartbeat(msg)) is not None]
            found |= {each.node: each for each in read}
            first = _sequence(messages[-1]) + 1
        return found

    async def _asked(self, what: Mapping[str, object]) -> list[Msg] | None:
        """Ask for what is kept; None where it is not, or not for this client."""
        try:
            found = await self._asking.inquire(_PATH, json.dumps(what).encode(), _is_last)
        except Refusal as refusal:
            if refusal.kind is LOST:
                raise
            return None
        return [each for each in found if "Status" not in (each.headers or {})]


def _time(shown: object) -> datetime | None:
    """Read a time as the broker writes it (RFC 3339)."""
    try:
        found = datetime.fromisoformat(shown) if isinstance(shown, str) else None
    except ValueError:
        return None
    return None if found is None or found.tzinfo is None else found.astimezone(UTC)


def _is_last(msg: Msg) -> bool:
    """Whether no more comes of a batch. Brokers before 2.11 know of none, and send one message."""
    headers = msg.headers or {}
    return "Status" in headers or "Nats-Num-Pending" not in headers


def _sequence(msg: Msg) -> int:
    number = (msg.headers or {}).get("Nats-Sequence", "")
    return int(number) if number.isdecimal() and len(number) < _DIGITS else _NO_MORE


def _heartbeat(msg: Msg) -> Heartbeat | None:
    """Read one; None for what is none, whoever has sent it."""
    headers = msg.headers or {}
    node = _node(headers.get("Nats-Subject"))
    at = _time(headers.get("Nats-Time-Stamp"))
    try:
        said: object = json.loads(msg.data)
    except ValueError:
        return None
    if node is None or at is None or not isinstance(said, dict):
        return None
    about = cast("Mapping[str, Any]", said)
    # A client can have answers of the broker's sent to any subject: those are no node's words.
    return Heartbeat(node, at, about) if about.get("node") == node else None


def _node(subject: object) -> str | None:
    """Give whose heartbeat a subject is."""
    asked = subjects.parse(subject) if isinstance(subject, str) else None
    is_one = asked is not None and asked.client == subjects.UP and asked.operation == HEARTBEAT
    return asked.node if asked is not None and is_one else None
