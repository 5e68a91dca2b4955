"""What the gateway counts of itself, and what it tells a supervisor."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from support.fleet import ALICE, BOB
from support.gateway import GatewayProcess
from support.waiting import until
from support.wire import UnixConnection

if TYPE_CHECKING:
    import pytest

    from support.fleet import Fleet

N1 = "/v1/nodes/n1"
Numbers = dict[tuple[str, frozenset[tuple[str, str]]], float]


def shown(gateway: GatewayProcess) -> Numbers:
    reply = gateway.request("GET", "/metrics")
    assert reply.status == 200, reply
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(reply.body.decode())
        for sample in family.samples
    }


def named(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"farpeek_{name}", frozenset(labels.items())


def number(gateway: GatewayProcess, name: str, **labels: str) -> float:
    return shown(gateway).get(named(name, **labels), 0.0)


def test_requests_are_counted_by_operation_and_by_what_has_come_of_them(
    fleet: Fleet, gateway: GatewayProcess
) -> None:
    before = shown(gateway)
    one = f"{N1}/v1/targets/{fleet.asking.target}"
    assert gateway.request("GET", one).status == 200
    assert gateway.request("GET", one).status == 200
    assert gateway.request("GET", f"{N1}/v1/targets/1-1").slug == "no-such-target"
    assert gateway.request("GET", "/v1/nodes/n9/v1/info").slug == "unknown-node"
    assert gateway.request("POST", f"{N1}/v1/targets", {"pid": 1}, token=BOB).slug == "forbidden"
    assert gateway.request("GET", f"{N1}/v1/info", token="x").status == 401  # noqa: S106 - no secret
    assert gateway.request("POST", "/v1/fleet/info").status == 200
    assert gateway.request("POST", "/v1/fleet/nonsense").slug == "forbidden"
    assert gateway.request("PATCH", f"{N1}/v1/info").slug == "unknown-operation"
    assert gateway.request("GET", "/v1/nonsense").slug == "not-found"
    of_targets = "GET /v1/nodes/{node}/v1/targets/{id}"
    after = shown(gateway)
    for (route, outcome), count in {
        (of_targets, "done"): 2,
        (of_targets, "no-such-target"): 1,
        ("* /v1/nodes/{node}/{path}", "unknown-node"): 1,
        ("POST /v1/nodes/{node}/v1/targets", "forbidden"): 1,
        ("none", "unauthenticated"): 1,
        ("POST /v1/fleet/info", "done"): 1,
        ("POST /v1/fleet/other", "forbidden"): 1,  # clients choose no labels
        ("* /v1/nodes/{node}/{path}", "unknown-operation"): 1,  # not by their methods, either
        ("none", "not-found"): 1,
    }.items():
        key = named("requests_total", route=route, outcome=outcome)
        assert after[key] - before.get(key, 0) == count, key
    key = named("request_duration_seconds_count", route=of_targets)
    assert after[key] - before.get(key, 0) == 3
    key = named("refused_total", reason="unauthenticated")
    assert after[key] - before[key] == 1


def test_what_is_open_and_known_is_counted_as_long_as_it_is(gateway: GatewayProcess) -> None:
    assert gateway.request("GET", f"{N1}/v1/info").status == 200
    assert number(gateway, "nodes_known") == 1
    assert number(gateway, "broker_connections") >= 1
    assert number(gateway, "broker_connects_total", outcome="connected") >= 1
    assert number(gateway, "broker_connects_total", outcome="failed") == 0
    assert number(gateway, "node_answers") == 0
    assert number(gateway, "node_bytes_total") > 0
    connection = UnixConnection(gateway.path)
    connection.request("GET", f"{N1}/v1/events", headers={"Authorization": f"Bearer {ALICE}"})
    answer = connection.getresponse()
    assert number(gateway, "node_answers") == 1
    answer.close()
    connection.close()
    until(lambda: number(gateway, "node_answers") == 0, "whoever has gone is counted no more")
    of_events = "GET /v1/nodes/{node}/v1/events"
    until(
        lambda: number(gateway, "requests_total", route=of_events, outcome="client-gone"),
        "it is counted at its end",
    )
    assert number(gateway, "request_duration_seconds_count", route=of_events) == 0


def test_numbers_are_for_whom_the_policy_gives_them(gateway: GatewayProcess) -> None:
    reply = gateway.request("GET", "/metrics", token=BOB)
    assert (reply.status, reply.json["verb"]) == (403, "metrics")
    assert gateway.request("GET", "/metrics", token="x").status == 401  # noqa: S106 - no secret


def test_a_supervisor_is_told_when_it_is_ready_and_when_it_stops(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fleet.folder / "told"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(folder / "notify"))
        told.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(folder / "notify"))
        with GatewayProcess(fleet.broker, folder) as made:
            assert told.recv(64) == b"READY=1"
            made.process.terminate()
            assert told.recv(64) == b"STOPPING=1"
