"""What a broker spends on a fleet: `python -m bench.fleet`, the figures of docs/fleet.md.

One nats-server with JetStream, as many connections as nodes, each with a node's subscriptions. The
processor is the broker's own (/proc/PID/stat), so what else runs on the machine counts little.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nats.aio.client import Client

from farpeek_api.bus import kept, subjects
from farpeek_api.bus.samplers import Name
from farpeek_api.fleet.presence import Presence

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

NODES: Final = 2000
MESSAGES: Final = 20_000
SCATTERS: Final = 5
_MICRO: Final = ("PING", "INFO", "STATS")
_LISTENS: Final = re.compile(r"Listening for client connections on 127\.0\.0\.1:(\d+)")
_TICK: Final = os.sysconf("SC_CLK_TCK")


class Broker:
    """The server, and what it has spent."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process = process
        self.url = f"nats://127.0.0.1:{port}"

    @property
    def seconds(self) -> float:
        """Of the processor."""
        text = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(text[11]) + int(text[12])) / _TICK

    @property
    def resident(self) -> int:
        """Bytes."""
        text = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", text)
        return int(found[1]) * 1024 if found else 0

    async def spent(self, what: str, count: int, do: Callable[[], Awaitable[None]]) -> None:
        """Do something, and say what the broker has spent on each of it."""
        before = self.seconds
        await do()
        each = (self.seconds - before) / count * 1e6
        sys.stdout.write(f"{what}: {each:.1f} us of the broker's processor\n")


@contextlib.contextmanager
def broker() -> Iterator[Broker]:
    """Run one in a folder of its own."""
    program = Path(sys.executable).with_name("nats-server")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        words = ["-a", "127.0.0.1", "-p", "-1", "-js", "-sd", folder]
        with log.open("wb") as file:
            process = subprocess.Popen([str(program), *words], stderr=file)
        try:
            while (found := _LISTENS.search(log.read_text())) is None:
                if process.poll() is not None:
                    raise SystemExit(log.read_text())
            yield Broker(process, int(found[1]))
        finally:
            process.terminate()
            process.wait()


class Fleet:
    """Nodes as they are connected, and one client."""

    def __init__(self, server: Broker, client: Client) -> None:
        self.server = server
        self.client = client
        self.nodes: list[Client] = []
        self.answered = asyncio.Semaphore(0)

    async def connect(self) -> None:
        """Connect all nodes, each with the subscriptions of an agent that has one label."""
        for number in range(NODES):
            self.nodes.append(await self._node(f"n{number}"))
        await self.settle()

    async def _node(self, name: str) -> Client:
        client = Client()
        await client.connect(self.server.url, allow_reconnect=False, no_echo=True)

        async def asked(msg: object) -> None:
            del msg
            await client.publish("_INBOX.alice.x.n", b"x" * 256)
            self.answered.release()

        for subject in subjects.of_node(name, {"zone": "a"}):
            await client.subscribe(subject, cb=asked)
        micro = [
            f"$SRV.{verb}{end}" for verb in _MICRO for end in ("", ".farpeek", f".farpeek.{name}")
        ]
        up = f"{subjects.PREFIX}.{subjects.UP}.{name}"
        for subject in (f"{up}.>", f"{up}.inbox.x.*", kept.HINTS, *micro):
            await client.subscribe(subject, cb=_hear)
        return client

    async def settle(self) -> None:
        """Wait until the broker has taken everything."""
        for each in self.nodes:
            await each.flush(60)

    async def heartbeats(self) -> None:
        """Have each node say several times that it is there."""
        about = Presence("n1", {"zone": "a"}).about()
        text = json.dumps({**about, "service": "ready", "degraded": ["write"], "at_ns": 0}).encode()
        for number in range(MESSAGES):
            subject = subjects.request(subjects.UP, f"n{number % NODES}", kept.HEARTBEAT)
            await self.nodes[number % NODES].publish(subject, text)
        await self.settle()

    async def samples(self, name: Name) -> None:
        """Have each node send several."""
        headers = {"Farpeek-Clock": "1" * 19, "Farpeek-Run": "a" * 12, "Farpeek-Number": "9"}
        for number in range(MESSAGES):
            subject = name.samples(f"n{number % NODES}")
            await self.nodes[number % NODES].publish(subject, b"x" * 400, headers=headers)
        await self.settle()

    async def scatter(self) -> None:
        """Ask all nodes, several times."""
        for _ in range(SCATTERS):
            await self.client.publish("farpeek.v1.alice.all.info", b"", reply="_INBOX.alice.x")
            for _ in range(NODES):
                await self.answered.acquire()

    async def close(self) -> None:
        """End all connections."""
        for each in (*self.nodes, self.client):
            await each.close()


async def _hear(msg: object) -> None:
    del msg


async def run(server: Broker) -> None:
    """Measure one behind the other."""
    client = Client()
    await client.connect(server.url)
    async for _ in kept.set_up(client):
        pass
    fleet, empty = Fleet(server, client), server.resident
    await server.spent("a node that connects", NODES, fleet.connect)
    sys.stdout.write(f"a node: {(server.resident - empty) / NODES / 1024:.0f} KiB of memory\n")
    await server.spent("a heartbeat, kept", MESSAGES, fleet.heartbeats)
    await client.subscribe("farpeek.v1.up.*.samples.alice.>", cb=_hear)
    await client.subscribe("_INBOX.alice.>", cb=_hear)
    for what, name in (("that is taken", "alice"), ("that nobody takes", "bob")):
        do = partial(fleet.samples, Name(name, "heads"))
        await server.spent(f"a sample of 400 bytes {what}", MESSAGES, do)
    await server.spent(
        "a node that is asked with all others, and answers", SCATTERS * NODES, fleet.scatter
    )
    await fleet.close()


def main() -> None:
    """Measure, and show."""
    with broker() as server:
        asyncio.run(run(server))


if __name__ == "__main__":
    main()
