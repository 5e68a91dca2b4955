"""Users of the broker by keys: as deploy/nats has them, on the real server."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek_api.bus import permits
from farpeek_api.client import Client, Unreachable
from farpeek_api.client.problems import Forbidden
from support.accounts import Account
from support.broker import OtherBroker, make_key
from support.commands import run
from support.fleet import POLICY, AgentProcess
from support.folders import open_folder
from support.policies import Policed

if TYPE_CHECKING:
    from collections.abc import Iterator

NATS = Path(__file__).resolve().parents[3] / "deploy" / "nats"
ROLES = json.loads((NATS / "roles.json").read_text())


@pytest.fixture(scope="module")
def service() -> Iterator[Policed]:
    with open_folder() as folder, Policed(folder, POLICY) as made:
        yield made


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as made:
        yield made


def test_static_users_by_nkeys(service: Policed, folder: Path) -> None:
    text = (NATS / "fleet.conf").read_text()
    keys = folder / "keys"
    for name in ("alice", "n1", "admin", "ops"):  # in the order in which they are there
        text, count = re.subn(r'nkey: "U[A-Z2-7]+"', f"nkey: {make_key(keys, name)}", text, count=1)
        assert count == 1
    assert 'nkey: "' not in text
    with OtherBroker(folder, text) as broker:
        nats = broker.url("")
        ran = run("fleet", "setup", "--nats", nats, "--nkey", keys / "admin.nk")
        assert ran.status == 0, ran.error
        flags = ("--label", "zone=a", "--nkey", str(keys / "n1.nk"))
        with AgentProcess(broker, service.path, folder, "n1", *flags) as agent:
            agent.await_ready()
            key = keys / "alice.nk"
            with Client(nats=nats, node="n1", client="alice", nkey=key) as peek:
                assert peek.info()["api"] == "v1"
            with (
                Client(nats=nats, node="n1", client="bob", nkey=key) as other,
                pytest.raises((Forbidden, Unreachable), match="does not let 'bob'"),
            ):
                other.info()
            listed = run("fleet", "ls", "--nats", nats, "--client", "alice", "--nkey", key)
            assert listed.status == 0, listed.error
            assert "n1" in listed.text
            assert "ermissions" not in agent.log


def test_users_of_an_account_have_what_their_role_gives_to_their_name(
    service: Policed, folder: Path
) -> None:
    account = Account(ROLES)
    with OtherBroker(folder, account.configuration()) as broker:
        nats = broker.url("")
        node = account.credentials(folder, "node", "n1", "label:zone-a")
        flags = ("--label", "zone=a", "--creds", str(node))
        with AgentProcess(broker, service.path, folder, "n1", *flags) as agent:
            agent.await_ready()
            alice = account.credentials(folder, "client", "alice")
            with Client(nats=nats, node="n1", client="alice", credentials=alice) as peek:
                assert peek.info()["api"] == "v1"
            with (
                Client(nats=nats, node="n1", client="bob", credentials=alice) as other,
                pytest.raises((Forbidden, Unreachable), match="does not let 'bob'"),
            ):
                other.info()
            words = ("--label", "zone=a", "--nats", nats, "--client", "alice", "--creds", alice)
            by_label = run("fleet", "run", "info", *words)
            assert by_label.status == 0, by_label.error
            assert "n1" in by_label.text
            assert "ermissions" not in agent.log


def test_the_roles_are_the_permissions_of_fleets() -> None:
    of_client = permits.of_client("somebody")
    of_node = permits.of_node("somebody", {"zone": "a"})
    for role, found in (("client", of_client), ("node", of_node)):
        for kind, wanted in found._asdict().items():
            there = [
                each.replace("{{name()}}", "somebody").replace("{{tag(label)}}", "zone-a")
                for each in ROLES[role][kind]
            ]
            assert sorted(there) == sorted(wanted)
