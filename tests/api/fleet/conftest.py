"""One broker, one service, one agent and one process for the tests of a module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from farpeek_api.policy import tokens
from support.example_requests import COMM, UID, Asking
from support.fleet import AgentProcess, Broker
from support.folders import open_folder
from support.policies import EVERYTHING, As, Policed, entry
from support.targets import start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ALICE, BOB = tokens.make(), tokens.make()
POLICY = (
    "[clients.agent]\nunix_uid = [0]\nverbs = ['inspect']\nimpersonate = ['alice', 'bob']\n"
    + entry("alice", ALICE, rest=f"targets = {EVERYTHING}")
    + entry("bob", BOB, ["inspect", "read"], rest="targets = [{ uid = 4242 }]")
)


@dataclass(frozen=True)
class Fleet:
    folder: Path
    broker: Broker
    service: Policed
    agent: AgentProcess
    asking: Asking
    """By HTTP, as alice."""


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with (
        open_folder() as made,
        Broker(made) as broker,
        Policed(made, POLICY, "--allow-writes", "--audit", str(made / "audit")) as service,
        AgentProcess(broker, service.path, made, "n1", "--label", "zone=a") as agent,
        start("plain", "--name", COMM, "--uid", UID) as process,
    ):
        asking = Asking(As(service, ALICE), process)  # type: ignore[arg-type]  # what it uses of a service
        agent.await_ready()
        yield Fleet(made, broker, service, agent, asking)
