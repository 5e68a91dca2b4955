"""Many hosts over NATS: what a request costs on its way to one node, and how soon all answer."""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench import processes
from bench.framework import Case, Comparison, Prepared, Skipped, median_us, timed
from bench.processes import PAGE, Process
from farpeek_api.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.framework import Figures, Side
    from farpeek_api.client import Fleet

_CLIENT: Final = "bench"
_POLICY: Final = f"""\
[clients.agent]
unix_uid = 0
verbs = ["inspect", "register", "read"]
targets = [{{ exe = "*" }}]
impersonate = ["{_CLIENT}"]

[clients.{_CLIENT}]
verbs = ["inspect", "register", "read"]
targets = [{{ exe = "*" }}]
"""
_READS, _LENGTH = 200, 8
_BULK: Final = 64 << 20
_AGENTS, _SERVICES, _PER_PROCESS = 1000, 10, 125
_IDLE_S = 20.0
_BY_NODE, _LOCAL = "by a node", "local"
_ALL, _ONE = "all agents", "one of them"
_CPU, _WALL, _SCATTER = "CPU of a read", "64 MiB", "until the last has answered"
_BEATS, _IDLE, _MEMORY = "heartbeats, of the broker", "idle agent", "memory of an agent"


@contextmanager
def _broker() -> Iterator[tuple[str, Process]]:
    """Start a nats-server; where it listens."""
    program = Path(sys.executable).with_name("nats-server")
    if not program.exists() or find_spec("nats") is None:
        raise Skipped("there is no nats-server here")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "nats.conf")
        config.write_text('host: "127.0.0.1"\nport: -1\n')
        with Process([program, "-c", config], "Server is ready", on_stderr=True) as server:
            line = next(each for each in server.said if "client connections on" in each)
            yield f"nats://{line.rpartition(' ')[2]}", server


@contextmanager
def _service() -> Iterator[processes.Server]:
    with tempfile.TemporaryDirectory() as folder:
        policy = Path(folder, "policy.toml")
        policy.write_text(_POLICY)
        policy.chmod(0o600)
        with processes.service("--policy", policy, "--audit", "none") as server:
            yield server


def _agents(url: str, first: int, count: int, *servers: processes.Server) -> Process:
    sockets = [each.path for each in servers]
    return Process([sys.executable, "-m", "bench.agents", url, first, count, *sockets], "running")


def _until_there(ask: Callable[[], object]) -> None:
    """Wait for agents that have begun to connect."""
    give_up = time.monotonic() + 60
    while True:
        try:
            ask()
        except Exception:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.1)
        else:
            return


@contextmanager
def _one_node() -> Iterator[Prepared]:
    with ExitStack() as stack:
        url, _ = stack.enter_context(_broker())
        server = stack.enter_context(_service())
        agent = stack.enter_context(_agents(url, 0, 1, server))
        memory = stack.enter_context(processes.target(_BULK // PAGE))
        block = memory.numbers["block"]
        near = stack.enter_context(Client(f"unix:{server.path}"))
        far = stack.enter_context(Client(nats=url, node="n0", client=_CLIENT))
        _until_there(far.info)

        def side(peek: Client) -> Side:
            target = peek.target(memory.pid)

            def both_ends() -> int:
                return time.process_time_ns() + server.cpu_ns() + agent.cpu_ns()

            def measure() -> Figures:
                used = -both_ends()
                for _ in range(_READS):
                    target.read(block, _LENGTH)
                used += both_ends()
                walls = timed(lambda: sum(map(len, target.bulk(block, block + _BULK))), 3)
                return {_CPU: used / 1000 / _READS, _WALL: median_us(walls) / 1000}

            return measure

        yield Prepared(
            {_BY_NODE: side(far), _LOCAL: side(near)},
            [
                Comparison(_CPU, "us", _BY_NODE, _LOCAL, at_most=3),
                Comparison(_WALL, "ms", _BY_NODE, _LOCAL, at_most=2),
            ],
        )


@contextmanager
def _many_nodes() -> Iterator[Prepared]:
    from farpeek_api import client  # noqa: PLC0415 - `Fleet` of it wants nats-py

    with ExitStack() as stack:
        url, broker = stack.enter_context(_broker())
        servers = [stack.enter_context(_service()) for _ in range(_SERVICES)]
        for first in range(0, _AGENTS - 1, _PER_PROCESS):
            count = min(_PER_PROCESS, _AGENTS - 1 - first)
            stack.enter_context(_agents(url, first, count, *servers))
        one = stack.enter_context(_agents(url, _AGENTS - 1, 1, servers[0]))
        fleet = stack.enter_context(client.Fleet(url, client=_CLIENT))
        _until_there(partial(_ask_all, fleet))

        def idle() -> Figures:
            began, used, ours = time.perf_counter(), -broker.cpu_ns(), -one.cpu_ns()
            time.sleep(_IDLE_S)
            share = 1e-7 / (time.perf_counter() - began)
            return {
                _SCATTER: 0.0,
                _BEATS: (used + broker.cpu_ns()) * share,
                _IDLE: (ours + one.cpu_ns()) * share,
                _MEMORY: one.memory_mib()["Rss"],
            }

        def scatter() -> Figures:
            took = median_us(timed(partial(_ask_all, fleet), 1)) / 1e6
            return {_SCATTER: took, _BEATS: 0.0, _IDLE: 0.0, _MEMORY: 0.0}

        yield Prepared(
            {_ALL: scatter, _ONE: idle},
            [
                Comparison(_SCATTER, "s", _ALL, _ONE, at_most=1, result="figure"),
                Comparison(_BEATS, "%", _ONE, _ALL, at_most=2, result="figure"),
                Comparison(_IDLE, "%", _ONE, _ALL, at_most=0.2, result="figure"),
                Comparison(_MEMORY, "MiB", _ONE, _ALL, at_most=80, result="figure"),
            ],
        )


def _ask_all(fleet: Fleet) -> None:
    answers = fleet.ask("list_processes", query={"comm": "nats-server"}, timeout_s=30)
    count = sum(each.how == "answered" for each in answers)
    if count < _AGENTS:
        raise RuntimeError(f"{count} of {_AGENTS} have answered")


ONE = Case(
    "fleet",
    "8 B, and 64 MiB in bulk, by a broker and an agent, and over the unix socket, by the same "
    "client: CPU of client, agent and service",
    _one_node,
    rounds=5,
)
MANY = Case(
    "fleet-scatter",
    f"processes of {_AGENTS} nodes by one request (whole agents, in a few processes, with "
    f"{_SERVICES} services behind them), and what they cost when nobody asks",
    _many_nodes,
    rounds=3,
)
