"""All samplers that clients have put, as far as this node runs them."""

from __future__ import annotations

import asyncio
import contextlib
import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import nats.errors

from farpeek_api.bus import kept, samplers
from farpeek_api.bus.samplers import Name, Wanted, WrongSampler
from farpeek_api.fleet.broker import Gone, log
from farpeek_api.fleet.sampling import Rate, Sampling

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from farpeek_api.bus.samplers import Sampler
    from farpeek_api.fleet.broker import Connection
    from farpeek_api.fleet.routes import Routes
    from farpeek_api.fleet.service import LocalService

_LOOK_S: Final = 60.0
"""How often all are looked at again, whatever was heard of changes."""
_AGAIN_S: Final = 15.0
"""How often the broker is asked whether it keeps them now."""
_OPEN_S: Final = 2.0
_SPREAD_S: Final = 0.2
"""A change is heard by all nodes at once, and they do not all ask at once."""
_HINT: Final = kept.HINTS.removesuffix(">")


class _Running:
    """One that is run."""

    def __init__(self, wanted: Wanted, sampling: Sampling, task: asyncio.Task[None]) -> None:
        self.wanted = wanted
        self.sampling = sampling
        self.task = task


class Samplers:
    """Runs what is wanted, within the bounds, as long as there is a connection."""

    def __init__(self, node: str, service: LocalService, routes: Routes) -> None:
        self._node = node
        self._service = service
        self._routes = routes
        self._wanted: dict[Name, Wanted] = {}
        self._beyond: dict[str, int] = {}
        self._not_run: dict[Name, tuple[str, str]] = {}
        self._running: dict[Name, _Running] = {}
        self._rates: dict[str, Rate] = {}

    def of(self, client: str) -> dict[str, Any]:
        """Say how those of a client are, and how many more it keeps than are looked at."""
        shown = [
            {"name": name.name, "sampler": each.shown, **self._about(name)}
            for name, each in sorted(self._wanted.items())
            if name.client == client
        ]
        beyond = self._beyond.get(client)
        return {"samplers": shown, **({} if beyond is None else {"beyond": beyond})}

    def _about(self, name: Name) -> dict[str, Any]:
        running = self._running.get(name)
        if running is not None:
            return running.sampling.about()
        state, detail = self._not_run.get(name, ("too-busy", _BOUNDS))
        return {"state": state, "detail": detail}

    async def run(self, connection: Connection) -> None:
        """Follow what is put, until the connection ends. Raises Gone."""
        changed: set[Name] = set()
        moved = asyncio.Event()

        async def heard(msg: Msg) -> None:
            # Whoever has sent it: the broker is asked what is so.
            name = samplers.of_key(msg.subject, _HINT)
            if name is not None and len(changed) < samplers.MOST:
                changed.add(name)
                moved.set()

        await connection.subscribe(kept.HINTS, heard)
        try:
            while True:
                try:
                    await self._look_at_all(connection)
                    await self._follow(connection, changed, moved, _LOOK_S)
                except (kept.NotKept, nats.errors.TimeoutError):
                    # Of a subject that several subscriptions of one connection fit, the broker
                    # tells one of them that nobody listens; so a silence means the same.
                    log.debug("samplers are not known: %s", kept.NOBODY)
                    await self._follow(connection, set(), asyncio.Event(), _AGAIN_S)
        finally:
            await self._stop(list(self._running))

    async def _follow(
        self, connection: Connection, changed: set[Name], moved: asyncio.Event, most_s: float
    ) -> None:
        """Take changes as they are heard of, until all are to be looked at again. Raises Gone."""
        end = asyncio.get_running_loop().time() + most_s * random.uniform(0.8, 1.2)  # noqa: S311 - so that not all come at once
        while asyncio.get_running_loop().time() < end:
            await self._wait(connection, moved)
            moved.clear()
            if changed:
                await asyncio.sleep(random.uniform(0, _SPREAD_S))  # noqa: S311 - the same
                names = list(changed)
                changed.clear()
                await self._look_at(connection, names)

    async def _wait(self, connection: Connection, moved: asyncio.Event) -> None:
        """Wait for a change, as long as the connection is there."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_OPEN_S):
                await moved.wait()
        if not connection.is_open:
            raise Gone

    async def _look_at_all(self, connection: Connection) -> None:
        found = samplers.Kept()
        async for message in kept.messages(connection.client, kept.SAMPLERS, kept.KEYS):
            each = samplers.wanted(message)
            if each is not None:
                found.add(each)
        self._beyond = found.beyond
        await self._want(connection, found.wanted)

    async def _look_at(self, connection: Connection, names: list[Name]) -> None:
        # Of who keeps too many, others are looked at when all are.
        names = [each for each in names if each in self._wanted or each.client not in self._beyond]
        found = samplers.Kept()
        for each in self._wanted.values():
            if each.name not in names:
                found.add(each)
        for name in names:
            message = await kept.message(connection.client, kept.SAMPLERS, name.key)
            changed = None if message is None else samplers.wanted(message)
            if changed is not None:
                found.add(changed)
        self._beyond |= found.beyond
        await self._want(connection, found.wanted)

    async def _want(self, connection: Connection, wanted: dict[Name, Wanted]) -> None:
        """Run those that are wanted, and no others."""
        self._wanted = wanted
        right: dict[Name, Sampler] = {}
        self._not_run = {}
        for name, each in wanted.items():
            try:
                found = samplers.parse(each.text)
            except WrongSampler as error:
                self._not_run[name] = "wrong", str(error)
                continue
            if found.is_over(datetime.now(UTC)):
                self._not_run[name] = "over", ""
            else:
                right[name] = found
        runs = samplers.admitted((wanted[name], each) for name, each in right.items())
        await self._stop(
            [
                name
                for name, each in self._running.items()
                if name not in runs or each.wanted.text != wanted[name].text
            ]
        )
        for name in runs - self._running.keys():
            self._start(connection, wanted[name], right[name])

    def _start(self, connection: Connection, wanted: Wanted, sampler: Sampler) -> None:
        name = wanted.name
        rate = self._rates.setdefault(name.client, Rate(samplers.MOST_BYTES_S))
        sampling = Sampling(name, sampler, self._node, self._service, self._routes)
        task = asyncio.create_task(_guarded(sampling, connection, rate))
        self._running[name] = _Running(wanted, sampling, task)

    async def _stop(self, names: list[Name]) -> None:
        ended = [self._running.pop(each).task for each in names]
        for each in ended:
            each.cancel()
        await asyncio.gather(*ended, return_exceptions=True)
        clients = {each.client for each in self._running}
        self._rates = {name: rate for name, rate in self._rates.items() if name in clients}


async def _guarded(sampling: Sampling, connection: Connection, rate: Rate) -> None:
    try:
        await sampling.run(connection, rate)
    except Gone:
        pass
    except Exception:  # noqa: BLE001 - the last net: all others go on
        log.exception("a sampler has ended")
        sampling.state, sampling.detail = "waiting", "internal: the log of the agent says more"


_BOUNDS: Final = (
    f"a node runs {samplers.MOST_OF_ONE} samplers of one client, of {samplers.MOST_HZ:g} ticks a "
    f"second together, and {samplers.MOST} of all: take another one away"
)
