"""Which agent is the one of its name, and what it says of itself to NATS's own tools."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import secrets
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, cast

from nats.micro.service import (
    EndpointInfo,
    EndpointStats,
    Service,
    ServiceConfig,
    ServiceInfo,
    ServiceStats,
)

from farpeek_api.bus import problems, subjects
from farpeek_api.bus.problems import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nats.aio.msg import Msg

    from farpeek_api.fleet.broker import Connection

HELLO: Final = "hello"
HERE: Final = "here"
ASKING_S: Final = 1.0
"""How long an agent waits at its start for another one of its name to say that it is there."""

VERSION: Final = version("farpeek")
_LONGEST: Final = 4096


class Presence:
    """One agent among those of its name: the one that was there first stays."""

    def __init__(self, node: str, labels: Mapping[str, str]) -> None:
        self.node = node
        self.labels = labels
        self.instance = secrets.token_hex(8)
        self.began_ns = time.time_ns()
        self.taken: asyncio.Future[Refusal] = asyncio.get_running_loop().create_future()
        """Done once another one was there first."""
        self._connection: Connection | None = None

    @property
    def subject(self) -> str:
        """Where agents of this name talk to one another."""
        return subjects.request(subjects.UP, self.node, ">")

    def about(self) -> dict[str, Any]:
        """Say what this agent is."""
        return {
            "node": self.node,
            "version": VERSION,
            "kernel": platform.release(),
            "architecture": platform.machine(),
            "host": platform.node(),
            "labels": dict(self.labels),
            "pid": os.getpid(),
            "instance": self.instance,
            "began_ns": self.began_ns,
        }

    async def say_hello(self, connection: Connection) -> None:
        """Ask whether somebody else has this name. Raises Gone."""
        self._connection = connection
        await self._say(HELLO, self.about())

    async def came(self, kind: str, payload: bytes) -> None:
        """Take what an agent of this name says. Raises Gone."""
        if kind not in (HELLO, HERE):
            return
        other = _parsed(payload)
        if other is None or other["instance"] == self.instance:
            return
        mine = (self.began_ns, self.instance)
        if kind == HELLO and mine < (other["began_ns"], other["instance"]):
            await self._say(HERE, {**self.about(), "to": other["instance"]})
        elif kind == HERE and other.get("to") == self.instance and not self.taken.done():
            self.taken.set_result(
                Refusal(
                    problems.NAME_TAKEN,
                    f"the node name {self.node!r} is that of another agent (host "
                    f"{str(other.get('host'))[:64]!r}, process {str(other.get('pid'))[:10]}): give "
                    "this one another --node, or end that one",
                )
            )

    async def _say(self, kind: str, what: Mapping[str, Any]) -> None:
        if self._connection is not None:
            subject = subjects.request(subjects.UP, self.node, kind)
            await self._connection.publish(subject, json.dumps(what).encode(), {})


def _parsed(payload: bytes) -> dict[str, Any] | None:
    try:
        found: object = json.loads(payload[:_LONGEST])
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    said = cast("dict[str, Any]", found)
    is_one = isinstance(said.get("instance"), str) and isinstance(said.get("began_ns"), int)
    return said if is_one else None


class Counts:
    """How often each operation was asked for, and how long that took."""

    def __init__(self) -> None:
        self.by_operation: dict[str, list[int]] = {}  # requests, problems, nanoseconds

    def add(self, operation: str, took_ns: int, *, failed: bool) -> None:
        """Count one request of an operation that there is."""
        counts = self.by_operation.setdefault(operation, [0, 0, 0])
        counts[0] += 1
        counts[1] += failed
        counts[2] += took_ns


class Visible(Service):
    """PING, INFO and STATS, as `nats micro` asks for them.

    Its endpoints are those of the agent, for nats-py's have queue groups: of several nodes that
    are asked together, one alone would answer.
    """

    def __init__(self, connection: Connection, presence: Presence, counts: Counts) -> None:
        about = presence.about()
        labels = {f"label.{key}": value for key, value in presence.labels.items()}
        shown = {name: str(about[name]) for name in ("node", "kernel", "architecture", "host")}
        config = ServiceConfig(
            "farpeek", VERSION, "memory of processes", metadata={**shown, **labels}
        )
        super().__init__(connection.client, config)
        self._node = presence.node
        self._counts = counts

    def know(self, names: Mapping[str, str]) -> None:
        """Add what was found out later."""
        self._metadata.update(names)

    def info(self) -> ServiceInfo:
        """See nats-py."""
        made = super().info()
        made.endpoints = [
            EndpointInfo(name, self._subject(name), "") for name in self._counts.by_operation
        ]
        return made

    def stats(self) -> ServiceStats:
        """See nats-py."""
        made = super().stats()
        made.endpoints = [
            EndpointStats(
                name,
                self._subject(name),
                "",
                num_requests=requests,
                num_errors=failed,
                processing_time=took_ns,
                average_processing_time=took_ns // requests,
            )
            for name, (requests, failed, took_ns) in self._counts.by_operation.items()
        ]
        return made

    def _subject(self, operation: str) -> str:
        return subjects.request("*", self._node, operation)

    async def _handle_ping_request(self, msg: Msg) -> None:
        if msg.reply:
            await super()._handle_ping_request(msg)

    async def _handle_info_request(self, msg: Msg) -> None:
        if msg.reply:
            await super()._handle_info_request(msg)

    async def _handle_stats_request(self, msg: Msg) -> None:
        if msg.reply:
            await super()._handle_stats_request(msg)
