"""One broker, one service, one agent, one gateway and one process for the tests of a module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.broker import Broker
from support.example_requests import COMM, UID, Asking
from support.fleet import ALICE, POLICY, AgentProcess, Fleet
from support.folders import open_folder
from support.gateway import GatewayProcess
from support.policies import As, Policed
from support.targets import start

if TYPE_CHECKING:
    from collections.abc import Iterator


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


@pytest.fixture(scope="module")
def gateway(fleet: Fleet) -> Iterator[GatewayProcess]:
    """Run one that no other module asks."""
    with GatewayProcess(fleet.broker, fleet.folder) as made:
        yield made
