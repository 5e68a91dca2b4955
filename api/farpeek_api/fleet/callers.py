"""Many clients of one process: each asks over a connection of its own, as the broker knows it."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from farpeek_api.bus import connecting, problems, subjects
from farpeek_api.bus.connecting import Way
from farpeek_api.bus.problems import NOT_PERMITTED, Refusal

if TYPE_CHECKING:
    import ssl
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from farpeek_api.bus.asking import Asking
    from farpeek_api.bus.connecting import Connected


@dataclass(frozen=True, slots=True)
class Keys:
    """By what the broker knows clients: a file for each of them in a folder, or one for all."""

    servers: Sequence[str]
    folder: Path | None = None
    """NAME.nk has a client's seed, or NAME.creds its JWT with the seed."""
    nkey: Path | None = None
    credentials: Path | None = None
    tls: ssl.SSLContext | None = None

    @property
    def shown(self) -> str:
        """The brokers, without the passwords that may be in their addresses."""
        return connecting.shown(self.servers)

    def of(self, client: str) -> tuple[Path | None, Path | None]:
        """Give the files of a client: a seed, or a JWT. Raises Refusal."""
        if self.folder is None:
            return self.nkey, self.credentials
        seed, token = self.folder / f"{client}.nk", self.folder / f"{client}.creds"
        if seed.is_file():
            return seed, None
        if token.is_file():
            return None, token
        raise Refusal(
            NOT_PERMITTED,
            f"the client {client!r} has no key here by which the broker knows it: put {client}.nk "
            "into the folder of --nkeys",
        )


class Callers:
    """Their connections, each made when it is needed. Lives on the event loop."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._connections: dict[str, Connected] = {}
        self._connecting: dict[str, asyncio.Lock] = {}
        self._failed: dict[str, tuple[float, Refusal]] = {}
        """Why the latest try came to nothing, and when."""
        self.tries = {"connected": 0, "failed": 0}
        """How often it was tried to connect, by what has come of it."""

    @property
    def shown(self) -> str:
        """The brokers, as a person writes them."""
        return self._keys.shown

    @property
    def connected(self) -> int:
        """How many connections there are."""
        return sum(each.asking.is_connected for each in self._connections.values())

    async def asking(self, client: str) -> Asking:
        """Give what asks in a client's name. Raises Refusal."""
        try:
            subjects.check_client(client)
        except subjects.WrongName as error:
            raise Refusal(NOT_PERMITTED, f"{error}: no node can be asked in that name") from error
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with self._connecting.setdefault(client, asyncio.Lock()):
            known = self._connections.get(client)
            if known is not None and known.asking.is_connected:
                return known.asking
            failed = self._failed.get(client)
            if failed is not None and failed[0] >= began:
                raise failed[1]  # for who has waited meanwhile it is tried no second time
            try:
                known = self._connections[client] = await self._connect(client)
            except Refusal as refusal:
                self._failed[client] = loop.time(), refusal
                self.tries["failed"] += 1
                raise
            self.tries["connected"] += 1
            return known.asking

    async def close(self) -> None:
        """End all connections."""
        for each in self._connections.values():
            await connecting.close(each.client)
        self._connections.clear()

    async def _connect(self, client: str) -> Connected:
        seed, token = self._keys.of(client)
        way = Way(self._keys.servers, f"farpeek gateway {client}", seed, token, self._keys.tls)
        with broker_errors(self._keys.shown):
            return await connecting.connect_to_ask(way, client)


@contextmanager
def broker_errors(shown: str) -> Generator[None]:
    """Say what errors of nats-py mean."""
    try:
        yield
    except (*connecting.ERRORS, ValueError) as error:
        why = str(error).removeprefix("nats: ") or type(error).__name__
        if "uthorization" in why:
            raise Refusal(NOT_PERMITTED, f"{shown} does not let the client in: {why}") from error
        raise Refusal(problems.BROKER_UNREACHABLE, f"no broker at {shown}: {why}") from error
