"""The gateway of a fleet: which nodes there are, and one request to many of them."""

from __future__ import annotations

import json
import platform
from typing import TYPE_CHECKING, Any

import pytest

from support.example_requests import COMM
from support.fleet import BOB, MALLORY, AgentProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.fleet import Fleet
    from support.gateway import GatewayProcess
    from support.serving import Reply


@pytest.fixture
def second(fleet: Fleet) -> Iterator[AgentProcess]:
    """Another node, n2, without the label of n1."""
    folder = fleet.folder / "n2"
    folder.mkdir(exist_ok=True)
    with AgentProcess(fleet.broker, fleet.service.path, folder, "n2") as agent:
        agent.await_ready()
        yield agent


def lines(reply: Reply) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the answer of each node, and what is said of all."""
    assert (reply.status, reply.headers["content-type"]) == (200, "application/x-ndjson")
    *each, last = [json.loads(line) for line in reply.body.splitlines()]
    return {one["node"]: one for one in each}, last


@pytest.mark.usefixtures("second")
def test_nodes_are_listed_as_they_are(gateway: GatewayProcess) -> None:
    found = {each["node"]: each for each in gateway.request("GET", "/v1/nodes").json["nodes"]}
    assert found.keys() == {"n1", "n2"}
    assert found["n1"]["labels"] == {"zone": "a"}
    assert found["n1"]["connected"]
    assert found["n1"]["kernel"] == platform.release()
    by_label = gateway.request("GET", "/v1/nodes?label=zone=a").json["nodes"]
    assert [each["node"] for each in by_label] == ["n1"]
    named = gateway.request("GET", "/v1/nodes?node=n9").json["nodes"]
    assert (named[0]["connected"], named[0]["problem"]["node"]) == (False, "n9")


@pytest.mark.usefixtures("second")
def test_many_are_asked_at_once_and_who_does_not_answer_is_named(
    fleet: Fleet, gateway: GatewayProcess
) -> None:
    path = f"/v1/fleet/list_processes?comm={COMM}"
    found, last = lines(gateway.request("POST", path))
    assert last == {"answered": [*found], "silent": [], "refused": []}
    for node in ("n1", "n2"):
        assert found[node]["status"] == 200
        listed = found[node]["body"]["processes"]
        assert fleet.asking.process.pid in [each["pid"] for each in listed]
    found, last = lines(gateway.request("POST", f"{path}&label=zone=a"))
    assert (found.keys(), last["answered"]) == ({"n1"}, ["n1"])
    found, last = lines(gateway.request("POST", f"{path}&node=n2&node=n9"))
    assert last == {"answered": ["n2"], "silent": ["n9"], "refused": []}
    assert found["n9"]["body"]["node"] == "n9"


def test_what_a_service_refuses_is_told_of_as_its_own(gateway: GatewayProcess) -> None:
    found, last = lines(gateway.request("POST", "/v1/fleet/list_processes?nonsense=1"))
    assert last == {"answered": [], "silent": [], "refused": ["n1"]}
    assert (found["n1"]["status"], found["n1"]["body"]["node"]) == (422, "n1")


@pytest.mark.parametrize(
    ("path", "slug"),
    [
        ("/v1/fleet/writev", "not-after-required"),
        ("/v1/fleet/events", "answer-too-large"),
        ("/v1/fleet/No", "unknown-operation"),
        ("/v1/fleet/info?label=zone", "malformed"),
        ("/v1/fleet/info?node=N1", "malformed"),
        ("/v1/fleet/info?node=n1&label=zone=a", "malformed"),
        ("/v1/fleet/info?timeout_s=soon", "malformed"),
    ],
)
def test_what_cannot_be_asked_of_many_is_refused(
    gateway: GatewayProcess, path: str, slug: str
) -> None:
    reply = gateway.request("POST", path)
    assert (reply.slug, reply.status >= 400) == (slug, True)


def test_many_are_asked_for_what_the_policy_allows(gateway: GatewayProcess) -> None:
    reply = gateway.request("POST", "/v1/fleet/doctor", token=MALLORY)
    assert (reply.status, "mallory.nk" in reply.json["detail"]) == (403, True)
    reply = gateway.request("POST", "/v1/fleet/metrics", token=BOB)
    assert (reply.slug, reply.json["verb"]) == ("forbidden", "metrics")
