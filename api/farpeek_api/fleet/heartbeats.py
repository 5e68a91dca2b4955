"""What a node says of itself every few seconds, so that the fleet knows when it was last there."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, Final

from farpeek_api.bus import kept, subjects
from farpeek_api.client.members import mapping

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farpeek_api.fleet.broker import Connection
    from farpeek_api.fleet.presence import Presence
    from farpeek_api.fleet.service import LocalService

EACH_S: Final = 10.0
_INFO_EACH: Final = 30
"""Heartbeats from one look at what the service can do to the next: each is a line of its audit."""


class Heartbeats:
    """One message each ten seconds; a broker that keeps none of them takes it for nothing."""

    def __init__(self, presence: Presence, service: LocalService) -> None:
        self._presence = presence
        self._service = service
        self._degraded: list[str] = []
        self._state = ""
        self._since = 0

    async def run(self, connection: Connection) -> None:
        """Say it, until the connection ends. Raises Gone."""
        subject = subjects.request(subjects.UP, self._presence.node, kept.HEARTBEAT)
        while True:
            await connection.publish(subject, json.dumps(await self._now()).encode(), {})
            await asyncio.sleep(EACH_S)

    async def _now(self) -> dict[str, Any]:
        state = await self._service.state()
        self._since += 1
        if state != self._state or self._since >= _INFO_EACH:
            self._state = state
            self._since = 0
            if state == "ready":
                self._degraded = _degraded(await self._service.info())
        return {
            **self._presence.about(),
            "service": state,
            "degraded": self._degraded if state == "ready" else [],
            "at_ns": time.time_ns(),
            "every_s": EACH_S,
        }


def _degraded(info: Mapping[str, Any]) -> list[str]:
    """Name what the service cannot do there; nothing if the agent may not know that."""
    capabilities = mapping(info.get("capabilities")) or {}
    shown = {name: mapping(each) or {} for name, each in capabilities.items()}
    return sorted(name for name, each in shown.items() if each.get("provided") == "unavailable")
