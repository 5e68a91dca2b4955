"""A real broker with the permissions of a fleet."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import nkeys
from nats.aio.client import Client

from farpeek_api.bus import permits
from farpeek_api.bus.asking import Asking
from support.ending import Ending, end_process
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NODES: Final = ("n1", "n2", "n3", "n4")
CLIENTS: Final = ("alice", "bob", "mallory")
_LISTENS: Final = re.compile(r"Listening for client connections on 127\.0\.0\.1:(\d+)")


def _user(name: str, publish: list[str], subscribe: list[str]) -> str:
    permissions = json.dumps({"publish": publish, "subscribe": subscribe})
    return f"{{{_named(name)}, permissions: {permissions}}}"


def _named(name: str) -> str:
    return f'user: "{name}", password: "{name}"'


def make_key(folder: Path, name: str) -> str:
    """Leave a new seed in a folder; the key by which the broker knows it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    (folder / f"{name}.nk").write_bytes(seed)
    return str(nkeys.from_seed(seed).public_key.decode())


def node(name: str) -> str:
    """Write the broker's entry of a node."""
    return _user(name, *permits.of_node(name, {"zone": "a"}))


def client(name: str) -> str:
    """Write the broker's entry of a client."""
    return _user(name, *permits.of_client(name))


def admin(name: str) -> str:
    """Write the broker's entry of whoever sets up what it keeps."""
    return _user(
        name,
        [
            "$JS.API.INFO",
            "$JS.API.STREAM.>",
            "$JS.API.CONSUMER.>",
            "$JS.API.DIRECT.GET.>",
            "$JS.ACK.>",
        ],
        [f"_INBOX.{name}.>"],
    )


class Connected(Client):
    """A client whose ``flush`` says that the broker has taken all that came before."""

    async def flush(self, timeout: int = 10) -> None:  # noqa: ASYNC109 - nats-py's
        """See `farpeek_api.fleet.broker.Connection.settle`, which does the same."""
        await super().flush(timeout)
        await super().flush(timeout)


class Broker(Ending):
    """A nats-server on a port of its own, which stays the same when it is started again.

    With ``keeps`` it has JetStream.
    """

    def __init__(self, folder: Path, max_payload: int = 1 << 20, *, keeps: bool = False) -> None:
        self._folder = folder
        self._keeps = keeps
        self._max_payload = max_payload
        self._starts = 0
        self.keys = folder / "nkeys"
        """A folder with the seeds of all clients but `mallory`."""
        self._keys = [(name, make_key(self.keys, name)) for name in CLIENTS[:2]]
        self.port = -1
        self.start()

    def start(self) -> None:
        """Start it."""
        config = self._folder / "nats.conf"
        config.write_text(self.configuration())
        self._starts += 1
        self._log = self._folder / f"nats.log.{self._starts}"
        program = Path(sys.executable).with_name("nats-server")
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", program, "-c", config],
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        until(lambda: _LISTENS.search(self._log.read_text()), "the broker listens")
        found = _LISTENS.search(self._log.read_text())
        assert found is not None
        self.port = int(found[1])

    def configuration(self) -> str:
        """Write its configuration, which names everybody."""
        users = [*map(node, NODES), *map(client, CLIENTS), _user("ops", ["$SRV.>"], ["_MICRO.>"])]
        users.append(admin("admin"))
        users += [client(name).replace(_named(name), f'nkey: "{key}"') for name, key in self._keys]
        text = f'host: "127.0.0.1"\nport: {self.port}\nmax_payload: {self._max_payload}\n'
        text += "authorization: {users: [\n" + "\n".join(users) + "\n]}\n"
        if self._keeps:
            text += f'jetstream: {{store_dir: "{self._folder / "kept"}"}}\n'
        return text

    def reload(self, *, without: str = "", muted: str = "") -> None:
        """Have it read another configuration: one user is not there, or may do nothing."""
        lines = self.configuration().splitlines()
        if without:
            lines = [each for each in lines if _named(without) not in each]
        if muted:
            silent = _user(muted, ["nothing"], ["nothing"])
            lines = [silent if _named(muted) in each else each for each in lines]
        (self._folder / "nats.conf").write_text("\n".join(lines) + "\n")
        seen = self._log.read_text().count("Reloaded server configuration")
        self.process.send_signal(signal.SIGHUP)
        until(
            lambda: self._log.read_text().count("Reloaded server configuration") > seen,
            "the broker has read it",
        )

    def url(self, user: str) -> str:
        """Return its address, for a user."""
        return f"nats://{user}:{user}@127.0.0.1:{self.port}"

    def end(self) -> None:
        end_process(self.process)

    @contextlib.asynccontextmanager
    async def connection(
        self, user: str, asking: list[Asking] | None = None
    ) -> AsyncIterator[Client]:
        """Connect as a user."""
        made = Connected()
        errors: list[Exception] = []

        async def failed(error: Exception) -> None:
            errors.append(error)
            for each in asking or ():
                each.denied(str(error))

        async def closed() -> None:
            for each in asking or ():
                each.lost()

        await made.connect(
            self.url(user),
            allow_reconnect=False,
            error_cb=failed,
            closed_cb=closed,
            inbox_prefix=f"_INBOX.{user}",
        )
        made.errors = errors  # type: ignore[attr-defined]  # for tests
        try:
            yield made
        finally:
            await made.close()

    @contextlib.asynccontextmanager
    async def asking(self, user: str = "alice") -> AsyncIterator[Asking]:
        """Ask as a client."""
        asking: list[Asking] = []
        async with self.connection(user, asking) as connection:
            asking.append(Asking(connection, user))
            yield asking[0]


class OtherBroker(Broker):
    """One that knows its users by keys, as ``text`` says, which is its configuration else."""

    def __init__(self, folder: Path, text: str) -> None:
        self._text = text
        super().__init__(folder)

    def configuration(self) -> str:
        """Write it, with port and folder of this one."""
        kept = f'jetstream {{ store_dir: "{self._folder / "kept"}" }}'
        text = re.sub(r"jetstream \{.*\}", "", self._text)
        return f'host: "127.0.0.1"\nport: {self.port}\n{kept}\n{text}'

    def url(self, user: str) -> str:
        """Return its address, which is the same for all."""
        del user
        return f"nats://127.0.0.1:{self.port}"
