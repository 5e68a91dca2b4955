"""Holding what fits standing matches: what runs now, and whatever begins or changes later."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from farpeek.errors import (
    DeadlineExceeded,
    FarpeekError,
    NoSuchMatch,
    ShuttingDown,
    TooBusy,
)
from farpeek.identity import EventKind
from farpeek.reading.registering import everybody
from farpeek.targets.claims import Claims
from farpeek.targets.matches import Scanner, StandingMatch, Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from farpeek.identity import Identity, Match
    from farpeek.reading.lookups import Lookups
    from farpeek.reading.registering import Admits, Registering
    from farpeek.targets.registry import Registry
    from farpeek.targets.target import Target

MOST_OF_A_CLIENT: Final = 32
"""Standing matches."""

MOST: Final = 256
"""Of all clients: each process that begins is compared with all of them."""

EVERY_S: Final = 0.5
"""From one scan to the next, so that a new process is held within a second."""


class Listener(Protocol):
    """Whoever follows a standing match."""

    def joined(self, target_id: str) -> None:
        """It holds one more."""
        ...

    def over(self, reason: FarpeekError) -> None:
        """It is no more."""
        ...


class StandingMatches:
    """All standing matches of all clients. Lives on the event loop."""

    def __init__(
        self, registry: Registry, lookups: Lookups, registering: Registering, longest_s: float
    ) -> None:
        """``longest_s`` is how long one who begins a match waits for what fits now."""
        self._longest_s = longest_s
        self._registry = registry
        self._lookups = lookups
        self._registering = registering
        self._matches: dict[str, StandingMatch] = {}
        self._listeners: dict[str, dict[Listener, None]] = {}
        self._by_target: dict[str, list[StandingMatch]] = {}
        self._scanner = Scanner()
        self._scanning: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._scanned = asyncio.Event()
        registry.followers.append(self)

    async def create(
        self,
        match: Match,
        labels: Mapping[str, str],
        limit: int,
        client: str,
        admits: Admits = everybody,
    ) -> StandingMatch:
        """Begin to hold all that fit, and return when what fits now is held. Raises TooBusy."""
        if len(self._matches) >= MOST:
            raise TooBusy(f"there are {MOST} standing matches already: delete some")
        if len(self.of(client)) >= MOST_OF_A_CLIENT:
            raise TooBusy(f"a client may have {MOST_OF_A_CLIENT} standing matches: delete some")
        self._registry.shares.exchange({}, labels)
        name = secrets.token_hex(8)
        standing = StandingMatch(name, client, match, labels, limit, time.time(), admits)
        self._matches[name] = standing
        self._hurry.set()
        if self._scanning is None:
            self._scanning = asyncio.ensure_future(self._scan_on())
        with suppress(TimeoutError):  # then the rest comes later
            async with asyncio.timeout(self._longest_s):
                while standing.is_new and name in self._matches:
                    await self._scanned.wait()
        return standing

    def of(self, client: str) -> list[StandingMatch]:
        """Those of a client."""
        return [match for match in self._matches.values() if match.client == client]

    def get(self, wanted: str, client: str) -> StandingMatch:
        """One of a client; else NoSuchMatch."""
        match = self._matches.get(wanted)
        if match is None or match.client != client:
            raise NoSuchMatch(wanted)
        return match

    def delete(self, wanted: str, client: str) -> None:
        """Hold nothing for it any more. Raises NoSuchMatch."""
        self._end(self.get(wanted, client), NoSuchMatch(wanted))

    def follow(self, match: StandingMatch, listener: Listener) -> None:
        """Tell ``listener`` what becomes of it."""
        self._listeners.setdefault(match.id, {})[listener] = None

    def unfollow(self, match: StandingMatch, listener: Listener) -> None:
        """Do so no more."""
        self._listeners.get(match.id, {}).pop(listener, None)

    def close(self) -> None:
        """Scan no more."""
        if self._scanning is not None:
            self._scanning.cancel()
        for match in list(self._matches.values()):
            self._end(match, ShuttingDown())

    def held(self, target: Target) -> None:
        """See ``registry.Follower``."""

    def exited(self, target: Target) -> None:
        """See ``registry.Follower``: it is listed for a while, and takes no room."""
        for match in self._by_target.get(target.id, ()):
            if match.running.pop(target.id, None) is not None:
                match.exited[target.id] = target

    def forgotten(self, target: Target) -> None:
        """See ``registry.Follower``."""
        for match in self._by_target.pop(target.id, ()):
            match.running.pop(target.id, None)
            match.exited.pop(target.id, None)

    def _end(self, match: StandingMatch, reason: FarpeekError) -> None:
        del self._matches[match.id]
        self._registry.shares.exchange(match.labels, {})
        for listener in self._listeners.pop(match.id, ()):
            listener.over(reason)
        for target in [*match.running.values(), *match.exited.values()]:
            self._leave(target, match)
        self._tell_scanned()

    def _leave(self, target: Target, match: StandingMatch) -> None:
        others = [each for each in self._by_target.pop(target.id, ()) if each is not match]
        if others:
            self._by_target[target.id] = others
        self._registry.leave(target, match)

    # Scans.

    async def _scan_on(self) -> None:
        """Scan as long as there are matches, and at once for a new one."""
        while self._matches:
            self._hurry.clear()
            with suppress(TooBusy, DeadlineExceeded, OSError):  # the next one sees the same
                await self._scan()
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await self._hurry.wait()
        self._scanning = None
        self._scanner = Scanner()

    async def _scan(self) -> None:
        matches = list(self._matches.values())
        new = [match for match in matches if match.is_new]
        wanted = Wanted(
            [(match.id, match.match) for match in matches],
            {match.id for match in new},
            frozenset[int]().union(*(match.refused for match in matches)),
        )
        try:
            found = await self._lookups.look(partial(self._scanner.scan, wanted))
            by_match: dict[str, list[Identity]] = {}
            for name, identity in found.fitting:
                by_match.setdefault(name, []).append(identity)
            for match in matches:
                match.refused -= found.gone
                await self._take(match, by_match.get(match.id, ()))
            if found.is_complete:
                for match in new:
                    match.is_new = False
        finally:
            self._tell_scanned()

    def _tell_scanned(self) -> None:
        self._scanned.set()
        self._scanned.clear()

    async def _take(self, match: StandingMatch, found: Sequence[Identity]) -> None:
        """Hold processes that fit, as far as there is room."""
        others: list[Identity] = []
        for identity in found:
            match.refused.discard(identity.pid)
            known = self._registry.running(identity)
            if not match.admits(identity):
                continue
            if identity.pid == os.getpid() or (known is not None and known.id in match.running):
                continue
            others.append(identity)
        match.refused.update(identity.pid for identity in others[match.room :])
        taken = others[: match.room]
        held = await self._registering.all_found(
            taken, match.match, partial(Claims.join, match=match), match.admits
        )
        for identity, each in zip(taken, held, strict=True):
            if not isinstance(each, Exception):
                self._joined(*each, match)
            elif isinstance(each, (TooBusy, DeadlineExceeded)):
                match.refused.add(identity.pid)

    def _joined(self, target: Target, is_new: bool, match: StandingMatch) -> None:  # noqa: FBT001 - as `Registry.add` answers
        if match.id not in self._matches:
            self._registry.leave(target, match)
            return
        if not target.is_held or target.id in match.running:
            return
        self._by_target.setdefault(target.id, []).append(match)
        side = match.exited if target.has_exited else match.running
        side[target.id] = target
        if not is_new:  # else all are told
            self._registry.events.add(EventKind.REGISTERED, target.snapshot(), match.client)
        for listener in list(self._listeners.get(match.id, ())):
            listener.joined(target.id)
